"""The learnable spectral front-end that the models share."""

from typing import cast

import jax
import jax.numpy as jnp
from flax import nnx

from ddspx import core
from ddspx._checks import at_least_ndim, floats
from ddspx._typing import Array, ArrayLike, Float
from ddspx.core._units import ERB_SLOPE
from ddspx.nn.frontend._banks import FilterBank, bank
from ddspx.nn.frontend._compressors import compressor
from ddspx.nn.frontend._config import FrontendConfig
from ddspx.nn.frontend._paths import StftPath
from ddspx.nn.frontend._pooling import pooling
from ddspx.nn.frontend._responses import bin_power
from ddspx.nn.frontend._subbands import subband_energies

# Added to the variance in `normalize`, so that silence stays small.
_VARIANCE_FLOOR = 1e-6


class SpectralFrontend(nnx.Module):
    r"""Audio to bands: the energies of a bank of filters, compressed; all of it can be trained.

    .. math:: E_i[t] = \frac{2}{N \sum_n w[n]^2} \sum_k |G_i(f_k)|^2\, |X_t[k]|^2

    on a `StftPath`, with the window w and the spectrum X of N bins of frame t; on the other paths
    it is :math:`E_i[t] = \sum_n p_i[n]\, |(g_i * x)[t h + n]|^2` with a low-pass p. A sine of
    amplitude A at the centre of a band has the energy :math:`A^2 / 2`. On a `StftPath` the window
    takes the place of the low-pass and spreads the sine over several bins. So a band that is not
    much wider than the window's resolution gets less than that (with the default sizes 0.23 at
    85 Hz and 0.47 at 1.4 kHz, instead of 0.5). Noise has the same energy on all paths.

    Ordered centres keep their order (`core.ordered_frequencies`), bandwidths are
    :math:`e^{\theta_i} \mathrm{ERB}(c_i)`, and the gain at a centre is 1. So centre, bandwidth and
    gain are independent parameters, and none of them is clipped, so training cannot get stuck at a
    limit.

    Args:
      config: sizes, and which parts are trained. Static.
      rngs: not used, because nothing is drawn; every module has this argument.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from ddspx.nn import FrontendConfig, SpectralFrontend
      >>> frontend = SpectralFrontend(FrontendConfig(n_bands=20), rngs=nnx.Rngs(0))
      >>> frontend(jnp.zeros((3, 16000), jnp.float32)).shape
      (3, 101, 20)
      >>> sorted(nnx.to_flat_state(nnx.state(frontend, nnx.Param)).paths)
      [('bank', 'gaps'), ('bank', 'log_bandwidths')]

    References:
      Zeghidour et al., `LEAF <https://arxiv.org/abs/2101.08596>`_; Ansari and Hasan, `SpectNet
      <https://arxiv.org/abs/2211.09352>`_; Ravanelli and Bengio, `SincNet
      <https://arxiv.org/abs/1808.00158>`_. Their front-ends filter the sound itself, as `FftPath`
      does. On a `StftPath` the same bank costs little more than a mel spectrogram, but its
      resolution is limited by the window.
    """

    def __init__(self, config: FrontendConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.bank = bank(config)
        self.compression = compressor(config)
        if not isinstance(config.filters.path, StftPath):
            self.pooling = pooling(config)

    def centers_hz(self) -> Float[Array, " bands"]:
        """Centre of each band, in Hz; increasing for ordered filters."""
        return self.bank.centers_hz()

    def bandwidths_hz(self) -> Float[Array, " bands"]:
        """Equivalent rectangular bandwidth of each band, in Hz."""
        return self.bank.bandwidths_hz()

    def power_response(self, *, n_fft: int | None = None) -> Float[Array, "bands bins"]:
        """The power response of each band; 1 at its centre if its gain is 1.

        Args:
          n_fft: length of the Fourier transform; by default the config's.

        Returns:
          The weights of the bins from 0 Hz to Nyquist, including the gains.
        """
        return self.bank.power_response(self.config.n_fft if n_fft is None else n_fft)

    def energies(
        self, audio: Float[ArrayLike, "*batch samples"]
    ) -> Float[Array, "*batch frames bands"]:
        """Energy of each band, before compression.

        Args:
          audio: linear amplitude at the config's sample rate.

        Returns:
          Energies, on the frame rule.

        Raises:
          TypeError: the audio is neither float32 nor float64.
          ValueError: the audio has the shape of spectrogram images, or no axis.
        """
        (audio,), c = floats(audio=audio), self.config
        if not isinstance(c.filters.path, StftPath):
            at_least_ndim("audio", audio.shape, 1, "(*batch, samples)")
            return subband_energies(audio, cast(FilterBank, self.bank), self.pooling)
        if audio.ndim >= 4 and c.n_fft // 2 + 1 in audio.shape[-3:-1]:
            raise ValueError(
                f"`audio` of shape {audio.shape} looks like spectrogram images of "
                f"{c.n_fft // 2 + 1} frequencies; give audio, (*batch, samples), or make a "
                "filterbank for images with `nn.compat.kapre_filterbank(image_data_format=)`."
            )
        spectrogram = core.spectrogram(
            audio, n_fft=c.n_fft, hop_length=c.hop_length, win_length=c.win_length, power=2
        )
        weights = self.power_response() * bin_power(c)
        return jnp.matmul(
            spectrogram, weights.T.astype(audio.dtype), precision=jax.lax.Precision.HIGHEST
        )

    def __call__(
        self, audio: Float[ArrayLike, "*batch samples"]
    ) -> Float[Array, "*batch frames features"]:
        """Audio of any length to compressed bands, or their cepstral coefficients."""
        return self.features(self.energies(audio))

    def features(
        self, energies: Float[ArrayLike, "*batch frames bands"]
    ) -> Float[Array, "*batch frames features"]:
        """Compresses energies to bands, or to their cepstral coefficients."""
        c = self.config
        features = self.compression(jnp.asarray(energies))
        if c.n_mfcc is not None:
            features = core.cepstral_coefficients(features, n_mfcc=c.n_mfcc)
        if c.normalize:
            mean = jnp.mean(features, axis=-2, keepdims=True)
            variance = jnp.mean(jnp.square(features - mean), axis=-2, keepdims=True)
            features = (features - mean) * jax.lax.rsqrt(variance + _VARIANCE_FLOOR)
        return features


def displacement_erb(
    before_hz: Float[ArrayLike, "*batch bands"], after_hz: Float[ArrayLike, "*batch bands"]
) -> Float[Array, "*batch bands"]:
    r"""How far the centres of filters moved, in equivalent rectangular bandwidths of hearing.

    .. math:: d_i = \left| \int_{c_i}^{c'_i} \frac{df}{\mathrm{ERB}(f)} \right|

    Args:
      before_hz: centres before training, in Hz. The sign of a frequency does not matter.
      after_hz: centres after training, in Hz.

    Returns:
      Distances in ERB; a filter with less than 0.1 has practically not moved.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx.nn import displacement_erb
      >>> moved = displacement_erb(jnp.array([1000.0]), jnp.array([1132.7]))
      >>> round(float(moved[0]), 2)
      0.95
    """
    before, after = (core.hz_to_erb(jnp.abs(hz)) for hz in (before_hz, after_hz))
    return jnp.abs(jnp.log(after / before)) / ERB_SLOPE
