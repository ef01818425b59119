"""Reverbs whose impulse response is learned from the recordings."""

import math
from functools import lru_cache
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import scipy.signal
from flax import nnx

from ddspx import core
from ddspx._checks import size
from ddspx._typing import Array, ArrayLike, Float
from ddspx.nn._reverb_config import DecayingReverbConfig, TapReverbConfig

# The longest reverberation time, as a share of the response: so the response always ends more than
# 60 dB below its start, and is never cut off where it can be heard.
_LONGEST_SHARE, _SHORTEST_SHARE = 0.75, 0.01
_INITIAL_SHARE, _INITIAL_DB = 0.2, -30.0
# An optimizer like Adam moves each parameter by about its learning rate in a step. These factors
# make a step of 1e-3 a change of 0.08 dB, of up to 1 % of a reverberation time, and of -80 dB for
# one tap: with larger steps, the taps themselves become a noise that can be heard.
_DB_PER_UNIT, _TIME_PER_UNIT, _TAP_PER_UNIT = 80.0, 10.0, 0.1


@runtime_checkable
class Reverb(Protocol):
    """A trained room, the same for every sound; a config (`ReverbConfig`) builds it.

    A reverb is an `nnx.Module`. A model plays it whole in training, and block by block in transfer
    with `core.convolution_reverb_step`.
    """

    @property
    def impulse_response(self) -> Float[Array, " taps"]:
        """The response without the direct sound: its first tap is zero."""
        ...

    def __call__(self, audio: Float[ArrayLike, "*batch samples"]) -> Float[Array, "*batch samples"]:
        """Adds the reverb to dry audio; the output is as long as the input."""
        ...


class TapReverb(nnx.Module):
    r"""Reverb each tap of which is trained: DDSP's.

    .. math:: y[n] = x[n] + \sum_{k \ge 1} h[k]\, x[n - k]

    The dry sound passes unchanged, and `h[0]` is always zero. So the response describes only the
    room, and the synthesizer alone sets the level of the direct sound.

    Nothing makes such a response decay: what training leaves in its late taps is noise, which is
    heard after every note. `DecayingReverb` has a shape that cannot do this.

    Args:
      config: the number of taps.
      rngs: draws the initial response, Gaussian with a standard deviation of 1e-6: the reverb is
        almost silent at first, but every tap has a gradient.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from ddspx.nn import TapReverb, TapReverbConfig
      >>> reverb = TapReverb(TapReverbConfig(100), rngs=nnx.Rngs(0))
      >>> audio = jnp.ones(400, jnp.float32)
      >>> bool(jnp.allclose(reverb(audio), audio, atol=1e-3))
      True

    References:
      Engel et al., `DDSP: Differentiable Digital Signal Processing
      <https://arxiv.org/abs/2001.04643>`_, ICLR 2020, section 3.6.
    """

    def __init__(self, config: TapReverbConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.taps = nnx.Param(
            1e-6 * jax.random.normal(rngs.params(), (config.length,), jnp.float32)
        )

    @property
    def impulse_response(self) -> Float[Array, " taps"]:
        """The trained taps, with the first one set to zero."""
        return self.taps[...].at[0].set(0.0)

    def __call__(self, audio: Float[ArrayLike, "*batch samples"]) -> Float[Array, "*batch samples"]:
        """Adds the reverb to dry audio; the output is as long as the input."""
        return _reverberated(audio, self.impulse_response)


class DecayingReverb(nnx.Module):
    r"""Reverb of early reflections, and of noise that decays exponentially in each octave.

    .. math:: h[n] = e[n] \cos^2\!\Bigl(\frac{\pi n}{2 E}\Bigr)
        + \sum_b \sqrt{\frac{6 \ln 10}{f_s T_b}}\; 10^{L_b / 20 - 3 n / (f_s T_b)}\; m_b[n],
        \qquad h[0] = 0

    Trained are the E early taps e, and for each octave b the level :math:`L_b` and the
    reverberation time :math:`T_b`. The noise m, a maximum length sequence, has the same magnitude
    at all frequencies; its octaves :math:`m_b` add up to it. Its signs are the same in every model,
    on every machine. A response with equal :math:`L_b = L` has an energy of L dB, relative to the
    direct sound.

    In a room, reflections become so dense after some ten milliseconds that only their level in
    each band and its decay can be heard. So a few numbers describe a tail of a second, where free
    taps (`TapReverb`) keep the noise of their training. The reverberation times are at most three
    quarters of the response, so that it falls by at least 60 dB until its end.

    Args:
      config: the sizes.
      sample_rate: samples per second. Static.
      rngs: draws the early taps, of a standard deviation of 1e-7. The tail begins with a level of
        -30 dB, and with reverberation times of a fifth of the response.

    Raises:
      TypeError: `sample_rate` is not an int.
      ValueError: `sample_rate` is below 1.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from ddspx.nn import DecayingReverb, DecayingReverbConfig
      >>> config = DecayingReverbConfig(length=8000, early_length=400)
      >>> reverb = DecayingReverb(config, sample_rate=16_000, rngs=nnx.Rngs(0))
      >>> [round(float(t60_s), 3) for t60_s in reverb.t60_s[:2]]
      [0.1, 0.1]
      >>> response = reverb.impulse_response
      >>> round(float(10 * jnp.log10(jnp.sum(response**2))))
      -30

    References:
      Moorer, `About This Reverberation Business <https://doi.org/10.2307/3680280>`_, Computer Music
      Journal 3 (1979): late reverberation as decaying noise. Maximum length sequences: Schroeder,
      `Integrated-impulse method measuring sound decay without using impulses
      <https://doi.org/10.1121/1.383103>`_, JASA 66 (1979).
    """

    def __init__(self, config: DecayingReverbConfig, *, sample_rate: int, rngs: nnx.Rngs):
        self.config = config
        self.sample_rate = size("sample_rate", sample_rate)
        early = 1e-6 * jax.random.normal(rngs.params(), (config.early_length,), jnp.float32)
        self.early = nnx.Param(early)
        self.levels = nnx.Param(jnp.zeros(config.n_bands, jnp.float32))
        self.times = nnx.Param(jnp.zeros(config.n_bands, jnp.float32))

    @property
    def level_db(self) -> Float[Array, " bands"]:
        """The level of each octave of the tail: the energy of the tail if all had this level."""
        return _INITIAL_DB + _DB_PER_UNIT * self.levels[...]

    @property
    def t60_s(self) -> Float[Array, " bands"]:
        """The reverberation time of each octave, in seconds: after it, the level is 60 dB lower."""
        # On a logarithmic scale from the shortest to the longest time.
        low, high = math.log(_SHORTEST_SHARE), math.log(_LONGEST_SHARE)
        initial = (math.log(_INITIAL_SHARE) - low) / (high - low)
        offset = math.log(initial / (1 - initial))
        place = jax.nn.sigmoid(offset + _TIME_PER_UNIT * self.times[...])
        return self.config.length / self.sample_rate * jnp.exp(low + (high - low) * place)

    @property
    def impulse_response(self) -> Float[Array, " taps"]:
        """The response without the direct sound; its first tap is zero."""
        length, early = self.config.length, self.config.early_length
        per_sample = 3 * math.log(10) / (self.sample_rate * self.t60_s)
        gain = jnp.sqrt(2 * per_sample) * jnp.exp(self.level_db * (math.log(10) / 20))
        time = jnp.arange(length, dtype=gain.dtype)
        octaves = jnp.asarray(_octaves_of_noise(length, self.config.n_bands), gain.dtype)
        tail = jnp.sum(gain[:, None] * jnp.exp(-per_sample[:, None] * time[None]) * octaves, axis=0)
        fade = jnp.cos(math.pi / 2 * time[:early] / early) ** 2
        response = tail.at[:early].add(_TAP_PER_UNIT * self.early[...] * fade)
        return response.at[0].set(0.0)

    def __call__(self, audio: Float[ArrayLike, "*batch samples"]) -> Float[Array, "*batch samples"]:
        """Adds the reverb to dry audio; the output is as long as the input."""
        return _reverberated(audio, self.impulse_response)


@lru_cache(maxsize=4)
def _octaves_of_noise(length: int, n_bands: int) -> np.ndarray:
    """White noise of `length` samples and amplitude 1, divided into octaves: (bands, samples)."""
    order = max(2, length.bit_length())
    # The sequence begins with `order` ones, which are not like noise.
    signs = scipy.signal.max_len_seq(order, length=order + length)[0][order:]
    spectrum = np.fft.rfft(2.0 * signs - 1)
    # Octaves below Nyquist. The crossfades of cos^2 and sin^2 lie around the borders, and are an
    # octave wide, so that the shares of the bands sum to 1 at each frequency.
    frequencies = np.arange(len(spectrum)) / (len(spectrum) - 1 or 1)
    octave = np.log2(np.maximum(frequencies, 2.0 ** -(n_bands + 1)))
    borders = -np.arange(n_bands - 1, 0, -1)[:, None]
    above = np.sin(np.pi / 2 * np.clip(octave - borders + 0.5, 0, 1)) ** 2
    ones = np.ones_like(octave)[None]
    shares = np.concatenate([ones, above]) - np.concatenate([above, 0 * ones])
    return np.fft.irfft(shares * spectrum, n=length).astype(np.float32)


def _reverberated(audio, impulse_response):
    # Taps beyond the length of the audio do not reach the output. They are cut off because
    # `convolution_reverb` warns of a response that is much longer than the audio.
    taps = impulse_response[: max(1, jnp.shape(audio)[-1])]
    return core.convolution_reverb(audio, taps, add_dry=True)
