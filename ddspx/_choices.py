"""String options that `core` and the configs of models share."""

from typing import Literal

UpsamplingMethod = Literal["nearest", "linear", "cubic", "hann"]
FrequencyScale = Literal["mel", "slaney", "erb", "bark", "linear", "log"]
