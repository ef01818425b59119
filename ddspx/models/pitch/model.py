"""The pitch tracker, for whole sounds and for streams."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike

from ddspx._checks import at_least_ndim, same_size
from ddspx._typing import Array, ArrayLike, Float
from ddspx.models.pitch.config import PitchConfig
from ddspx.models.pitch.features import (
    N_FEATURES,
    OFFSET_FRAMES,
    SILENCE,
    features_of,
    half_window,
    power_spectra,
)
from ddspx.models.pitch.limits import check_limits, has_harmonic, is_within
from ddspx.models.pitch.refine import autocorrelation, refine_pitch

# Number of frames before and after a frame that the convolutions over time read.
_BEFORE, _AFTER = 1 + 2 * 2 + 2 * 4 + 2, 1
# Number of bins on either side of the strongest one over which the pitch is averaged.
_NEIGHBOURS = 2

_he = nnx.initializers.he_normal()


class PitchEstimate(NamedTuple):
    """The output of the tracker's network for each frame.

    Attributes:
      logits: evidence for each bin of pitch; the softmax is the probability of each bin, given that
        there is a pitch.
      voicing: log-odds that there is a pitch.
    """

    logits: Float[Array, "*batch frames bins"]
    voicing: Float[Array, "*batch frames"]


class PitchTrack(NamedTuple):
    """Pitch and confidence of each frame.

    Attributes:
      f0_hz: pitch in Hz; a number in every frame, even if the frame has no pitch.
      confidence: probability that there is a pitch. It is 0 where `f0_hz` lies outside the limits,
        and where a sound above the tracker's range hides all harmonics of `f0_hz`.
    """

    f0_hz: Float[Array, "*batch frames"]
    confidence: Float[Array, "*batch frames"]


class PitchState(NamedTuple):
    """The state of a stream of `PitchTracker.step`: the past samples that later frames need."""

    audio: Float[Array, "*batch samples"]


class PitchTracker(nnx.Module):
    """A network from audio to evidence for pitch and voicing.

    It applies seven convolutions over frames and bins of pitch to :func:`pitch_features`. In these
    features a harmonic sound has the same shape at every pitch, so a network with few weights is
    enough. The result for a frame depends on half a second of sound before it, half of that only
    for the removal of a constant offset, and on `look_ahead` samples after it.

    Args:
      config: the sizes.
      rngs: draws the initial weights.

    Example:
      >>> import jax.numpy as jnp
      >>> import numpy as np
      >>> from ddspx.models.pitch import load_pitch_tracker
      >>> tracker = load_pitch_tracker()
      >>> time_s = np.arange(16000) / 16000
      >>> tone = sum(np.sin(2 * np.pi * 220 * k * time_s) / k for k in range(1, 9))
      >>> f0_hz, confidence = tracker.track(jnp.asarray(tone, jnp.float32))
      >>> f0_hz.shape, round(float(f0_hz[30])), round(float(confidence[30]), 1)
      ((63,), 220, 1.0)
    """

    def __init__(self, config: PitchConfig, *, rngs: nnx.Rngs):
        self.config = config
        channels = config.channels
        self.mix = _Conv(1, 5, N_FEATURES, channels, rngs=rngs)
        self.near = _Conv(3, 3, channels, channels, rngs=rngs)
        self.before = _Conv(3, 3, channels, channels, rngs=rngs)
        self.octaves = _Conv(1, 1, 3 * channels, channels, rngs=rngs)
        self.long_before = _Conv(3, 3, channels, channels, rngs=rngs)
        self.pitch = _Conv(1, 1, channels, 1, rngs=rngs)
        self.voicing_hidden = nnx.Linear(3 * (channels + 1), channels, rngs=rngs)
        self.voicing = nnx.Linear(channels, 1, rngs=rngs)

    @property
    def look_ahead(self) -> int:
        """Number of samples after a frame that its result depends on, 64 ms by default."""
        return _AFTER * self.config.hop_length + max(self.config.win_lengths) // 2

    @property
    def delay(self) -> int:
        """Number of frames by which `step` lags, because of the look-ahead."""
        return -(-self.look_ahead // self.config.hop_length) - 1

    def __call__(self, audio: Float[ArrayLike, "*batch samples"]) -> PitchEstimate:
        """Evidence for every frame of a sound, on the frame rule, with silence around the sound.

        Args:
          audio: linear amplitude at `config.sample_rate`, of any level.

        Returns:
          Estimates of ``1 + samples // config.hop_length`` frames.

        Raises:
          ValueError: `audio` has no axis.

        Properties:
          Differentiable in `audio` and in the weights; the gradient is finite everywhere.
        """
        estimate = self.estimate_section(self._whole(audio))
        first = self.delay
        return PitchEstimate(estimate.logits[..., first:, :], estimate.voicing[..., first:])

    def track(
        self,
        audio: Float[ArrayLike, "*batch samples"],
        *,
        fmin: float | None = None,
        fmax: float | None = None,
    ) -> PitchTrack:
        """Pitch and confidence of every frame of a sound, on the frame rule.

        Args:
          audio: linear amplitude at `config.sample_rate`, of any level.
          fmin: lower limit of the pitch, in Hz; by default the lowest bin.
          fmax: upper limit, in Hz; by default the highest bin.

        Returns:
          A track of ``1 + samples // config.hop_length`` frames. The limits do not change which
          pitch is found: a pitch that is more than half a bin outside of them gets a confidence of
          0, instead of being replaced by another pitch within them.

        Raises:
          ValueError: the range is empty, or no bin lies in it.
        """
        track = self.track_section(self._whole(audio), fmin=fmin, fmax=fmax)
        return PitchTrack(*(x[..., self.delay :] for x in track))

    def init(
        self, *, batch_shape: tuple[int, ...] = (), dtype: DTypeLike = jnp.float32
    ) -> PitchState:
        """The state of a stream before its first sample, for audio of these axes and this dtype."""
        return PitchState(jnp.zeros((*batch_shape, self.context * self.config.hop_length), dtype))

    def step(
        self,
        state: PitchState,
        block: Float[ArrayLike, "*batch samples"],
        *,
        fmin: float | None = None,
        fmax: float | None = None,
    ) -> tuple[PitchState, PitchTrack]:
        """Tracks the next block of a stream; the frames come `delay` frames late.

        Args:
          state: from `init` or the previous step.
          block: the next samples, any number of whole hops.
          fmin: as in `track`.
          fmax: as in `track`.

        Returns:
          The next state, and as many frames as the block has hops. The frames of all blocks,
          without the first `delay` frames, are those of the whole sound. To get its last frames,
          append `delay` + 1 hops of silence.

        Raises:
          ValueError: `block` is not a whole number of hops, or as for `track`.
        """
        block, hop = jnp.asarray(block), self.config.hop_length
        if block.shape[-1] == 0 or block.shape[-1] % hop:
            raise ValueError(
                f"`block` must be a whole number of hops of {hop} samples, got "
                f"{block.shape[-1]} samples."
            )
        audio = jnp.concatenate([state.audio, block], axis=-1)
        track = self.track_section(audio, fmin=fmin, fmax=fmax)
        return PitchState(audio[..., -self.context * hop :]), track

    def track_section(
        self,
        audio: Float[ArrayLike, "*batch samples"],
        *,
        fmin: float | None = None,
        fmax: float | None = None,
    ) -> PitchTrack:
        """Pitch and confidence of the frames of a section whose whole context lies in it.

        Args:
          audio: as in `estimate_section`.
          fmin: as in `track`.
          fmax: as in `track`.

        Returns:
          A track of the same frames as `estimate_section`.

        Raises:
          ValueError: `audio` is shorter than the context of one frame, or as for `track`.
        """
        fmin, fmax = check_limits(fmin, fmax, self.config)
        spectra = self._spectra(audio)
        estimate = self._estimate_inside(spectra)
        f0_hz = decode_pitch(estimate.logits, self.config)
        first = self.context - self.delay
        frames = slice(first, first + f0_hz.shape[-1])
        correlation, mean_square = autocorrelation(spectra[-1], self.config)
        f0_hz = refine_pitch(f0_hz, correlation[..., frames, :], self.config)
        # The confidence goes to 0 with the level: even a periodic sound becomes silence.
        presence = mean_square / (mean_square + SILENCE)
        confidence = jax.nn.sigmoid(estimate.voicing) * presence[..., frames]
        tracker = {name: getattr(self.config, name) for name in ("sample_rate", "fmin", "fmax")}
        is_valid = is_within(f0_hz, self.config, fmin=fmin, fmax=fmax)
        is_valid = is_valid & has_harmonic(f0_hz, spectra[-1][..., frames, :], **tracker)
        return _batched(PitchTrack(f0_hz, jnp.where(is_valid, confidence, 0)), audio)

    def estimate_section(self, audio: Float[ArrayLike, "*batch samples"]) -> PitchEstimate:
        """Evidence for the frames of a section whose whole context lies in it.

        Args:
          audio: a section of `context` hops plus one hop per frame of the result.

        Returns:
          Estimates of the section's frames, from frame ``context - delay`` to the last one whose
          `look_ahead` lies in the section.

        Raises:
          ValueError: `audio` is shorter than the context of one frame.
        """
        return _batched(self._estimate_inside(self._spectra(audio)), audio)

    def _spectra(self, audio):
        """Power spectra of a section's frames; the batch axes are flattened to one."""
        at_least_ndim("audio", audio.shape, 1, "(*batch, samples)")
        least = (self.context + 1) * self.config.hop_length
        if audio.shape[-1] < least:
            raise ValueError(
                f"`audio` must have at least {least} samples, the context of one frame, got "
                f"{audio.shape[-1]}; `track` takes whole sounds of any length."
            )
        return power_spectra(
            audio.reshape(math.prod(audio.shape[:-1]), audio.shape[-1]), self.config
        )

    def _estimate_inside(self, spectra):
        """Evidence for the frames whose windows and offset lie completely in the section."""
        cut = half_window(self.config)
        first = cut + OFFSET_FRAMES - 1
        inside = [power[:, first : power.shape[1] - cut] for power in spectra]
        return self.estimate(features_of(inside, self.config))

    def estimate(self, features: Float[ArrayLike, "batch frames bins features"]) -> PitchEstimate:
        """Evidence from `pitch_features`, without the frames that serve only as context.

        Args:
          features: features of more than 16 frames.

        Returns:
          Estimates of all frames but the first 15 and the last.

        Raises:
          ValueError: `features` has 16 frames or fewer.
        """
        features = jnp.asarray(features)
        if features.shape[1] <= _BEFORE + _AFTER:
            raise ValueError(
                f"`features` must have more than {_BEFORE + _AFTER} frames, got "
                f"{features.shape[1]}; add the features of the sound around them, or of silence."
            )
        x = self.mix(features)
        x = x[:, 1:-1] + self.near(x)
        x = x[:, 4:] + self.before(x, dilation=2)
        octave = self.config.bins_per_octave
        octaves = [x, _shifted(x, octave), _shifted(x, -octave)]
        x = x + self.octaves(jnp.concatenate(octaves, axis=-1))
        x = x[:, 8:] + self.long_before(x, dilation=4)
        logits = self.pitch(x, activate=False)[..., 0]
        # Voicing is decided from the features at the pitch, averaged over the likely bins, and from
        # the log-sum of the evidence, which says how much the pitch stands out.
        at_pitch = jnp.einsum("btp,btpc->btc", jax.nn.softmax(logits, axis=-1), x)
        evidence = jax.nn.logsumexp(logits, axis=-1)[..., None]
        at_pitch = jnp.concatenate([at_pitch, evidence], axis=-1)
        n = at_pitch.shape[1] - 2
        at_pitch = jnp.concatenate([at_pitch[:, i : n + i] for i in range(3)], axis=-1)
        voicing = self.voicing(jax.nn.relu(self.voicing_hidden(at_pitch)))[..., 0]
        return PitchEstimate(logits[:, 2:], voicing)

    def _whole(self, audio):
        """Pads a sound to a section whose result is `delay` frames and then all of its frames."""
        at_least_ndim("audio", audio.shape, 1, "(*batch, samples)")
        hop = self.config.hop_length
        after = (audio.shape[-1] // hop + 1 + self.delay) * hop - audio.shape[-1]
        pad = [(0, 0)] * (audio.ndim - 1) + [(self.context * hop, after)]
        return jnp.pad(jnp.asarray(audio), pad)

    @property
    def context(self) -> int:
        """Number of hops before a block that the first frame of its result depends on."""
        return _BEFORE + OFFSET_FRAMES - 1 + half_window(self.config) + self.delay


class _Conv(nnx.Module):
    """Convolution over frames (padding "valid") and bins of pitch ("same"), then ReLU."""

    def __init__(self, frames, bins, in_features, features, *, rngs):
        shape = (frames, bins, in_features, features)
        self.kernel = nnx.Param(_he(rngs.params(), shape, jnp.float32))
        self.bias = nnx.Param(jnp.zeros(features, jnp.float32))

    def __call__(self, x, *, dilation=1, activate=True):
        kernel, bias = (weight[...].astype(x.dtype) for weight in (self.kernel, self.bias))
        half = kernel.shape[1] // 2
        y = jax.lax.conv_general_dilated(
            x,
            kernel,
            window_strides=(1, 1),
            padding=((0, 0), (half, half)),
            rhs_dilation=(dilation, 1),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        ) + bias.reshape(1, 1, 1, -1)
        return jax.nn.relu(y) if activate else y


def _batched(results, audio):
    """Gives the results for a flattened batch the batch axes of `audio`."""
    return jax.tree.map(lambda x: x.reshape(*audio.shape[:-1], *x.shape[1:]), results)


def _shifted(x, bins):
    """Shifts features by a number of bins: bin b gets those of bin b + `bins`, or zeros."""
    pad = (max(0, -bins), max(0, bins))
    x = jnp.pad(x, ((0, 0), (0, 0), pad, (0, 0)))
    return x[:, :, pad[1] : x.shape[2] - pad[0]]


def decode_pitch(
    logits: Float[ArrayLike, "*batch bins"], config: PitchConfig
) -> Float[Array, "*batch"]:
    r"""Pitch as the weighted mean of the strongest bin and its neighbours.

    .. math:: \log_2 f = \frac{\sum_b e^{l_b} \log_2 f_b}{\sum_b e^{l_b}}, \qquad
        |b - \arg\max l| \le 2

    Args:
      logits: evidence for each bin, from a :class:`PitchEstimate`.
      config: the config, which says at which pitches the bins are.

    Returns:
      Pitch in Hz; piecewise differentiable in `logits`.

    Raises:
      ValueError: the number of bins in `logits` differs from `config.n_bins`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx.models.pitch import PitchConfig, decode_pitch
      >>> logits = jnp.full(224, -50.0).at[72].set(0.0)
      >>> round(float(decode_pitch(logits, PitchConfig())))
      120
    """
    logits = jnp.asarray(logits)
    same_size("`logits` and `config`", logits.shape[-1], config.n_bins, "bins")
    octaves = np.log2(config.fmin) + np.arange(config.n_bins) / config.bins_per_octave
    best = jnp.argmax(logits, axis=-1, keepdims=True)
    row = (1,) * (logits.ndim - 1) + (-1,)
    distance = jnp.arange(config.n_bins).reshape(row) - best
    near = jnp.where(jnp.abs(distance) <= _NEIGHBOURS, logits, -jnp.inf)
    weights = jax.nn.softmax(near, axis=-1)
    return 2.0 ** jnp.sum(weights * jnp.asarray(octaves, logits.dtype).reshape(row), axis=-1)
