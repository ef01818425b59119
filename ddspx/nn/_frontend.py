"""The learnable spectral front-end that the models share."""

import dataclasses
import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ddspx import core
from ddspx._checks import one_of, positive_int
from ddspx._typing import Array, Float

Family = Literal["triangular", "gammatone", "gabor"]
Compression = Literal["none", "log", "log1p", "db", "pcen"]
Part = Literal["centers", "bandwidths", "gains", "compression"]
_FAMILIES = ("triangular", "gammatone", "gabor")
_COMPRESSIONS = ("none", "log", "log1p", "db", "pcen")
_PARTS = ("centers", "bandwidths", "gains", "compression")
# A variance below this is that of silence.
_QUIET = 1e-6


class Fixed(nnx.Variable):
    """A number of a model that its training leaves alone: stored with it, and no `nnx.Param`."""


@dataclasses.dataclass(frozen=True)
class FrontendConfig:
    """What a front-end listens to, and which parts of it learn.

    Attributes:
      sample_rate: samples per second.
      hop_length: samples between frames.
      n_fft: length of the Fourier transform, in samples.
      win_length: length of the window, at most `n_fft`.
      n_bands: number of bands.
      fmin: what lies below all centres, in Hz.
      fmax: what lies above them, in Hz; None is half of `sample_rate`.
      family: shape of the filters: ``triangular`` (between the neighbouring centres, as in a mel
        spectrogram), ``gammatone`` or ``gabor``.
      scale: of hearing, on which the centres are at equal distances at first, and on which they
        learn; see `core.frequency_grid`.
      order: number of poles of a ``gammatone``.
      trainable: the parts that are `nnx.Param`: any of ``centers``, ``bandwidths``, ``gains`` and
        ``compression``. The others are `Fixed`.
      compression: of the energies: ``none``, ``log``, ``log1p`` (of the energy times a factor
        that can learn), ``db``, or ``pcen`` (all of whose numbers can learn, for each band).
      floor: the energy that counts as silence: added before a ``log`` or ``db``, and to the past
        of ``pcen``; one over the factor of ``log1p``.
      n_mfcc: number of cepstral coefficients of the compressed bands; None for the bands.
      normalize: whether each band has mean 0 and variance 1 over the frames of each example.

    Raises:
      TypeError: a size is not an int.
      ValueError: a size is below 1, a choice is unknown, or the range is empty or reaches above
        half of `sample_rate`; or ``trainable`` names the bandwidths of triangles, which are their
        neighbours' centres, or a compression without numbers to learn.

    Example:
      >>> from ddspx.nn import FrontendConfig
      >>> FrontendConfig.log_mel(n_bands=64).compression
      'log'
    """

    sample_rate: int = 16000
    hop_length: int = 160
    n_fft: int = 512
    win_length: int = 400
    n_bands: int = 40
    fmin: float = 60.0
    fmax: float | None = None
    family: Family = "gammatone"
    scale: core.FrequencyScale = "erb"
    order: int = 4
    trainable: tuple[Part, ...] = ("centers", "bandwidths")
    compression: Compression = "log"
    floor: float = 1e-6
    n_mfcc: int | None = None
    normalize: bool = False

    def __post_init__(self):
        sizes = ("sample_rate", "hop_length", "n_fft", "win_length", "n_bands", "order")
        for name in (*sizes, *(["n_mfcc"] if self.n_mfcc is not None else [])):
            positive_int(name, getattr(self, name))
        one_of("family", self.family, _FAMILIES)
        one_of("compression", self.compression, _COMPRESSIONS)
        for part in self.trainable:
            one_of("trainable", part, _PARTS)
        if not (math.isfinite(self.floor) and self.floor > 0):
            raise ValueError(f"`floor` must be positive and finite, got {self.floor}.")
        if self.highest_hz > self.sample_rate / 2:
            raise ValueError(
                f"`fmax` must be at most half of `sample_rate`, {self.sample_rate / 2} Hz, got "
                f"{self.highest_hz}."
            )
        core.frequency_grid(2, fmin=self.fmin, fmax=self.highest_hz, scale=self.scale)
        if self.family == "triangular" and "bandwidths" in self.trainable:
            raise ValueError(
                "`trainable` must not name 'bandwidths' for the family 'triangular': a triangle "
                "ends at its neighbours' centres, so train 'centers'."
            )
        if self.compression not in ("log1p", "pcen") and "compression" in self.trainable:
            raise ValueError(
                f"`trainable` must not name 'compression' for {self.compression!r}, which has no "
                "numbers to learn; take 'log1p' or 'pcen'."
            )
        if self.n_mfcc is not None and self.n_mfcc > self.n_bands:
            raise ValueError(
                f"`n_mfcc` must be at most `n_bands`, {self.n_bands}, got {self.n_mfcc}."
            )

    @property
    def highest_hz(self) -> float:
        """`fmax`, or half of the sample rate."""
        return self.sample_rate / 2 if self.fmax is None else float(self.fmax)

    @classmethod
    def log_mel(cls, **changes: Any) -> "FrontendConfig":
        """Logarithm of a mel spectrogram (HTK's scale, triangles of height 1); nothing learns."""
        fixed = {"family": "triangular", "scale": "mel", "trainable": (), "compression": "log"}
        return cls(**fixed | changes)

    @classmethod
    def mfcc(cls, **changes: Any) -> "FrontendConfig":
        """Thirteen cepstral coefficients of :meth:`log_mel`."""
        return cls.log_mel(**{"n_mfcc": 13} | changes)


class SpectralFrontend(nnx.Module):
    r"""Audio to bands: a bank of filters on a power spectrum, compressed, all of it learnable.

    .. math:: E_i[t] = 10^{g_i / 10} \sum_k |G(f_k; c_i, B_i)|^2\, |X_t[k]|^2

    with centres :math:`c` that keep their order (`core.ordered_frequencies`) and bandwidths
    :math:`B_i = e^{\theta_i} \mathrm{ERB}(c_i)`. A filter has a gain of 1 at its centre, so
    width, place and gain are learned apart; nothing is clipped, so nothing stops at a bound.

    Args:
      config: sizes, and what learns. Static.
      rngs: unused: every number has its place at first. It is here as in every module.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from ddspx.nn import FrontendConfig, SpectralFrontend
      >>> frontend = SpectralFrontend(FrontendConfig(n_bands=20), rngs=nnx.Rngs(0))
      >>> frontend(jnp.zeros((3, 16000), jnp.float32)).shape
      (3, 101, 20)
      >>> sorted(nnx.to_flat_state(nnx.state(frontend, nnx.Param)).paths)
      [('gaps',), ('log_bandwidths',)]

    References:
      Zeghidour et al., `LEAF <https://arxiv.org/abs/2101.08596>`_; Ansari and Hasan, `SpectNet
      <https://arxiv.org/abs/2211.09352>`_. Theirs filter in time; on the bins of a spectrum the
      same bank costs little more than a mel spectrogram, at the resolution of its window.
    """

    def __init__(self, config: FrontendConfig, *, rngs: nnx.Rngs):
        self.config = config

        def number(part: str, values: np.ndarray) -> nnx.Variable:
            kind = nnx.Param if part in config.trainable else Fixed
            return kind(jnp.asarray(values, jnp.float32))

        bands = np.zeros(config.n_bands)
        self.gaps = number("centers", np.zeros(config.n_bands + 1))
        if config.family != "triangular":
            self.log_bandwidths = number("bandwidths", bands)
        self.gains_db = number("gains", bands)
        if config.compression == "log1p":
            self.log_factor = number("compression", bands - math.log(config.floor))
        elif config.compression == "pcen":
            smoothing = float(
                core.pcen_smoothing(
                    0.4, sample_rate=config.sample_rate, hop_length=config.hop_length
                )
            )
            logit = math.log(smoothing / (1 - smoothing))
            self.smoothing_logit = number("compression", bands + logit)
            self.gain_logit = number("compression", bands + math.log(0.98 / 0.02))
            self.log_bias = number("compression", bands + math.log(2.0))
            self.power_logit = number("compression", bands)

    def centers_hz(self) -> Float[Array, " bands"]:
        """Centre of each band, in Hz, rising."""
        c = self.config
        ends = {"fmin": c.fmin, "fmax": c.highest_hz, "scale": c.scale}
        return core.ordered_frequencies(self.gaps[...], **ends)

    def bandwidths_hz(self) -> Float[Array, " bands"]:
        """Equivalent rectangular bandwidth of each band, in Hz."""
        centers_hz = self.centers_hz()
        if self.config.family == "triangular":
            corners = self._corners(centers_hz)
            return (corners[2:] - corners[:-2]) / 2
        return core.hz_to_erb(centers_hz) * jnp.exp(self.log_bandwidths[...])

    def power_response(
        self, frequencies_hz: Float[Array, " frequencies"]
    ) -> Float[Array, "bands frequencies"]:
        """What each band passes of a power spectrum; 1 at its centre without gain.

        Args:
          frequencies_hz: where, in Hz.

        Returns:
          The weights, with the gains in them.
        """
        c, centers_hz = self.config, self.centers_hz()
        if c.family == "triangular":
            power = core.triangular_response(frequencies_hz, self._corners(centers_hz))
        elif c.family == "gabor":
            bands = centers_hz, self.bandwidths_hz()
            power = jnp.square(core.gabor_response(frequencies_hz, *bands))
        else:
            bands = centers_hz, self.bandwidths_hz()
            rates = {"sample_rate": c.sample_rate, "order": c.order}
            response = core.gammatone_response(frequencies_hz, *bands, **rates)
            power = jnp.square(response.real) + jnp.square(response.imag)
        return power * core.db_to_power(self.gains_db[...])[:, None]

    def energies(
        self, audio: Float[Array, "*batch samples"]
    ) -> Float[Array, "*batch frames bands"]:
        """Energy of each band, before compression.

        Args:
          audio: linear amplitude at the config's rate.

        Returns:
          Energies, on the frame rule.
        """
        c = self.config
        spectrogram = core.spectrogram(
            audio, n_fft=c.n_fft, hop_length=c.hop_length, win_length=c.win_length, power=2
        )
        bins = np.fft.rfftfreq(c.n_fft, 1 / c.sample_rate).astype(audio.dtype)
        weights = self.power_response(jnp.asarray(bins)).astype(audio.dtype)
        return jnp.matmul(spectrogram, weights.T, precision=jax.lax.Precision.HIGHEST)

    def __call__(
        self, audio: Float[Array, "*batch samples"]
    ) -> Float[Array, "*batch frames features"]:
        """Audio of any length to compressed bands, or their cepstral coefficients."""
        c = self.config
        features = self._compress(self.energies(audio))
        if c.n_mfcc is not None:
            features = core.cepstral_coefficients(features, n_mfcc=c.n_mfcc)
        if c.normalize:
            mean = jnp.mean(features, axis=-2, keepdims=True)
            variance = jnp.mean(jnp.square(features - mean), axis=-2, keepdims=True)
            features = (features - mean) * jax.lax.rsqrt(variance + _QUIET)
        return features

    def _compress(self, energies: Array) -> Array:
        c = self.config
        if c.compression == "log":
            return jnp.log(energies + c.floor)
        if c.compression == "db":
            return (10 / math.log(10)) * jnp.log(energies + c.floor)
        if c.compression == "log1p":
            row = (1,) * (energies.ndim - 1) + (-1,)
            return jnp.log1p(
                energies * jnp.exp(self.log_factor[...].astype(energies.dtype).reshape(row))
            )
        if c.compression == "pcen":

            def number(variable: nnx.Variable) -> Array:
                return variable[...].astype(energies.dtype)

            return core.pcen(
                energies,
                jax.nn.sigmoid(number(self.smoothing_logit)),
                gain=jax.nn.sigmoid(number(self.gain_logit)),
                bias=jnp.exp(number(self.log_bias)),
                power=jax.nn.sigmoid(number(self.power_logit)),
                eps=c.floor,
                initial="first",
            )
        return energies

    def _corners(self, centers_hz: Array) -> Array:
        ends = jnp.asarray([self.config.fmin, self.config.highest_hz], centers_hz.dtype)
        return jnp.concatenate([ends[:1], centers_hz, ends[1:]])


def displacement_erb(
    before_hz: Float[Array, "*batch bands"], after_hz: Float[Array, "*batch bands"]
) -> Float[Array, "*batch bands"]:
    r"""How far filters moved, in bandwidths of hearing.

    .. math:: d_i = \left| \int_{c_i}^{c'_i} \frac{df}{\mathrm{ERB}(f)} \right|

    Args:
      before_hz: centres at first, in Hz.
      after_hz: centres now, in Hz.

    Returns:
      Distances in ERB; below 0.1 a filter has not moved.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx.nn import displacement_erb
      >>> moved = displacement_erb(jnp.array([1000.0]), jnp.array([1132.7]))
      >>> round(float(moved[0]), 2)
      0.95
    """
    # The slope is that of `hz_to_erb`.
    return jnp.abs(jnp.log(core.hz_to_erb(after_hz) / core.hz_to_erb(before_hz))) / 0.108
