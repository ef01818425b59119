"""The pitch tracker's network, on whole sounds and on streams."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

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
from ddspx.models.pitch.limits import check_limits, is_heard, is_within
from ddspx.models.pitch.refine import autocorrelation, refine_pitch

# Frames before and after the one in question that the convolutions over time reach.
_BEFORE, _AFTER = 1 + 2 * 2 + 2 * 4 + 2, 1
# Bins on either side of the strongest one that the pitch is averaged over.
_NEIGHBOURS = 2

_he = nnx.initializers.he_normal()


class PitchEstimate(NamedTuple):
    """What the tracker says of each frame.

    Attributes:
      logits: evidence for each bin of pitch: their softmax is its probability, given that there
        is a pitch.
      voicing: log-odds that there is one.
    """

    logits: Float[Array, "*batch frames bins"]
    voicing: Float[Array, "*batch frames"]


class PitchTrack(NamedTuple):
    """What the tracker decides for each frame.

    Attributes:
      f0_hz: pitch in Hz, whether there is one or not.
      confidence: probability that there is one; 0 where `f0_hz` lies outside the limits, or nothing
        of it is heard beside a sound above all bins.
    """

    f0_hz: Float[Array, "*batch frames"]
    confidence: Float[Array, "*batch frames"]


class PitchState(NamedTuple):
    """Where a stream of `PitchTracker.step` stands: the samples that later frames reach back to."""

    audio: Float[Array, "*batch samples"]


class PitchTracker(nnx.Module):
    """Audio in, evidence for pitch and voicing out.

    Seven convolutions over frames and bins of pitch on :func:`pitch_features`, which show a
    harmonic sound in the same way at every pitch, so few weights suffice. Each frame is decided
    from half a second before it, half of that for a constant offset alone, and `look_ahead`
    samples after it.

    Args:
      config: its sizes.
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
        """Samples after a frame's own that it is decided from, 64 ms of them by default."""
        return _AFTER * self.config.hop_length + max(self.config.win_lengths) // 2

    @property
    def delay(self) -> int:
        """Frames by which `step` lags, those whose look-ahead a block's last hop completes."""
        return -(-self.look_ahead // self.config.hop_length) - 1

    def __call__(self, audio: Float[ArrayLike, "*batch samples"]) -> PitchEstimate:
        """Evidence for every frame of a sound, by the frame rule, with silence around it.

        Args:
          audio: linear amplitude at `config.sample_rate`, of any level.

        Returns:
          Estimates of ``1 + samples // config.hop_length`` frames.

        Raises:
          ValueError: `audio` has no axis.

        Properties:
          Differentiable in `audio` and in the weights; the gradient is finite everywhere.
        """
        heard = self.estimate_section(self._whole(audio))
        return PitchEstimate(heard.logits[..., self.delay :, :], heard.voicing[..., self.delay :])

    def track(
        self,
        audio: Float[ArrayLike, "*batch samples"],
        *,
        fmin: float | None = None,
        fmax: float | None = None,
    ) -> PitchTrack:
        """Pitch and confidence of every frame of a sound, by the frame rule.

        Args:
          audio: linear amplitude at `config.sample_rate`, of any level.
          fmin: lowest pitch that counts, in Hz; by default that of the lowest bin.
          fmax: highest, in Hz; by default that of the highest bin.

        Returns:
          A track of ``1 + samples // config.hop_length`` frames. All bins are looked at, whatever
          the limits: a pitch outside them, by more than half a bin, has a confidence of 0 and is
          not taken for another that would lie within.

        Raises:
          ValueError: the range is empty, or no bin is in it.
        """
        track = self.track_section(self._whole(audio), fmin=fmin, fmax=fmax)
        return PitchTrack(*(x[..., self.delay :] for x in track))

    def init(self, *, batch_shape: tuple[int, ...] = ()) -> PitchState:
        """The state of a stream before its first sample."""
        return PitchState(
            jnp.zeros((*batch_shape, self.context * self.config.hop_length), jnp.float32)
        )

    def step(
        self,
        state: PitchState,
        block: Float[ArrayLike, "*batch samples"],
        *,
        fmin: float | None = None,
        fmax: float | None = None,
    ) -> tuple[PitchState, PitchTrack]:
        """The next frames of a stream, `delay` frames late.

        Args:
          state: from `init` or the step before.
          block: the next samples, any number of whole hops.
          fmin: as in `track`.
          fmax: as in `track`.

        Returns:
          The next state, and as many frames as the block has hops. Those of all blocks, less the
          first `delay`, are those of the whole sound; `delay` + 1 hops of silence after the end
          flush what is left.

        Raises:
          ValueError: `block` is no whole number of hops, or as in `track`.
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
        """Pitch and confidence of those frames of a section whose context lies within it.

        Args:
          audio: as in `estimate_section`.
          fmin: as in `track`.
          fmax: as in `track`.

        Returns:
          A track of the frames of `estimate_section`.

        Raises:
          ValueError: `audio` is too short to decide a frame, or as in `track`.
        """
        fmin, fmax = check_limits(fmin, fmax, self.config)
        spectra = self._spectra(audio)
        heard = self._estimate_inside(spectra)
        f0_hz = decode_pitch(heard.logits, self.config)
        first = self.context - self.delay
        frames = slice(first, first + f0_hz.shape[-1])
        correlation, mean_square = autocorrelation(spectra[-1], self.config)
        f0_hz = refine_pitch(f0_hz, correlation[..., frames, :], self.config)
        # Sound fades into silence, however pitched it is.
        presence = mean_square / (mean_square + SILENCE)
        confidence = jax.nn.sigmoid(heard.voicing) * presence[..., frames]
        hears = {name: getattr(self.config, name) for name in ("sample_rate", "fmin", "fmax")}
        counts = is_within(f0_hz, self.config, fmin=fmin, fmax=fmax)
        counts = counts & is_heard(f0_hz, spectra[-1][..., frames, :], **hears)
        return _batched(PitchTrack(f0_hz, jnp.where(counts, confidence, 0)), audio)

    def estimate_section(self, audio: Float[ArrayLike, "*batch samples"]) -> PitchEstimate:
        """Evidence for those frames of a section whose context lies within it.

        Args:
          audio: a section of `context` hops and as many more as there are frames to decide.

        Returns:
          Estimates of the section's frames from ``context - delay`` on, up to the last whose
          `look_ahead` lies within it.

        Raises:
          ValueError: `audio` is too short to decide a frame.
        """
        return _batched(self._estimate_inside(self._spectra(audio)), audio)

    def _spectra(self, audio):
        """Power spectra of a section's frames, its batch axes made one."""
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
        """Evidence without the frames whose window or offset reaches over the section's ends."""
        cut = half_window(self.config)
        first = cut + OFFSET_FRAMES - 1
        inside = [power[:, first : power.shape[1] - cut] for power in spectra]
        return self.estimate(features_of(inside, self.config))

    def estimate(self, features: Float[ArrayLike, "batch frames bins features"]) -> PitchEstimate:
        """Evidence from `pitch_features`; frames that only lend context fall away.

        Args:
          features: of more than 16 frames.

        Returns:
          Estimates of 16 frames less: not of the first 15, nor of the last.

        Raises:
          ValueError: there are no more frames than those.
        """
        features = jnp.asarray(features)
        if features.shape[1] <= _BEFORE + _AFTER:
            raise ValueError(
                f"`features` must have more than {_BEFORE + _AFTER} frames, got "
                f"{features.shape[1]}; add those of the sound around it, or of silence."
            )
        x = self.mix(features)
        x = x[:, 1:-1] + self.near(x)
        x = x[:, 4:] + self.before(x, dilation=2)
        octave = self.config.bins_per_octave
        octaves = [x, _shifted(x, octave), _shifted(x, -octave)]
        x = x + self.octaves(jnp.concatenate(octaves, axis=-1))
        x = x[:, 8:] + self.long_before(x, dilation=4)
        logits = self.pitch(x, activate=False)[..., 0]
        # What is heard at the pitch, wherever that is, and how much it stands out.
        there = jnp.einsum("btp,btpc->btc", jax.nn.softmax(logits, axis=-1), x)
        there = jnp.concatenate([there, jax.nn.logsumexp(logits, axis=-1)[..., None]], axis=-1)
        n = there.shape[1] - 2
        there = jnp.concatenate([there[:, i : n + i] for i in range(3)], axis=-1)
        voicing = self.voicing(jax.nn.relu(self.voicing_hidden(there)))[..., 0]
        return PitchEstimate(logits[:, 2:], voicing)

    def _whole(self, audio):
        """A sound as a section that decides all of its frames, and `delay` before them."""
        at_least_ndim("audio", audio.shape, 1, "(*batch, samples)")
        hop = self.config.hop_length
        after = (audio.shape[-1] // hop + 1 + self.delay) * hop - audio.shape[-1]
        pad = [(0, 0)] * (audio.ndim - 1) + [(self.context * hop, after)]
        return jnp.pad(jnp.asarray(audio), pad)

    @property
    def context(self) -> int:
        """Hops of sound before a block that its first frame is decided from."""
        return _BEFORE + OFFSET_FRAMES - 1 + half_window(self.config) + self.delay


class _Conv(nnx.Module):
    """Convolution over frames (valid) and bins of pitch (same), then ReLU."""

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


def _batched(heard, audio):
    """What is said of a flat batch, with the batch axes of `audio`."""
    return jax.tree.map(lambda x: x.reshape(*audio.shape[:-1], *x.shape[1:]), heard)


def _shifted(x, bins):
    """Features of the bin that many bins higher, zero where there is none."""
    pad = (max(0, -bins), max(0, bins))
    x = jnp.pad(x, ((0, 0), (0, 0), pad, (0, 0)))
    return x[:, :, pad[1] : x.shape[2] - pad[0]]


def decode_pitch(
    logits: Float[ArrayLike, "*batch bins"], config: PitchConfig
) -> Float[Array, "*batch"]:
    r"""Pitch of the strongest bin, averaged with its neighbours.

    .. math:: \log_2 f = \frac{\sum_b e^{l_b} \log_2 f_b}{\sum_b e^{l_b}}, \qquad
        |b - \arg\max l| \le 2

    Args:
      logits: evidence for each bin, of a :class:`PitchEstimate`.
      config: where the bins are.

    Returns:
      Pitch in Hz; piecewise differentiable in `logits`.

    Raises:
      ValueError: `logits` are not of those bins.

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
