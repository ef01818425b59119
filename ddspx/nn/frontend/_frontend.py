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

# A variance below this is that of silence.
_QUIET = 1e-6


class SpectralFrontend(nnx.Module):
    r"""Audio to bands: a bank of filters, their energies, compressed, all of it learnable.

    .. math:: E_i[t] = \frac{2}{N \sum_n w[n]^2} \sum_k |G_i(f_k)|^2\, |X_t[k]|^2

    on a `StftPath`, with the window w and the spectrum X of N bins of frame t; on the others
    :math:`E_i[t] = \sum_n p_i[n]\, |(g_i * x)[t h + n]|^2` with a low-pass p. A sine of amplitude A
    at the centre of a band has the energy :math:`A^2 / 2`. On a `StftPath` the window is the
    low-pass, and spreads a sine: a band that is not much wider than the window's resolution has
    less of it (with the default sizes 0.23 at 85 Hz and 0.47 at 1.4 kHz, for 0.5). Of noise both
    have the same.

    Ordered centres keep their order (`core.ordered_frequencies`), bandwidths are
    :math:`e^{\theta_i} \mathrm{ERB}(c_i)`, and the gain at a centre is 1: width, place and gain are
    learned apart, and nothing is clipped, so nothing stops at a bound.

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
      [('bank', 'gaps'), ('bank', 'log_bandwidths')]

    References:
      Zeghidour et al., `LEAF <https://arxiv.org/abs/2101.08596>`_; Ansari and Hasan, `SpectNet
      <https://arxiv.org/abs/2211.09352>`_; Ravanelli and Bengio, `SincNet
      <https://arxiv.org/abs/1808.00158>`_. Theirs filter in time; on the bins of a spectrum the
      same bank costs little more than a mel spectrogram, at the resolution of its window.
    """

    def __init__(self, config: FrontendConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.bank = bank(config)
        self.compression = compressor(config)
        if not isinstance(config.filters.path, StftPath):
            self.pooling = pooling(config)

    def centers_hz(self) -> Float[Array, " bands"]:
        """Centre of each band, in Hz; rising if they are ordered."""
        return self.bank.centers_hz()

    def bandwidths_hz(self) -> Float[Array, " bands"]:
        """Equivalent rectangular bandwidth of each band, in Hz."""
        return self.bank.bandwidths_hz()

    def power_response(self, *, n_fft: int | None = None) -> Float[Array, "bands bins"]:
        """What each band passes of a power spectrum; 1 at its centre without gain.

        Args:
          n_fft: length of the transform of that spectrum; by default the config's.

        Returns:
          The weights of the bins from 0 Hz to Nyquist, with the gains in them.
        """
        return self.bank.power_response(self.config.n_fft if n_fft is None else n_fft)

    def energies(
        self, audio: Float[ArrayLike, "*batch samples"]
    ) -> Float[Array, "*batch frames bands"]:
        """Energy of each band, before compression.

        Args:
          audio: linear amplitude at the config's rate.

        Returns:
          Energies, on the frame rule.

        Raises:
          TypeError: the audio is neither float32 nor float64.
          ValueError: it has the shape of spectrogram images, or time is not its last axis.
        """
        (audio,), c = floats(audio=audio), self.config
        if not isinstance(c.filters.path, StftPath):
            at_least_ndim("audio", audio.shape, 1, "(*batch, samples)")
            return subband_energies(audio, cast(FilterBank, self.bank), self.pooling)
        if audio.ndim >= 4 and c.n_fft // 2 + 1 in audio.shape[-3:-1]:
            raise ValueError(
                f"`audio` of shape {audio.shape} looks like spectrogram images of "
                f"{c.n_fft // 2 + 1} frequencies; give the audio, (*batch, samples), or make a "
                "bank on images by `nn.compat.kapre_filterbank(image_data_format=)`."
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
        """Compressed bands of energies, or their cepstral coefficients."""
        c = self.config
        features = self.compression(jnp.asarray(energies))
        if c.n_mfcc is not None:
            features = core.cepstral_coefficients(features, n_mfcc=c.n_mfcc)
        if c.normalize:
            mean = jnp.mean(features, axis=-2, keepdims=True)
            variance = jnp.mean(jnp.square(features - mean), axis=-2, keepdims=True)
            features = (features - mean) * jax.lax.rsqrt(variance + _QUIET)
        return features


def displacement_erb(
    before_hz: Float[ArrayLike, "*batch bands"], after_hz: Float[ArrayLike, "*batch bands"]
) -> Float[Array, "*batch bands"]:
    r"""How far filters moved, in bandwidths of hearing.

    .. math:: d_i = \left| \int_{c_i}^{c'_i} \frac{df}{\mathrm{ERB}(f)} \right|

    Args:
      before_hz: centres at first, in Hz; a filter at a negative frequency is that at the positive.
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
    before, after = (core.hz_to_erb(jnp.abs(hz)) for hz in (before_hz, after_hz))
    return jnp.abs(jnp.log(after / before)) / ERB_SLOPE
