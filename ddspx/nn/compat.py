"""Front-ends that take the same arguments as those of other libraries."""

from typing import Literal, cast, overload

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ddspx import core
from ddspx._checks import floats, one_of
from ddspx._typing import Array, ArrayLike, Float
from ddspx.nn.frontend._compressions import NoCompression
from ddspx.nn.frontend._config import FrontendConfig
from ddspx.nn.frontend._filters import KapreFilters
from ddspx.nn.frontend._free_banks import KapreBank
from ddspx.nn.frontend._frontend import SpectralFrontend
from ddspx.nn.frontend._responses import bin_power

_C1_HZ = 32.70319566257483

ImageDataFormat = Literal["channels_first", "channels_last"]


class KapreFilterbank(nnx.Module):
    """kapre's ``Filterbank``: multiplies the frequencies of spectrogram images by a matrix.

    :func:`kapre_filterbank` makes it if `image_data_format` is given.

    Args:
      frontend: a front-end of `KapreFilters`, whose weights are the matrix.
      image_data_format: ``channels_first``, images ``(*batch, channels, frequencies, frames)``, or
        ``channels_last``, ``(*batch, frequencies, frames, channels)``.
    """

    def __init__(self, frontend: SpectralFrontend, image_data_format: ImageDataFormat):
        self.frontend, self.image_data_format = frontend, image_data_format

    def __call__(self, image: Float[ArrayLike, "*batch rows columns depth"]) -> Array:
        """Replaces the frequencies of the image by bands.

        Raises:
          TypeError: the image is neither float32 nor float64.
          ValueError: the number of frequencies differs from that of the matrix.
        """
        (image,), config = floats(image=image), self.frontend.config
        axis = -2 if self.image_data_format == "channels_first" else -3
        if image.shape[axis] != config.n_fft // 2 + 1:
            raise ValueError(
                f"`image` must have {config.n_fft // 2 + 1} frequencies (n_dft // 2 + 1) on axis "
                f"{axis} with {self.image_data_format}, got the shape {image.shape}; to filter "
                "audio, leave `image_data_format` out."
            )
        # kapre multiplies the values of the image directly. So the scale by which the front-end
        # turns bins into power is taken out.
        weights = (self.frontend.power_response() * bin_power(config)).astype(image.dtype)
        bands = jnp.matmul(
            jnp.moveaxis(image, axis, -1), weights.T, precision=jax.lax.Precision.HIGHEST
        )
        return jnp.moveaxis(bands, -1, axis)


@overload
def kapre_filterbank(
    n_fbs: int,
    trainable_fb: bool,
    *,
    sr: int | None = None,
    init: Literal["mel", "log", "linear", "uni_random"] = "mel",
    fmin: float | None = 0.0,
    fmax: float | None = None,
    bins_per_octave: int = 12,
    n_dft: int = 512,
    n_hop: int | None = None,
    image_data_format: None = None,
    rngs: nnx.Rngs,
) -> SpectralFrontend: ...


@overload
def kapre_filterbank(
    n_fbs: int,
    trainable_fb: bool,
    *,
    sr: int | None = None,
    init: Literal["mel", "log", "linear", "uni_random"] = "mel",
    fmin: float | None = 0.0,
    fmax: float | None = None,
    bins_per_octave: int = 12,
    n_dft: int = 512,
    n_hop: int | None = None,
    image_data_format: ImageDataFormat,
    rngs: nnx.Rngs,
) -> KapreFilterbank: ...


def kapre_filterbank(
    n_fbs: int,
    trainable_fb: bool,
    *,
    sr: int | None = None,
    init: Literal["mel", "log", "linear", "uni_random"] = "mel",
    fmin: float | None = 0.0,
    fmax: float | None = None,
    bins_per_octave: int = 12,
    n_dft: int = 512,
    n_hop: int | None = None,
    image_data_format: ImageDataFormat | None = None,
    rngs: nnx.Rngs,
) -> SpectralFrontend | KapreFilterbank:
    """Makes kapre's ``Spectrogram`` (power 2) followed by its ``Filterbank``, on audio.

    With `image_data_format` it is ``Filterbank`` only, on spectrogram images.

    The filterbank is a matrix on the bins of a power spectrogram, all of whose weights can be
    trained. In kapre 0.1 only ``mel`` and ``log`` work, tf.keras ignores `trainable_fb`, and a
    missing `sr` or `fmax` is an error.

    Args:
      n_fbs: number of bands.
      trainable_fb: whether the weights are `nnx.Param`.
      sr: samples per second. With None, as in kapre, the frequencies of the bins are unknown: only
        ``uni_random`` is possible, and frequencies are in bins.
      init: ``mel`` (Slaney's, of area 1), ``linear`` (the same at equal distances in Hz),
        ``log`` (`core.log_frequency_filterbank`) or ``uni_random`` (from 0 to 1).
      fmin: lower end in Hz; None is 0, or for ``log`` the note C1. ``log`` takes 0 for None too.
      fmax: upper end in Hz, by default half of `sr`; ``log`` ignores it, as its number of bands
        sets the upper end.
      bins_per_octave: bands per octave, for ``log``.
      n_dft: length of the Fourier transform and of its window.
      n_hop: samples between frames; by default half of `n_dft`.
      image_data_format: None for audio; ``channels_first`` or ``channels_last`` for images of
        power.
      rngs: draws the weights of ``uni_random``.

    Returns:
      A front-end of `KapreFilters` without compression, from audio ``(*batch, samples)`` to
      ``(*batch, frames, bands)``; or, with `image_data_format`, a :class:`KapreFilterbank`. Frames
      are centred, where those of kapre begin at their sample. There is no axis of channels: the
      channels of audio are a batch axis. The front-end uses the absolute values of the weights, so
      its bands are never negative.

    Raises:
      TypeError: a size is not an int.
      ValueError: `init` or `image_data_format` is unknown, a range is empty, or `sr` is missing.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from ddspx.nn.compat import kapre_filterbank
      >>> bank = kapre_filterbank(40, True, sr=16000, rngs=nnx.Rngs(0))
      >>> bank(jnp.zeros((2, 16000), jnp.float32)).shape
      (2, 63, 40)
    """
    one_of("init", init, ("mel", "log", "linear", "uni_random"))
    one_of("image_data_format", image_data_format, (None, "channels_first", "channels_last"))
    if sr is None and init != "uni_random":
        raise ValueError(
            f"`sr` must be given with init {init!r}, whose bands are at frequencies in Hz; without "
            "`sr`, the only `init` is 'uni_random'."
        )
    config = FrontendConfig(
        sample_rate=n_dft if sr is None else sr,
        hop_length=n_dft // 2 if n_hop is None else n_hop,
        n_fft=n_dft,
        win_length=n_dft,
        n_bands=n_fbs,
        fmin=fmin or 0.0,
        fmax=fmax,
        scale="linear",
        filters=KapreFilters(trainable=bool(trainable_fb)),
        compression=NoCompression(),
    )
    weights = _kapre_weights(config, init, fmin or _C1_HZ, bins_per_octave, rngs)
    frontend = SpectralFrontend(config, rngs=rngs)
    cast(KapreBank, frontend.bank).weights[...] = jnp.asarray(weights, jnp.float32)
    if image_data_format is None:
        return frontend
    return KapreFilterbank(frontend, image_data_format)


def _kapre_weights(
    config: FrontendConfig, init: str, log_fmin: float, bins_per_octave: int, rngs: nnx.Rngs
) -> Array | np.ndarray:
    """The initial matrix, whose bins are squared magnitudes without further scale."""
    n_bands, n_fft, rate = config.n_bands, config.n_fft, config.sample_rate
    if init == "log":
        return core.log_frequency_filterbank(
            n_bands=n_bands,
            n_fft=n_fft,
            sample_rate=rate,
            fmin=log_fmin,
            bins_per_octave=bins_per_octave,
        )
    if init == "uni_random":
        return jax.random.uniform(rngs.params(), (n_bands, n_fft // 2 + 1), jnp.float32)
    fmin, fmax = config.fmin, config.highest_hz
    if init == "mel":
        return core.mel_filterbank(
            n_mels=n_bands, n_fft=n_fft, sample_rate=rate, fmin=fmin, fmax=fmax
        )
    corners = core.frequency_grid(n_bands + 2, fmin=fmin, fmax=fmax, scale="linear")
    bins = jnp.asarray(np.fft.rfftfreq(n_fft, 1 / rate), jnp.float32)
    triangles = core.triangular_response(bins, jnp.asarray(corners, jnp.float32))
    return np.asarray(triangles) / (corners[1] - corners[0])
