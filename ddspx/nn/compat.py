"""Front-ends by the arguments that other libraries give them."""

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
    """kapre's ``Filterbank`` alone: a matrix on the frequencies of spectrogram images.

    Made by :func:`kapre_filterbank` with `image_data_format`.

    Args:
      frontend: of `KapreFilters`; its weights are the matrix.
      image_data_format: ``channels_first``, images ``(*batch, channels, frequencies, frames)``, or
        ``channels_last``, ``(*batch, frequencies, frames, channels)``.
    """

    def __init__(self, frontend: SpectralFrontend, image_data_format: ImageDataFormat):
        self.frontend, self.image_data_format = frontend, image_data_format

    def __call__(self, image: Float[ArrayLike, "*batch rows columns depth"]) -> Array:
        """The image with bands in place of frequencies.

        Raises:
          TypeError: the image is neither float32 nor float64.
          ValueError: the axis of frequencies has another length than the matrix.
        """
        (image,), config = floats(image=image), self.frontend.config
        axis = -2 if self.image_data_format == "channels_first" else -3
        if image.shape[axis] != config.n_fft // 2 + 1:
            raise ValueError(
                f"`image` must have {config.n_fft // 2 + 1} frequencies (n_dft // 2 + 1) on axis "
                f"{axis} with {self.image_data_format}, got the shape {image.shape}; audio is "
                "taken where `image_data_format` is not given."
            )
        # On the bare values of the image, as kapre's.
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
    """What kapre's ``Spectrogram`` (power 2) and ``Filterbank`` are together, on audio.

    With `image_data_format` it is ``Filterbank`` alone, on spectrogram images.

    A matrix on the bins of a power spectrogram, any of whose weights can learn. In kapre 0.1 only
    ``mel`` and ``log`` run, `trainable_fb` is not honoured by tf.keras, and without `sr` or `fmax`
    it stops.

    Args:
      n_fbs: number of bands.
      trainable_fb: whether the weights are `nnx.Param`.
      sr: samples per second. None, as in kapre, says nothing of frequencies, so that only
        ``uni_random`` can be made; they are then counted in bins.
      init: ``mel`` (Slaney's, of area 1), ``linear`` (the same at equal distances in Hz),
        ``log`` (`core.log_frequency_filterbank`) or ``uni_random`` (from 0 to 1).
      fmin: lower end in Hz; None is 0, or for ``log`` the note C1. ``log`` takes 0 for None too.
      fmax: upper end in Hz, by default half of `sr`; ``log`` has its end by its bands.
      bins_per_octave: of ``log``.
      n_dft: length of the Fourier transform and of its window.
      n_hop: samples between frames; by default half of `n_dft`.
      image_data_format: None, audio; ``channels_first`` or ``channels_last``, images of power.
      rngs: draws ``uni_random``.

    Returns:
      A front-end of `KapreFilters` without compression: audio ``(*batch, samples)`` to
      ``(*batch, frames, bands)``. Frames are centred, where kapre's begin at their sample; there
      is no axis of channels: audio of many channels is a batch. As in all of them moduli of
      weights count, so they stay above 0. Or a :class:`KapreFilterbank`.

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
            f"`sr` must be given with init {init!r}, whose bands are at frequencies; without it "
            "there is 'uni_random' alone."
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
    """The matrix that an initializer makes, for the bare power of the bins."""
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
