"""Sizes of the pitch tracker."""

import dataclasses
import math
from typing import Any

from ddspx._checks import positive_int


@dataclasses.dataclass(frozen=True)
class PitchConfig:
    """What a pitch tracker listens to, and how large its network is.

    The look-ahead is half the long window and one frame: 64 ms by default.

    Attributes:
      sample_rate: samples per second that it listens at.
      hop_length: samples between its frames.
      win_lengths: samples of the short and of the long analysis window: the short one follows
        fast notes, the long one holds three periods of the lowest pitch.
      fmin: pitch of the lowest bin, in Hz.
      bins_per_octave: bins of pitch in an octave.
      n_bins: bins of pitch.
      channels: features of each bin inside the network.
    """

    sample_rate: int = 16000
    hop_length: int = 256
    win_lengths: tuple[int, int] = (640, 1536)
    fmin: float = 30.0
    bins_per_octave: int = 36
    n_bins: int = 224
    channels: int = 16

    def __post_init__(self):
        for name in ("sample_rate", "hop_length", "bins_per_octave", "n_bins", "channels"):
            positive_int(name, getattr(self, name))
        if len(self.win_lengths) != 2:
            raise ValueError(f"`win_lengths` must be two sizes, got {self.win_lengths!r}.")
        for length in self.win_lengths:
            positive_int("win_lengths", length)
        if not (math.isfinite(self.fmin) and self.fmin > 0):
            raise ValueError(f"`fmin` must be positive and finite, in Hz, got {self.fmin}.")
        if self.fmax > self.sample_rate / 2:
            raise ValueError(
                f"The highest bin is {self.fmax:.0f} Hz, above half of `sample_rate` "
                f"{self.sample_rate}; take a smaller `n_bins`."
            )

    @property
    def fmax(self) -> float:
        """Pitch of the highest bin, in Hz."""
        return self.fmin * 2 ** ((self.n_bins - 1) / self.bins_per_octave)

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON holds them."""
        return dataclasses.asdict(self) | {"win_lengths": list(self.win_lengths)}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "PitchConfig":
        """The config that `to_json` wrote.

        Raises:
          ValueError: a field is missing or unknown.
        """
        names = {field.name for field in dataclasses.fields(cls)}
        if set(fields) != names:
            raise ValueError(
                f"a pitch config must have the fields {sorted(names)}, got {sorted(fields)}; "
                "copy the whole model folder again."
            )
        sizes: dict[str, Any] = {"win_lengths": tuple(fields["win_lengths"])}
        return cls(**fields | sizes)
