"""The config of a SpectNet classifier: its sizes and its classes."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from unicodedata import normalize

from ddspx._checks import number, positive_int, size
from ddspx.models._config import from_json, to_json
from ddspx.models.spectnet.recipes import (
    FrontEnd,
    Preset,
    check_sizes,
    named_frontend,
    preset_sizes,
    suggested_sample_rate,
    suggested_segment_s,
)
from ddspx.nn import FrontendConfig

if TYPE_CHECKING:
    from ddspx.io import Recording

_LONGEST_SEGMENT_S = 600
_MAX_BLOCKS = 4
# The most weights of a layer: 4 GB in float32.
_LARGEST_LAYER = 2**30


@dataclasses.dataclass(frozen=True)
class SpectNetConfig:
    """The sizes of a `SpectNet` and its classes; immutable, hashable, saved as JSON.

    The presets are the published sizes for heart sounds, at 1000 Hz with a hop of 10 ms and
    segments of 2.39 s. Their keyword arguments change any field of the front-end.

    Args:
      frontend: the config of the front-end. `ddspx.nn.copy_frontend` copies the parameters of a
        front-end with the same config from another model.
      labels: names of the classes, in the order of the logits.
      segment_frames: frames of a segment, which is what the network classifies.
      n_blocks: residual blocks, 1 to 4; each halves time and bands and doubles the channels.
      channels: channels before the first block.
      hidden: size of the layer before the logits.
      dropout: share of the channels, and of the units of the hidden layer, that are dropped in
        training.
      normalize_level: whether `segments` first scales each recording to the same level.

    Raises:
      TypeError: a size is not an int, or a label not a string.
      ValueError: a size is out of range, a label is empty or appears twice, or there are fewer
        than two labels.

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
        number("dropout", self.dropout, least=0, below=1)
        if self.frontend.n_features < 2:
            raise ValueError(
                "`frontend` must have at least 2 bands (or cepstral coefficients), got 1."
            )
        image = self.segment_frames * self.frontend.n_features * self.channels >> self.n_blocks
        if max(image, image * self.hidden) > _LARGEST_LAYER:
            raise ValueError(
                f"`segment_frames`, the bands, `channels` and `hidden` make a layer of {image} x "
                f"{self.hidden} weights, more than {_LARGEST_LAYER}; take shorter segments, or "
                "fewer bands, channels or hidden units."
            )

    @property
    def n_classes(self) -> int:
        """Number of labels."""
        return len(self.labels)

    @property
    def segment_length(self) -> int:
        """Length of a segment in samples, the shortest with `segment_frames` frames."""
        return (self.segment_frames - 1) * self.frontend.hop_length

    @classmethod
    def for_recordings(
        cls,
        recordings: "Sequence[Recording]",
        *,
        front_end: FrontEnd | FrontendConfig | None = None,
        preset: Preset | None = None,
        n_bands: int | None = None,
        n_blocks: int | None = None,
        channels: int | None = None,
        dropout: float = 0.2,
        sample_rate: int | None = None,
        hop_ms: float | None = None,
        fmin: float | None = None,
        segment_s: float | None = None,
    ) -> "SpectNetConfig":
        """A config that suits labelled recordings; `ddspx classify train` uses it.

        Args:
          recordings: from `io.labelled_recordings`. The labels are those of all recordings. The
            default sample rate and segment length come from the headers of the files in the train
            and valid splits.
          front_end: name of the front-end. The default is `gammatone-pcen`, trainable ordered
            gammatones with trainable PCEN; with a preset it is SpectNet's front-end. Or the config
            of a front-end, such as a trained one: other sizes than its own are then refused.
          preset: name of a published size, at 1000 Hz. At another `sample_rate` its filters are
            widened to leave no gaps.
          n_bands: bands of the front-end; 40 without a preset.
          n_blocks: residual blocks, 1 to 4; 3 without a preset.
          channels: channels before the first block, which every block doubles; 8 without a preset.
          dropout: share of the channels, and of the units of the hidden layer, that are dropped in
            training.
          sample_rate: sample rate of the model, in Hz; by default :func:`suggested_sample_rate`.
          hop_ms: milliseconds between frames, 10 by default; the window is 2.5 times as long.
          fmin: lower end of the bands, in Hz; by default 60, or 0 for SpectNet's front-ends.
          segment_s: duration of a segment, in seconds; by default :func:`suggested_segment_s`.

        Returns:
          The config.

        Raises:
          DatasetError: there is only one class, or a class has no recordings for training.
          TypeError: a size is not an int.
          ValueError: a name is unknown, or a size out of range or not that of `front_end`.

        Example:
          >>> from pathlib import Path
          >>> from ddspx import io
          >>> from ddspx.models.spectnet import SpectNetConfig
          >>> cat, dog = (io.Recording(Path(c), c, c, "train", c) for c in ("cat", "dog"))
          >>> config = SpectNetConfig.for_recordings([cat, dog], sample_rate=8000, segment_s=1.0)
          >>> config.labels, config.segment_length, config.frontend.n_bands
          (('cat', 'dog'), 8000, 40)
        """
        from ddspx.io import training_labels

        if segment_s is not None:
            number("segment_s", segment_s, above=0, most=_LONGEST_SEGMENT_S)
        labels = training_labels(recordings)
        known = [recording for recording in recordings if recording.split != "test"]
        arguments = {
            "n_bands": n_bands,
            "n_blocks": n_blocks,
            "channels": channels,
            "sample_rate": sample_rate,
        }
        given = {name: value for name, value in arguments.items() if value is not None}
        sizes = preset_sizes(preset) | given
        rate = sizes.get("sample_rate")
        if isinstance(front_end, FrontendConfig):
            bands = sizes["n_bands"] if preset else n_bands
            check_sizes(front_end, sample_rate=rate, hop_ms=hop_ms, n_bands=bands, fmin=fmin)
            frontend = front_end
        else:
            frontend = named_frontend(
                front_end or (None if preset else "gammatone-pcen"),
                sample_rate=suggested_sample_rate(known) if rate is None else rate,
                hop_ms=hop_ms,
                n_bands=sizes["n_bands"],
                fmin=fmin,
            )
        seconds = suggested_segment_s(known) if segment_s is None else segment_s
        frames = seconds * frontend.sample_rate / frontend.hop_length
        return cls(
            frontend,
            labels,
            segment_frames=1 + max(1, round(frames)),
            n_blocks=sizes["n_blocks"],
            channels=sizes["channels"],
            dropout=dropout,
        )

    @classmethod
    def spectnet_4(
        cls, labels: Sequence[str], *, learnable: bool = True, **frontend_changes: Any
    ) -> "SpectNetConfig":
        """Four filters; with `learnable=False` they are not trained ("static" in the paper)."""
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
        """Sixteen filters with 48 parameters; 1,060,094 more in the classifier of two classes."""
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
        """Sixty-four filters and four blocks: 1,895,166 parameters in the classifier."""
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
    """Checks the labels, and returns them as a tuple in Unicode's normal form NFC."""
    if isinstance(labels, str) or not all(isinstance(label, str) for label in labels):
        raise TypeError(f"`labels` must be the names of the classes, got {labels!r}.")
    # Unicode can write an accented letter as one or as two characters, which must be equal here.
    names = tuple(normalize("NFC", label) for label in labels)
    if len(names) < 2:
        raise ValueError(f"`labels` must name at least 2 classes, got {names!r}.")
    if not all(names):
        raise ValueError(f"`labels` must not hold an empty name, got {names!r}.")
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"`labels` must differ from each other, got {name!r} twice.")
    return names
