"""What a SpectNet classifier is made of, and what it tells apart."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any
from unicodedata import normalize

from ddspx._checks import positive_int, size
from ddspx.models._config import from_json, to_json
from ddspx.nn import FrontendConfig

_MAX_BLOCKS = 4
# 4 GB of weights.
_LARGEST_LAYER = 2**30


@dataclasses.dataclass(frozen=True)
class SpectNetConfig:
    """The sizes of a `SpectNet` and its classes; immutable, hashable, saved as JSON.

    The presets are the published sizes for heart sounds, at 1000 Hz with a hop of 10 ms and
    segments of 2.39 s; any field of the front-end can be changed in them.

    Args:
      frontend: what it listens with; a front-end of the same config can be moved here from
        another model with `ddspx.nn.copy_frontend`.
      labels: names of the classes, in the order of the logits.
      segment_frames: frames of the segment that is classified at once.
      n_blocks: residual blocks, 1 to 4; each halves time and bands and doubles the channels.
      channels: channels before the first block.
      hidden: size of the layer before the logits.
      dropout: share of the channels (and of the hidden layer) that training switches off.
      normalize_level: whether `segments` brings each recording to one level first.

    Raises:
      TypeError: a size is not an int, or a label not a string.
      ValueError: a size is out of range, a label is empty or appears twice, or there are fewer
        than two.

    Example:
      >>> from ddspx.models.spectnet import SpectNetConfig
      >>> config = SpectNetConfig.spectnet_16(("normal", "abnormal"))
      >>> config.segment_length, config.n_classes
      (2390, 2)
      >>> SpectNetConfig.from_json(config.to_json()) == config
      True
    """

    frontend: FrontendConfig
    labels: tuple[str, ...]
    segment_frames: int = 240
    n_blocks: int = 3
    channels: int = 16
    hidden: int = 100
    dropout: float = 0.5
    normalize_level: bool = True

    def __post_init__(self):
        if not isinstance(self.frontend, FrontendConfig):
            raise TypeError(f"`frontend` must be a FrontendConfig, got {self.frontend!r}.")
        # JSON has lists only, and a list would make the config unhashable.
        object.__setattr__(self, "labels", _label_names(self.labels))
        for name in ("segment_frames", "channels", "hidden"):
            size(name, getattr(self, name))
        positive_int("n_blocks", self.n_blocks)
        if self.segment_frames < 2:
            raise ValueError("`segment_frames` must be at least 2, got 1.")
        if self.n_blocks > _MAX_BLOCKS:
            raise ValueError(f"`n_blocks` must be 1 to {_MAX_BLOCKS}, got {self.n_blocks}.")
        if not (math.isfinite(self.dropout) and 0 <= self.dropout < 1):
            raise ValueError(f"`dropout` must be from 0 to below 1, got {self.dropout}.")
        if self.frontend.n_features < 2:
            raise ValueError(
                "`frontend` must have at least 2 bands (or cepstral coefficients), got 1."
            )
        image = self.segment_frames * self.frontend.n_features * self.channels >> self.n_blocks
        if max(image, image * self.hidden) > _LARGEST_LAYER:
            raise ValueError(
                f"`segment_frames`, the bands, `channels` and `hidden` make a layer of {image} x "
                f"{self.hidden} weights, more than {_LARGEST_LAYER}; take shorter segments or less "
                "of the others."
            )

    @property
    def n_classes(self) -> int:
        """How many labels there are."""
        return len(self.labels)

    @property
    def segment_length(self) -> int:
        """Samples of a segment: the fewest that have `segment_frames` frames."""
        return (self.segment_frames - 1) * self.frontend.hop_length

    @classmethod
    def spectnet_4(
        cls, labels: Sequence[str], *, learnable: bool = True, **frontend_changes: Any
    ) -> "SpectNetConfig":
        """Four filters; `learnable` False keeps them where they start ("static")."""
        return cls._preset(4, labels, learnable, frontend_changes)

    @classmethod
    def spectnet_8(
        cls, labels: Sequence[str], *, learnable: bool = True, **frontend_changes: Any
    ) -> "SpectNetConfig":
        """Eight filters."""
        return cls._preset(8, labels, learnable, frontend_changes)

    @classmethod
    def spectnet_16(
        cls, labels: Sequence[str], *, learnable: bool = True, **frontend_changes: Any
    ) -> "SpectNetConfig":
        """Sixteen filters; 48 numbers of them and, with two classes, 1,060,094 after them."""
        return cls._preset(16, labels, learnable, frontend_changes)

    @classmethod
    def spectnet_32(
        cls, labels: Sequence[str], *, learnable: bool = True, **frontend_changes: Any
    ) -> "SpectNetConfig":
        """Thirty-two filters."""
        return cls._preset(32, labels, learnable, frontend_changes)

    @classmethod
    def spectnet_46(
        cls, labels: Sequence[str], *, learnable: bool = True, **frontend_changes: Any
    ) -> "SpectNetConfig":
        """Forty-six filters."""
        return cls._preset(46, labels, learnable, frontend_changes)

    @classmethod
    def spectnet_64(
        cls, labels: Sequence[str], *, learnable: bool = True, **frontend_changes: Any
    ) -> "SpectNetConfig":
        """Sixty-four filters and four blocks: 1,895,166 numbers after the filters."""
        return cls._preset(64, labels, learnable, frontend_changes, n_blocks=4)

    @classmethod
    def spectnet_128(
        cls, labels: Sequence[str], *, learnable: bool = True, **frontend_changes: Any
    ) -> "SpectNetConfig":
        """A hundred and twenty-eight filters and four blocks."""
        return cls._preset(128, labels, learnable, frontend_changes, n_blocks=4)

    @classmethod
    def spectnet_149(
        cls, labels: Sequence[str], *, learnable: bool = True, **frontend_changes: Any
    ) -> "SpectNetConfig":
        """A hundred and forty-nine filters and four blocks."""
        return cls._preset(149, labels, learnable, frontend_changes, n_blocks=4)

    @classmethod
    def _preset(cls, n_bands, labels, learnable, changes, *, n_blocks=3):
        frontend = FrontendConfig.spectnet_scaled(**{"n_bands": n_bands} | changes)
        frontend = frontend if learnable else frontend.fixed()
        return cls(frontend, tuple(labels), n_blocks=n_blocks)

    def to_json(self) -> dict[str, Any]:
        """The fields as a dict that `json.dumps` takes."""
        return to_json(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "SpectNetConfig":
        """Inverse of `to_json`; a ValueError names missing and unknown fields."""
        return from_json(cls, fields)


def _label_names(labels: Any) -> tuple[str, ...]:
    """The labels as a tuple, after everything that can be wrong with them."""
    if isinstance(labels, str) or not all(isinstance(label, str) for label in labels):
        raise TypeError(f"`labels` must be the names of the classes, got {labels!r}.")
    # As one class, however its accents are written.
    names = tuple(normalize("NFC", label) for label in labels)
    if len(names) < 2:
        raise ValueError(f"`labels` must name at least 2 classes, got {names!r}.")
    if not all(names):
        raise ValueError(f"`labels` must not hold an empty name, got {names!r}.")
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"`labels` must differ from each other, got {name!r} twice.")
    return names
