"""Pitch: YIN, a posterior over log-frequency bins, and the path through it by Viterbi."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ddspx._checks import at_least_ndim, floats, positive_int, same_size
from ddspx._typing import Array, Bool, Float, Int
from ddspx.core._framing import frame
from ddspx.core.filters._fir import next_fast_length

_NEIGHBOUR_CENTS = 40
_NEIGHBOUR_COST = 0.02


class PitchPosterior(NamedTuple):
    """What each frame says about pitch, on a grid of log-frequency bins.

    Attributes:
      log_probability: log-probability of each bin and, last, of there being no pitch.
      f0_hz: frequency of the candidate that each bin stands for, finer than the grid; the
        bin's centre where there is none.
      aperiodicity: of that candidate, from 0 (the frame repeats exactly) to 1 (or no candidate).
    """

    log_probability: Float[Array, "*batch frames states"]
    f0_hz: Float[Array, "*batch frames bins"]
    aperiodicity: Float[Array, "*batch frames bins"]


class PitchTransition(NamedTuple):
    """Log-scores of moving among pitch bins and an unvoiced state, which comes last.

    Attributes:
      log_glide: from bin i to bin i + d - width // 2, in column d; the width is odd.
      log_leap: from any bin to any bin, where that is better than the glide.
      log_onset: from the unvoiced state to any bin.
      log_offset: from any bin to the unvoiced state.
      log_rest: from the unvoiced state to itself.
    """

    log_glide: Float[Array, "bins width"]
    log_leap: Float[Array, ""]
    log_onset: Float[Array, ""]
    log_offset: Float[Array, ""]
    log_rest: Float[Array, ""]


def yin(
    audio: Float[Array, "*batch samples"],
    *,
    sample_rate: int,
    hop_length: int,
    fmin: float,
    fmax: float,
    frame_length: int = 2048,
    threshold: float = 0.1,
) -> tuple[Float[Array, "*batch frames"], Float[Array, "*batch frames"]]:
    r"""Fundamental frequency of each frame by YIN, and how periodic the frame is.

    .. math::
      d(k) = \sum_{m=0}^{L-1} (x_m - x_{m+k})^2, \qquad
      d'(k) = d(k) \Big/ \frac{1}{k} \sum_{j=1}^{k} d(j)

    with :math:`x` zero after the frame. The period is the first local minimum of :math:`d'`
    below `threshold`, or the lowest point where there is none, refined by a parabola.

    Args:
      audio: linear amplitude, of any level; each frame is scaled by its own peak.
      sample_rate: samples per second. Static.
      hop_length: samples between frames. Static.
      fmin: lowest frequency looked for, in Hz, above 0. Static.
      fmax: highest frequency looked for, in Hz, at most half of `sample_rate`. Static.
      frame_length: samples in a frame, several periods of `fmin` (2048 is 128 ms at 16 kHz).
        Static.
      threshold: depth at which a minimum is accepted, from 0 to 1.

    Returns:
      Frequency in Hz, finite in every frame, and the confidence ``1 - d'`` at the period, from
      0 (silence, or :math:`d'` falls on beyond the range and has no minimum within) to 1; on
      the frame rule, in the dtype of `audio`. The period is a whole number of samples before it
      is refined, so the frequency can lie above `fmax` by up to one sample of its period.

    Raises:
      TypeError: a size is not a Python int, or `audio` neither float32 nor float64.
      ValueError: the frequency range is empty or exceeds half the sample rate, or a frame does
        not hold one period of `fmin`.

    Properties:
      Which minimum is chosen is not differentiable; the gradient is that of the chosen one,
      finite everywhere. Static: all but `audio` and `threshold`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> tone = jnp.sin(2 * jnp.pi * 220 * jnp.arange(8000) / 16000)
      >>> f0_hz, confidence = core.yin(
      ...     tone, sample_rate=16000, hop_length=4000, fmin=65.0, fmax=2000.0
      ... )
      >>> round(float(f0_hz[1])), round(float(confidence[1]), 1)
      (220, 1.0)

    References:
      de Cheveigné and Kawahara, `YIN, a fundamental frequency estimator for speech and music
      <https://doi.org/10.1121/1.1458024>`_, JASA 111, 2002. The frequency is that of
      ``librosa.yin`` 0.11 and later, which has no confidence. The terms past the end of the
      frame raise :math:`d'` and pull long periods up by some cents; :func:`pitch_posterior`
      compares only what overlaps.
    """
    (audio,) = floats(audio=audio)
    at_least_ndim("audio", audio.shape, 1, "(*batch, samples)")
    min_lag, max_lag = _lag_range(sample_rate, fmin, fmax, frame_length)
    frames = frame(audio, frame_length=frame_length, hop_length=hop_length)
    correlation, head, _ = _lag_sums(frames, max_lag + 2)
    difference = jnp.maximum(2 * (correlation[..., :1] - correlation) - head, 0)
    whole = _cumulative_mean_normalised(difference)
    curve, is_minimum = (x[..., min_lag:-1] for x in (whole, _is_trough(whole)))
    ends = jnp.stack([curve[..., 0] < curve[..., 1], curve[..., -1] < curve[..., -2]], axis=-1)
    is_trough = _is_trough(curve).at[..., (0, -1)].set(ends)
    accepted = is_trough & (curve < threshold)
    first, lowest = jnp.argmax(accepted, axis=-1), jnp.argmin(curve, axis=-1)
    pick = jnp.where(jnp.any(accepted, axis=-1), first, lowest)[..., None]
    shift = _vertex(curve)
    depth = jnp.take_along_axis(_parabola(curve, shift), pick, axis=-1)[..., 0]
    found = jnp.take_along_axis(is_minimum, pick, axis=-1)[..., 0]
    period = min_lag + pick[..., 0] + jnp.take_along_axis(shift, pick, axis=-1)[..., 0]
    return sample_rate / period, jnp.where(found, jnp.clip(1 - depth, 0, 1), 0)


def pitch_posterior(
    audio: Float[Array, "*batch samples"],
    *,
    sample_rate: int,
    hop_length: int,
    fmin: float,
    fmax: float,
    frame_length: int = 2048,
    bins_per_octave: int = 60,
    voicing_threshold: float = 0.45,
    octave_cost: float = 0.2,
    temperature: float = 0.1,
) -> PitchPosterior:
    r"""Probability of every pitch bin, and of no pitch, in each frame.

    .. math::
      d(k) = \frac{1}{L - k} \sum_{m=0}^{L-k-1} (x_m - x_{m+k})^2, \qquad
      p_b \propto \bigl( (1 - d'_b)\, e^{-o \log_2 (f_B / f_b)} \bigr)^{1 / T}

    with :math:`d'` normalised as in :func:`yin`. Each local minimum of :math:`d'` is a
    candidate of the bin it lies in and, for a little less, of those within 40 cents;
    :math:`d'_b` and :math:`f_b` are those of the best candidate of bin b, :math:`d'_b` is at
    most 0.98, and :math:`f_B` is the last bin. No pitch has the probability that the likeliest
    bin would have if its :math:`d'` were `voicing_threshold`.

    A period's multiples are periods too, so the octave cost :math:`o` makes the shortest win.
    In a reverberant room it also keeps the common period of two notes from winning over both.

    Args:
      audio: linear amplitude, of any level; each frame is scaled by its own peak.
      sample_rate: samples per second. Static.
      hop_length: samples between frames. Static.
      fmin: frequency of the first bin, in Hz, above 0. Static.
      fmax: no bin lies above it, in Hz, at most half of `sample_rate`. Static.
      frame_length: samples in a frame, more than one period of `fmin` (2048 is 128 ms at
        16 kHz). Longer frames are surer and blur fast notes. Static.
      bins_per_octave: resolution of the grid; bin b is at ``fmin * 2**(b / bins_per_octave)``.
        Static.
      voicing_threshold: aperiodicity at which pitch and no pitch are equally likely, below 1.
      octave_cost: a candidate an octave below another wins if its periodicity ``1 - d'`` is
        higher by a factor of more than ``exp(octave_cost)``.
      temperature: change of log-periodicity that changes the odds by a factor of e, above 0.

    Returns:
      A :class:`PitchPosterior` on the frame rule, in the dtype of `audio`. A silent frame has no
      candidate.

    Raises:
      TypeError: a size is not a Python int, or `audio` neither float32 nor float64.
      ValueError: the frequency range is empty or exceeds half the sample rate, or a frame does
        not hold one period of `fmin`.

    Properties:
      The set of candidates is not differentiable; the gradient of what they carry is finite
      everywhere. Static: the sizes, the rate and the range.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> tone = jnp.sin(2 * jnp.pi * 110 * jnp.arange(8000) / 16000)
      >>> posterior = core.pitch_posterior(
      ...     tone, sample_rate=16000, hop_length=4000, fmin=55.0, fmax=880.0, bins_per_octave=12
      ... )
      >>> int(jnp.argmax(posterior.log_probability[1])), round(float(posterior.f0_hz[1, 12]))
      (12, 110)

    References:
      Mauch and Dixon, `pYIN <https://doi.org/10.1109/ICASSP.2014.6853678>`_, ICASSP 2014, gives
      candidates the probability of a distribution of thresholds instead, and the centre of
      their bin as frequency. The octave cost is that of Boersma, 1993 (Praat).
    """
    (audio,) = floats(audio=audio)
    at_least_ndim("audio", audio.shape, 1, "(*batch, samples)")
    min_lag, max_lag = _lag_range(sample_rate, fmin, fmax, frame_length)
    bins_per_octave = positive_int("bins_per_octave", bins_per_octave)
    n_bins = 1 + math.floor(bins_per_octave * math.log2(fmax / fmin) + 1e-9)
    frames = frame(audio, frame_length=frame_length, hop_length=hop_length)
    # The difference does not see a constant, but its terms lose their digits to a large one.
    frames = frames - jnp.mean(frames, axis=-1, keepdims=True)
    correlation, head, tail = _lag_sums(frames, max_lag + 2)
    overlap = np.arange(frame_length, frame_length - max_lag - 2, -1, dtype=frames.dtype)
    difference = jnp.maximum(2 * (correlation[..., :1] - correlation) - head - tail, 0)
    difference = difference / np.broadcast_to(overlap, difference.shape)
    curve = _cumulative_mean_normalised(difference)
    # The minimum of d' is off that of d by the slope of its denominator.
    shift = _vertex(difference)
    depth = jnp.clip(_parabola(curve, shift), 0, 1)
    lags = np.broadcast_to(np.arange(max_lag + 2, dtype=frames.dtype), depth.shape)
    f0_hz = sample_rate / jnp.maximum(lags + shift, 1)
    position = bins_per_octave * jnp.log2(f0_hz / fmin)
    bins = jnp.round(position).astype(jnp.int32)
    is_candidate = _is_trough(curve) & (depth < 1) & (lags >= min_lag - 1)
    bins = jnp.where(is_candidate & (bins >= 0) & (bins < n_bins), bins, n_bins)
    octaves = np.arange(n_bins) / bins_per_octave
    centres = jnp.asarray(fmin * 2**octaves, depth.dtype)
    best = jnp.vectorize(_best_of_bins, excluded=(3,), signature="(k),(k),(k)->(b),(b)")
    depth, f0_hz = best(bins, depth, f0_hz, centres)
    handicap = octave_cost * (jnp.log2(f0_hz / fmin) - float(octaves[-1]))
    score = jnp.log(jnp.maximum(1 - depth, 0.02)) + handicap
    reach = round(_NEIGHBOUR_CENTS * bins_per_octave / 1200)
    score, depth, f0_hz, handicap = _best_of_neighbours((score, depth, f0_hz, handicap), reach)
    # The handicap of the likeliest bin falls on both: it decides between pitches only.
    likeliest = jnp.argmax(score, axis=-1, keepdims=True)
    no_pitch = jnp.take_along_axis(handicap, likeliest, axis=-1) + jnp.log1p(-voicing_threshold)
    log_probability = jax.nn.log_softmax(
        jnp.concatenate([score, no_pitch], axis=-1) / temperature, axis=-1
    )
    return PitchPosterior(log_probability, f0_hz, depth)


def pitch_transition(
    n_bins: int,
    *,
    reach: int,
    leap_probability: float = 1e-3,
    switch_probability: float = 1e-2,
) -> PitchTransition:
    r"""Transition scores for :func:`viterbi`: glides near by, leaps anywhere, on and off.

    .. math:: T_{i \to j} = \log \max\Bigl(1 - \frac{|i - j|}{w + 1},\; p_\mathrm{leap}\Bigr)

    Args:
      n_bins: number of pitch bins, without the unvoiced state. Static.
      reach: bins by which the pitch can glide within a frame, :math:`w`. Static.
      leap_probability: odds of moving further, against staying; above 0.
      switch_probability: odds of turning from voiced to unvoiced, or back, against staying;
        above 0.

    Returns:
      Scores in float32, relative to staying; they need not sum to one.

    Raises:
      TypeError: a size is not a Python int.
      ValueError: a size is below 1.

    Properties:
      Static: `n_bins`, `reach`.

    Example:
      >>> from ddspx import core
      >>> transition = core.pitch_transition(5, reach=1)
      >>> [round(v, 2) for v in transition.log_glide[0].tolist()]
      [-0.69, 0.0, -0.69]
    """
    n_bins, reach = positive_int("n_bins", n_bins), positive_int("reach", reach)
    glide = np.log(1 - np.abs(np.arange(-reach, reach + 1)) / (reach + 1))
    scores = np.broadcast_to(glide, (n_bins, glide.size)), np.log(leap_probability)
    switch = np.log(switch_probability)
    return PitchTransition(*(jnp.asarray(x, jnp.float32) for x in (*scores, switch, switch, 0.0)))


def viterbi(
    log_observation: Float[Array, "*batch frames states"],
    transition: PitchTransition,
    *,
    initial: Float[Array, "*batch states"] | None = None,
    n_valid: Int[Array, ""] | int | None = None,
) -> Int[Array, "*batch frames"]:
    r"""Most likely sequence of pitch bins and unvoiced frames.

    .. math:: \arg\max_s \; a_{s_{-1}} + \sum_i \bigl(T_{s_{i-1} \to s_i} + L_{i, s_i}\bigr)

    The transitions are a band and a few constants, so a frame takes ``bins * width`` steps and
    not ``states**2``.

    Args:
      log_observation: log-probability of each state in each frame, the unvoiced state last.
      transition: scores of moving between states, see :func:`pitch_transition`.
      initial: score :math:`a` of each state in the frame before the first, 0 or minus infinity
        where it is known; all 0 by default.
      n_valid: how many frames count, from the first; the rest repeat the last that does. For
        audio that is padded to a fixed length. All by default.

    Returns:
      The state of each frame; equal scores go to the lowest state.

    Raises:
      ValueError: `log_observation` has fewer than two axes, or another number of bins than
        `transition`.

    Properties:
      Not differentiable. A stream is decided block by block with `initial` set to the state
      that ended the block before, and as many frames ahead as it takes for the paths to meet:
      the tracker of `ddspx.features` waits two seconds.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> clear, unsure = [0.0, -9.0, -9.0, -9.0], [-1.0, -1.0, -0.9, -9.0]
      >>> path = core.viterbi(
      ...     jnp.array([clear, unsure, clear]), core.pitch_transition(3, reach=1)
      ... )
      >>> path.tolist()
      [0, 0, 0]

    References:
      Viterbi, `Error bounds for convolutional codes
      <https://doi.org/10.1109/TIT.1967.1054010>`_, 1967.
    """
    log_observation = jnp.asarray(log_observation)
    at_least_ndim("log_observation", log_observation.shape, 2, "(*batch, frames, states)")
    *batch, frames, states = log_observation.shape
    n_bins = transition.log_glide.shape[0]
    same_size("`log_observation` and `transition`", states - 1, n_bins, "pitch bins")
    if initial is None:
        initial = jnp.zeros((*batch, states), log_observation.dtype)
    valid = jnp.arange(frames) < (frames if n_valid is None else n_valid)
    decode = jnp.vectorize(_decode, excluded=(2, 3), signature="(t,s),(s)->(t)")
    return decode(log_observation, initial, valid, transition)


def _lag_range(sample_rate: int, fmin: float, fmax: float, frame_length: int) -> tuple[int, int]:
    """Shortest and longest period in samples; raises unless a frame holds the longest."""
    sample_rate = positive_int("sample_rate", sample_rate)
    frame_length = positive_int("frame_length", frame_length)
    if not 0 < fmin < fmax:
        raise ValueError(f"`fmin` must be above 0 and below `fmax`={fmax}, got {fmin}.")
    if fmax > sample_rate / 2:
        raise ValueError(f"`fmax` must be at most half of `sample_rate`={sample_rate}, got {fmax}.")
    longest = math.ceil(sample_rate / fmin)
    if longest + 2 > frame_length:
        raise ValueError(
            f"`frame_length` must hold a period of `fmin`={fmin} Hz, got {frame_length}; use "
            f"{longest + 2} samples or more, or raise `fmin`."
        )
    return math.floor(sample_rate / fmax), longest


def _lag_sums(
    frames: Float[Array, "*batch length"], n_lags: int
) -> tuple[Float[Array, "*batch lags"], Float[Array, "*batch lags"], Float[Array, "*batch lags"]]:
    """Autocorrelation, and the energies of the first and last k samples, for k < n_lags.

    Frames are scaled to unit peak first: the sums can then neither under- nor overflow, and
    ratios of them do not depend on the level.
    """
    length = frames.shape[-1]
    peak = jnp.max(jnp.abs(frames), axis=-1, keepdims=True)
    frames = frames / jnp.where(peak > 0, peak, 1)
    n_fft = next_fast_length(length + n_lags - 1)
    spectrum = jnp.fft.rfft(frames, n_fft)
    correlation = jnp.fft.irfft(spectrum.real**2 + spectrum.imag**2, n_fft)[..., :n_lags]
    squares = frames**2
    front, back = squares[..., : n_lags - 1], squares[..., : length - n_lags : -1]
    pad = [(0, 0)] * (frames.ndim - 1) + [(1, 0)]
    head, tail = (jnp.pad(jnp.cumsum(x, axis=-1), pad) for x in (front, back))
    return correlation, head, tail


def _cumulative_mean_normalised(
    difference: Float[Array, "*batch lags"],
) -> Float[Array, "*batch lags"]:
    """The difference over its mean up to that lag; 1 at lag 0 and where all is silent."""
    later = difference[..., 1:]
    total = jnp.cumsum(later, axis=-1)
    lags = np.broadcast_to(np.arange(1, total.shape[-1] + 1, dtype=total.dtype), total.shape)
    ratio = jnp.where(total > 0, later * lags / jnp.where(total > 0, total, 1), 1)
    return jnp.concatenate([jnp.ones_like(difference[..., :1]), ratio], axis=-1)


def _is_trough(curve: Float[Array, "*batch lags"]) -> Bool[Array, "*batch lags"]:
    """Whether a point is a local minimum; the ends are not."""
    left, middle, right = curve[..., :-2], curve[..., 1:-1], curve[..., 2:]
    pad = [(0, 0)] * (curve.ndim - 1) + [(1, 1)]
    return jnp.pad((middle < left) & (middle <= right), pad)


def _bend_and_slope(
    curve: Float[Array, "*batch lags"],
) -> tuple[Float[Array, "*batch lags"], Float[Array, "*batch lags"]]:
    """Second and first difference around each point; 0 at the ends."""
    left, middle, right = curve[..., :-2], curve[..., 1:-1], curve[..., 2:]
    pad = [(0, 0)] * (curve.ndim - 1) + [(1, 1)]
    return jnp.pad(left + right - 2 * middle, pad), jnp.pad((right - left) / 2, pad)


def _vertex(curve: Float[Array, "*batch lags"]) -> Float[Array, "*batch lags"]:
    """Where the parabola through a point and its neighbours has its minimum; 0 if too far."""
    bend, slope = _bend_and_slope(curve)
    inside = jnp.abs(slope) < bend
    return jnp.where(inside, -slope / jnp.where(inside, bend, 1), 0)


def _parabola(
    curve: Float[Array, "*batch lags"], shift: Float[Array, "*batch lags"]
) -> Float[Array, "*batch lags"]:
    """Value of the parabola through a point and its neighbours, `shift` from the point."""
    bend, slope = _bend_and_slope(curve)
    return curve + shift * (slope + shift * bend / 2)


def _best_of_bins(
    bins: Int[Array, " lags"],
    depth: Float[Array, " lags"],
    f0_hz: Float[Array, " lags"],
    centres: Float[Array, " bins"],
) -> tuple[Float[Array, " bins"], Float[Array, " bins"]]:
    """Depth and frequency of the deepest candidate of each bin, or 1 and the bin's centre."""
    n_bins = centres.size
    best = jnp.ones(n_bins, depth.dtype).at[bins].min(depth, mode="drop")
    is_best = depth <= best.at[bins].get(mode="fill", fill_value=-1)
    winner = jnp.where(is_best, bins, n_bins)
    found = jnp.zeros(n_bins, f0_hz.dtype).at[winner].max(f0_hz, mode="drop")
    return best, jnp.where(found > 0, found, centres)


def _best_of_neighbours(
    bins: tuple[Float[Array, "*batch bins"], ...], reach: int
) -> tuple[Float[Array, "*batch bins"], ...]:
    """What belongs to the best score, the first of `bins`, within `reach` of each bin.

    A path can then stay in its bin while a candidate wobbles across the edge.
    """
    n_bins = bins[0].shape[-1]
    pad = [(0, 0)] * (bins[0].ndim - 1) + [(reach, reach)]
    padded = [jnp.pad(x, pad, mode="edge") for x in bins]
    best = bins
    for start in range(2 * reach + 1):
        score, *others = (x[..., start : start + n_bins] for x in padded)
        score = score - _NEIGHBOUR_COST * abs(start - reach) / max(reach, 1)
        better = score > best[0]
        pairs = zip((score, *others), best, strict=True)
        best = tuple(jnp.where(better, near, own) for near, own in pairs)
    return best


def _decode(
    log_observation: Float[Array, "frames states"],
    initial: Float[Array, " states"],
    valid: Bool[Array, " frames"],
    transition: PitchTransition,
) -> Int[Array, " frames"]:
    """Viterbi for one sequence: scores forward, then the path backward.

    Only scores are stored. The best predecessor of the one state on the path is cheaper to find
    again, going back, than those of all states are to remember.
    """
    glide, leap, onset, offset, rest = (x.astype(log_observation.dtype) for x in transition)
    n_bins, width = glide.shape
    reach = width // 2

    def forward(score, step):
        observation, is_valid = step
        bins, unvoiced = score[:-1], score[-1]
        top = jnp.max(bins)
        best = jnp.full(n_bins, jnp.maximum(top + leap, unvoiced + onset))
        moved = jnp.pad(bins[:, None] + glide, ((reach, reach), (0, 0)), constant_values=-jnp.inf)
        for d in range(width):
            best = jnp.maximum(best, moved[width - 1 - d : width - 1 - d + n_bins, d])
        silent = jnp.maximum(unvoiced + rest, top + offset)
        after = jnp.append(best, silent) + observation
        # Only differences count; keeping the largest at 0 keeps their digits in long audio.
        return jnp.where(is_valid, after - jnp.max(after), score), score

    def backward(state, step):
        score, is_valid = step
        d = state - np.arange(n_bins) + reach
        near = jnp.take_along_axis(glide, jnp.clip(d, 0, width - 1)[:, None], axis=1)[:, 0]
        near = jnp.where((d >= 0) & (d < width), near, -jnp.inf)
        to_bin = jnp.append(jnp.maximum(near, leap), onset)
        to_unvoiced = jnp.append(jnp.full(n_bins, offset), rest)
        before = jnp.argmax(score + jnp.where(state < n_bins, to_bin, to_unvoiced))
        return jnp.where(is_valid, before.astype(jnp.int32), state), state

    last, scores = lax.scan(
        forward, initial.astype(log_observation.dtype), (log_observation, valid)
    )
    final = jnp.argmax(last).astype(jnp.int32)
    return lax.scan(backward, final, (scores, valid), reverse=True)[1]
