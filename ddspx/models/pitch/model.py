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
    N_SURROUNDINGS,
    SILENCE,
    FrameState,
    analyse,
    features_of,
    fft_length,
    padded,
    silent_frames,
)
from ddspx.models.pitch.limits import check_limits, has_harmonic, is_within
from ddspx.models.pitch.refine import autocorrelation, refine_pitch

# Frames between the three that a convolution reads: of those over frames and bins, and of those
# that decide the voicing. The last of each group reads earlier frames only.
_BIN_DILATIONS, _VOICING_DILATIONS = (1, 2, 4), (1, 3, 9)
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
    """The state of a stream of `PitchTracker.step`.

    Attributes:
      frames: what the analysis of later frames needs of the past.
      power: spectra of the frames whose evidence is not complete yet.
      network: the earlier inputs of the layers that read several frames, layer by layer.
    """

    frames: FrameState
    power: Float[Array, "*batch frames lines"]
    network: tuple[Array, ...]


class PitchTracker(nnx.Module):
    """A network from audio to evidence for pitch and voicing.

    It applies convolutions over frames and bins of pitch to :func:`pitch_features`. In these
    features a harmonic sound has the same shape at every pitch, so a network with few weights is
    enough. What it finds at the most likely bins, the level compared with the last two seconds and
    the shares of six broad bands go through three convolutions over frames, which decide whether
    the source sounds, or only the room, hum or noise.

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
        channels, hidden = config.channels, 2 * config.channels
        self.mix = _Conv(1, 5, N_FEATURES, channels, rngs=rngs)
        self.near = _Conv(3, 3, channels, channels, rngs=rngs)
        self.around = _Conv(3, 3, channels, channels, rngs=rngs)
        self.octaves = _Conv(1, 3, channels, channels, rngs=rngs)
        self.before = _Conv(3, 3, channels, channels, rngs=rngs)
        self.pitch = _Conv(1, 1, channels, 1, rngs=rngs)
        self.voicing_near = nnx.Linear(3 * (channels + 1 + N_SURROUNDINGS), hidden, rngs=rngs)
        self.voicing_around = nnx.Linear(3 * hidden, hidden, rngs=rngs)
        self.voicing_before = nnx.Linear(3 * hidden, hidden, rngs=rngs)
        self.voicing = nnx.Linear(hidden, 1, rngs=rngs)

    @property
    def look_ahead(self) -> int:
        """Number of samples after a frame that its result depends on."""
        return self.config.window_end + self._later_frames * self.config.hop_length

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
        audio, state = self._whole(audio)
        _, _, estimate = self._advance(state, audio.reshape(-1, audio.shape[-1]))
        return PitchEstimate(*self._frames(estimate, audio))

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
        fmin, fmax = check_limits(fmin, fmax, self.config)
        audio, state = self._whole(audio)
        _, track = self._track(state, audio.reshape(-1, audio.shape[-1]), fmin, fmax)
        return PitchTrack(*self._frames(track, audio))

    def init(
        self, *, batch_shape: tuple[int, ...] = (), dtype: DTypeLike = jnp.float32
    ) -> PitchState:
        """The state before the first sample of a stream of audio of these axes and this dtype."""
        frames = silent_frames(self.config, 1, dtype)
        lines = _lines(self.config)
        silence = tuple(jnp.zeros((1, 1, n), dtype) for n in lines)
        # Silence is the loudest so far, and all of its bands are empty.
        surroundings = jnp.full((1, 1, N_SURROUNDINGS), -1, dtype).at[..., 0].set(0)
        network, _ = self._network(None, features_of(silence, self.config), surroundings)
        power = jnp.zeros((1, self._later_frames, lines[-1]), dtype)
        return jax.tree.map(
            lambda x: jnp.broadcast_to(x[0], (*batch_shape, *x.shape[1:])),
            PitchState(frames, power, network),
        )

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
        fmin, fmax = check_limits(fmin, fmax, self.config)
        block, hop = jnp.asarray(block), self.config.hop_length
        at_least_ndim("block", block.shape, 1, "(*batch, samples)")
        if block.shape[-1] == 0 or block.shape[-1] % hop:
            raise ValueError(
                f"`block` must be a whole number of hops of {hop} samples, got "
                f"{block.shape[-1]} samples."
            )
        batch = block.shape[:-1]
        # Of an array of size 0, the size of an axis cannot be inferred.
        count = math.prod(batch)
        flat = jax.tree.map(lambda x: x.reshape(count, *x.shape[len(batch) :]), state)
        flat, track = self._track(flat, block.reshape(count, block.shape[-1]), fmin, fmax)
        state, track = jax.tree.map(lambda x: x.reshape(*batch, *x.shape[1:]), (flat, track))
        return state, track

    def _track(self, state, block, fmin, fmax):
        """The next state, and pitch and confidence of the frames that a block completes."""
        state, power, estimate = self._advance(state, block)
        correlation, mean_square = autocorrelation(power, self.config)
        f0_hz = decode_pitch(estimate.logits, self.config)
        f0_hz = refine_pitch(f0_hz, correlation, self.config)
        # The confidence goes to 0 with the level: even a periodic sound becomes silence.
        confidence = jax.nn.sigmoid(estimate.voicing) * mean_square / (mean_square + SILENCE)
        tracker = {name: getattr(self.config, name) for name in ("sample_rate", "fmin", "fmax")}
        is_valid = is_within(f0_hz, self.config, fmin=fmin, fmax=fmax)
        is_valid = is_valid & has_harmonic(f0_hz, power, **tracker)
        return state, PitchTrack(f0_hz, jnp.where(is_valid, confidence, 0))

    def _advance(self, state, block):
        """The next state, and spectra and evidence of the frames that a block completes."""
        frames, analysis = analyse(state.frames, block, self.config)
        features = features_of(analysis.power, self.config)
        network, estimate = self._network(state.network, features, analysis.surroundings)
        power = jnp.concatenate([state.power, analysis.power[-1]], axis=1)
        count = features.shape[1]
        return PitchState(frames, power[:, count:], network), power[:, :count], estimate

    def _network(self, past, features, surroundings):
        """Evidence from features, and the inputs that the next frames need.

        Without inputs from the `past`, the frames before were like the first of these.
        """
        count, kept, given = features.shape[1], [], iter(past or ())

        def extended(x, frames):
            before = jnp.repeat(x[:, :1], frames, axis=1) if past is None else next(given)
            joined = jnp.concatenate([before, x], axis=1)
            kept.append(joined[:, joined.shape[1] - frames :])
            return joined

        later_bins, later_voicing = self._later
        x = self.mix(features)
        for layer, dilation, later in zip(
            (self.near, self.around, self.before), _BIN_DILATIONS, later_bins, strict=True
        ):
            if layer is self.before:
                # Each bin with those an octave below and above.
                x = x + self.octaves(x, dilation=(1, self.config.bins_per_octave))
            joined = extended(x, 2 * dilation)
            first = 2 * dilation - later
            x = joined[:, first : first + count] + layer(joined, dilation=(dilation, 1))
        logits = self.pitch(x, activate=False)[..., 0]
        # Voicing is decided from the features at the pitch, averaged over the likely bins, and from
        # the log-sum of the evidence, which says how much the pitch stands out.
        at_pitch = jnp.einsum("btp,btpc->btc", jax.nn.softmax(logits, axis=-1), x)
        evidence = jax.nn.logsumexp(logits, axis=-1)[..., None]
        around = extended(surroundings, sum(later_bins))[:, :count]
        x = jnp.concatenate([at_pitch, evidence, around], axis=-1)
        for layer, dilation in zip(
            (self.voicing_near, self.voicing_around, self.voicing_before),
            _VOICING_DILATIONS,
            strict=True,
        ):
            joined = extended(x, 2 * dilation)
            taps = [joined[:, i * dilation : i * dilation + count] for i in range(3)]
            x = jax.nn.relu(layer(jnp.concatenate(taps, axis=-1)))
        logits = extended(logits, sum(later_voicing))[:, :count]
        return tuple(kept), PitchEstimate(logits, self.voicing(x)[..., 0])

    @property
    def _later(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """For each of the convolutions, by how many frames it looks ahead."""
        if self.config.is_live:
            return (0, 0, 0), (0, 0, 0)
        return (*_BIN_DILATIONS[:-1], 0), (*_VOICING_DILATIONS[:-1], 0)

    @property
    def _later_frames(self) -> int:
        """By how many frames all convolutions together look ahead."""
        return sum(map(sum, self._later))

    def _whole(self, audio):
        """A sound with the silence that completes its last frames, and the state before it."""
        at_least_ndim("audio", np.shape(audio), 1, "(*batch, samples)")
        audio = jnp.asarray(audio)
        state = self.init(batch_shape=(math.prod(audio.shape[:-1]),), dtype=audio.dtype)
        return padded(audio, self.delay, self.config), state

    def _frames(self, results, audio):
        """The frames of a whole sound, with its axes, without those before its first."""
        inside = (x[:, self.delay :] for x in results)
        return (x.reshape(*audio.shape[:-1], *x.shape[1:]) for x in inside)


def _lines(config):
    """The number of lines of the spectra of both windows."""
    return tuple(fft_length(win_length) // 2 + 1 for win_length in config.win_lengths)


class _Conv(nnx.Module):
    """Convolution over frames (padding "valid") and bins of pitch ("same"), then ReLU."""

    def __init__(self, frames, bins, in_features, features, *, rngs):
        shape = (frames, bins, in_features, features)
        self.kernel = nnx.Param(_he(rngs.params(), shape, jnp.float32))
        self.bias = nnx.Param(jnp.zeros(features, jnp.float32))

    def __call__(self, x, *, dilation=(1, 1), activate=True):
        kernel, bias = (weight[...].astype(x.dtype) for weight in (self.kernel, self.bias))
        half = kernel.shape[1] // 2 * dilation[1]
        y = jax.lax.conv_general_dilated(
            x,
            kernel,
            window_strides=(1, 1),
            padding=((0, 0), (half, half)),
            rhs_dilation=dilation,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        ) + bias.reshape(1, 1, 1, -1)
        return jax.nn.relu(y) if activate else y


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
      >>> logits = jnp.full(176, -50.0).at[48].set(0.0)
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
