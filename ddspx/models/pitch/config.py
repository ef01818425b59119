"""Sizes of the pitch tracker."""

import dataclasses
import math
from typing import Any

from ddspx._checks import number, size
from ddspx.models._config import from_json, to_json


@dataclasses.dataclass(frozen=True)
class PitchConfig:
    """The sizes of a pitch tracker: its frames, windows, bins of pitch and network.

    Attributes:
      sample_rate: sample rate of the audio, in Hz.
      hop_length: samples between frames.
      win_lengths: samples of the short and of the long analysis window: the short one follows
        fast notes, the long one holds three periods of the lowest pitch.
      window_look_ahead: number of samples after a frame at which both of its windows end. With
        this, no convolution looks ahead, so it is the look-ahead of the tracker. If None, the
        windows are centred at the frame, and some convolutions read later frames too.
      fmin: pitch of the lowest bin, in Hz.
      bins_per_octave: bins of pitch in an octave.
      n_bins: bins of pitch.
      channels: features of each bin inside the network.

    Raises:
      TypeError: a size is not an int.
      ValueError: a size is below 1, the windows are not a short and a long one of at
        least a hop, `window_look_ahead` is over half of the short one, `fmin` is not positive and
        finite, or the highest bin lies above half of `sample_rate`.

    Example:
      >>> from ddspx.models.pitch import PitchConfig
      >>> config = PitchConfig()
      >>> config.fmin, round(config.fmax)
      (30.0, 4700)
    """

    sample_rate: int = 16000
    hop_length: int = 256
    win_lengths: tuple[int, int] = (512, 1536)
    window_look_ahead: int | None = None
    fmin: float = 30.0
    bins_per_octave: int = 24
    n_bins: int = 176
    channels: int = 16

    def __post_init__(self):
        for name in ("sample_rate", "hop_length", "bins_per_octave", "n_bins", "channels"):
            size(name, getattr(self, name))
        for length in self.win_lengths:
            size("win_lengths", length)
        if len(self.win_lengths) != 2 or self.win_lengths[0] > self.win_lengths[1]:
            raise ValueError(
                f"`win_lengths` must be two sizes, the shorter first, got {self.win_lengths!r}."
            )
        if self.win_lengths[1] < self.hop_length:
            raise ValueError(
                f"The long window must hold at least one hop, {self.hop_length} samples, got "
                f"{self.win_lengths[1]}; take a longer one in `win_lengths`."
            )
        if self.window_look_ahead is not None:
            size("window_look_ahead", self.window_look_ahead)
            if self.window_look_ahead > self.win_lengths[0] // 2:
                raise ValueError(
                    "`window_look_ahead` must be at most half of the short window, "
                    f"{self.win_lengths[0] // 2} samples, got {self.window_look_ahead}."
                )
        number("fmin", self.fmin, above=0)
        # Compared in octaves: 2 to the power of a huge number of octaves would overflow.
        octaves = (self.n_bins - 1) / self.bins_per_octave
        if octaves > math.log2(self.sample_rate / 2 / self.fmin):
            raise ValueError(
                f"The highest bin is {octaves:.1f} octaves above `fmin` {self.fmin} Hz, above half "
                f"of `sample_rate` {self.sample_rate}; take a smaller `n_bins`."
            )

    @classmethod
    def live(cls) -> "PitchConfig":
        """The sizes of the live tracker: windows of 20 and 45 ms, which end 10 ms after the frame.

        Returns:
          A config with a frame every 10 ms and pitches from 60 to 4700 Hz.
        """
        return cls(
            hop_length=160,
            win_lengths=(320, 720),
            window_look_ahead=160,
            fmin=60.0,
            n_bins=152,
        )

    @property
    def fmax(self) -> float:
        """Pitch of the highest bin, in Hz."""
        return self.fmin * 2 ** ((self.n_bins - 1) / self.bins_per_octave)

    @property
    def is_live(self) -> bool:
        """Whether no convolution looks ahead."""
        return self.window_look_ahead is not None

    @property
    def window_end(self) -> int:
        """Number of samples after a frame at which its long window ends."""
        return (
            self.win_lengths[-1] // 2 if self.window_look_ahead is None else self.window_look_ahead
        )

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON holds them."""
        return to_json(self)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "PitchConfig":
        """The config that `to_json` wrote.

        Args:
          fields: the fields of the JSON object.

        Returns:
          The config.

        Raises:
          ValueError: a field is missing, unknown, of another type, or out of its range.
        """
        names = {field.name for field in dataclasses.fields(cls)}
        if set(fields) != names:
            raise ValueError(
                f"a pitch config must have the fields {sorted(names)}, got {sorted(fields)}; "
                "copy the whole model folder again."
            )
        return from_json(cls, fields)
