"""What can be chosen by a word in core and in the configs of models."""

from typing import Literal

UpsamplingMethod = Literal["nearest", "linear", "cubic", "hann"]
FrequencyScale = Literal["mel", "slaney", "erb", "bark", "linear", "log"]
