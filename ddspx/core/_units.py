"""Conversions between frequency scales, and between linear values and decibels.

All are elementwise, except for `top_db`, a range below the maximum. They take arrays or Python
numbers; integers are converted to JAX's default float. Values and gradients are finite at 0 Hz and
at zero amplitude.
"""

import math

import jax.numpy as jnp

from ddspx._checks import quantities
from ddspx._typing import Array, ArrayLike, Float, Int

Values = Float[ArrayLike, "*shape"] | Int[ArrayLike, "*shape"]

_A4_HZ = 440.0
_A4_MIDI = 69.0
_LEAST_HZ = 1e-3
_MEL_PER_NEPER = 2595.0 / math.log(10.0)
# Glasberg and Moore's bandwidth of the auditory filter at 0 Hz, and its slope in Hz per Hz.
ERB_HZ, ERB_SLOPE = 24.7, 0.108


def hz_to_midi(frequency_hz: Values) -> Float[Array, "*shape"]:
    r"""MIDI note number of a frequency, fractional.

    .. math:: m = 69 + 12 \log_2(f / 440), \qquad m = 0 \text{ for } f < 10^{-3}

    Args:
      frequency_hz: frequency in Hz; values below a thousandth mean "no pitch".

    Returns:
      Note number in semitones, 69 at 440 Hz.

    Properties:
      Differentiable; zero gradient where there is no pitch.

    Example:
      >>> from ddspx import core
      >>> [round(float(core.hz_to_midi(f)), 3) for f in (440.0, 220.0, 0.0)]
      [69.0, 57.0, 0.0]

    References:
      DDSP's rule for :math:`f \le 0`; ``librosa.hz_to_midi`` gives minus infinity there. Between
      0 and 0.001 Hz the formula would give notes below -157 and gradients without a bound.
    """
    (frequency_hz,) = quantities(frequency_hz=frequency_hz)
    voiced = frequency_hz >= _LEAST_HZ
    # The ratio is formed first: log2(f) - log2(440) would lose a semitone's fifth digit.
    midi = _A4_MIDI + 12 * jnp.log2(jnp.where(voiced, frequency_hz, _A4_HZ) / _A4_HZ)
    return jnp.where(voiced, midi, 0)


def midi_to_hz(midi: Values) -> Float[Array, "*shape"]:
    r"""Frequency of a MIDI note number.

    .. math:: f = 440 \cdot 2^{(m - 69) / 12}

    Args:
      midi: note number in semitones, fractional allowed.

    Returns:
      Frequency in Hz; note 0 is 8.18 Hz, not silence.

    Properties:
      Differentiable; the inverse of :func:`hz_to_midi` for positive frequencies.

    Example:
      >>> from ddspx import core
      >>> round(float(core.midi_to_hz(60)), 2)
      261.63
    """
    (midi,) = quantities(midi=midi)
    return _A4_HZ * jnp.exp2((midi - _A4_MIDI) / 12)


def power_to_db(
    power: Values,
    *,
    ref_db: Float[ArrayLike, "..."] | float = 0.0,
    range_db: float = 80.0,
    top_db: float | None = None,
) -> Float[Array, "*shape"]:
    r"""Decibels of a power, with a floor.

    .. math:: L = \max(10 \log_{10} p - L_\mathrm{ref},\ -R)

    Args:
      power: power, linear; zero or less gives the floor.
      ref_db: level that becomes 0 dB; one number, or an array that broadcasts against `power`
        (for example the peak of each example).
      range_db: distance of the floor below that, in dB. Static.
      top_db: distance of a second floor below the highest level of each example, in dB, where an
        example is the last two axes (frames and bands); None, the default, means no such floor.
        Static.

    Returns:
      Level in dB, at least exactly ``-range_db``, unbounded above.

    Raises:
      TypeError: an array is of half precision, bool or complex.
      ValueError: `range_db` or `top_db` is negative.

    Properties:
      Differentiable; zero gradient at and below the floor. Levels that `top_db` raises have the
      gradient of the highest level. Static: `range_db`, `top_db`.

    Example:
      >>> from ddspx import core
      >>> [round(float(core.power_to_db(p)), 3) for p in (1.0, 0.5, 0.0)]
      [0.0, -3.01, -80.0]

    References:
      DDSP's for ``ref_db >= 0``; for a negative one DDSP's floor lies above ``-range_db``.
      ``librosa.power_to_db(p)`` is ``range_db=100, top_db=80``: its `amin` is the power of the
      floor, here ``10 ** ((ref_db - range_db) / 10)``. Before 1.0 librosa took `top_db` below the
      maximum of the whole array, a batch included. ``ref=np.max`` is a `ref_db` of
      ``power_to_db(p.max((-2, -1), keepdims=True))``, except that silence keeps the lowest level.
    """
    (power,) = quantities(power=power)
    return _level_db(power, 10, ref_db, range_db, top_db)


def db_to_power(level_db: Values) -> Float[Array, "*shape"]:
    r"""Power of a level in decibels.

    .. math:: p = 10^{L / 10}

    Args:
      level_db: level in dB, relative to power 1.

    Returns:
      Power, linear.

    Properties:
      Differentiable; the inverse of :func:`power_to_db` above its floor.

    Example:
      >>> from ddspx import core
      >>> round(float(core.db_to_power(20.0)), 3)
      100.0
    """
    (level_db,) = quantities(level_db=level_db)
    return jnp.exp(level_db * (math.log(10.0) / 10))


def amplitude_to_db(
    amplitude: Values,
    *,
    ref_db: Float[ArrayLike, "..."] | float = 0.0,
    range_db: float = 80.0,
    top_db: float | None = None,
) -> Float[Array, "*shape"]:
    r"""Decibels of an amplitude, with a floor.

    .. math:: L = \max(20 \log_{10} |a| - L_\mathrm{ref},\ -R)

    Args:
      amplitude: amplitude, linear; 1 is full scale, the sign is ignored.
      ref_db: as in :func:`power_to_db`.
      range_db: distance of the floor below that, in dB. Static.
      top_db: as in :func:`power_to_db`. Static.

    Returns:
      Level in dB, at least exactly ``-range_db``, unbounded above.

    Raises:
      TypeError: an array is of half precision, bool or complex.
      ValueError: `range_db` or `top_db` is negative.

    Properties:
      Differentiable; zero gradient at and below the floor, zero amplitude included. Static:
      `range_db`, `top_db`.

    Example:
      >>> from ddspx import core
      >>> [round(float(core.amplitude_to_db(a)), 3) for a in (1.0, 0.5, 0.0)]
      [0.0, -6.021, -80.0]

    References:
      ``librosa.amplitude_to_db(a)`` is ``range_db=100, top_db=80``, see :func:`power_to_db`. In
      dB of a magnitude the factor is 20; kapre's ``MagnitudeToDecibel`` takes 10.
    """
    (amplitude,) = quantities(amplitude=amplitude)
    # Not by the square of the amplitude, which leaves the range of float32 at 1e-23 and 1e19.
    return _level_db(jnp.abs(amplitude), 20, ref_db, range_db, top_db)


def db_to_amplitude(level_db: Values) -> Float[Array, "*shape"]:
    r"""Amplitude of a level in decibels.

    .. math:: a = 10^{L / 20}

    Args:
      level_db: level in dB, relative to amplitude 1.

    Returns:
      Amplitude, linear and positive.

    Properties:
      Differentiable; the inverse of :func:`amplitude_to_db` above its floor.

    Example:
      >>> from ddspx import core
      >>> round(float(core.db_to_amplitude(-20.0)), 3)
      0.1
    """
    (level_db,) = quantities(level_db=level_db)
    return jnp.exp(level_db * (math.log(10.0) / 20))


def hz_to_mel(frequency_hz: Values) -> Float[Array, "*shape"]:
    r"""Mel of a frequency, HTK's formula.

    .. math:: m = 2595 \log_{10}(1 + f / 700)

    Args:
      frequency_hz: frequency in Hz, at least 0.

    Returns:
      Pitch in mel; 0 at 0 Hz, 1000 near 1 kHz.

    Properties:
      Differentiable.

    Example:
      >>> from ddspx import core
      >>> round(float(core.hz_to_mel(1000.0)), 2)
      999.99

    References:
      ``librosa.hz_to_mel(f, htk=True)``; librosa's default is Slaney's scale.
    """
    (frequency_hz,) = quantities(frequency_hz=frequency_hz)
    return _MEL_PER_NEPER * jnp.log1p(frequency_hz / 700)


def mel_to_hz(mel: Values) -> Float[Array, "*shape"]:
    r"""Frequency of a mel, HTK's formula.

    .. math:: f = 700 (10^{m / 2595} - 1)

    Args:
      mel: pitch in mel, at least 0.

    Returns:
      Frequency in Hz.

    Properties:
      Differentiable; the inverse of :func:`hz_to_mel`.

    Example:
      >>> from ddspx import core
      >>> round(float(core.mel_to_hz(1000.0)), 2)
      1000.02
    """
    (mel,) = quantities(mel=mel)
    return 700 * jnp.expm1(mel / _MEL_PER_NEPER)


def hz_to_bark(frequency_hz: Values) -> Float[Array, "*shape"]:
    r"""Critical-band rate of a frequency, Traunmüller's formula.

    .. math:: z = \frac{26.81 f}{1960 + f} - 0.53

    Args:
      frequency_hz: frequency in Hz, at least 0.

    Returns:
      Critical-band rate in Bark, from -0.53 at 0 Hz towards 26.28.

    Properties:
      Differentiable, 0 Hz included: the usual :math:`26.81 / (1 + 1960 / f)` divides by zero.

    Example:
      >>> from ddspx import core
      >>> round(float(core.hz_to_bark(1000.0)), 3)
      8.527

    References:
      Traunmüller, Analytical expressions for the tonotopic sensory scale, JASA 88(1), 1990.
    """
    (frequency_hz,) = quantities(frequency_hz=frequency_hz)
    return 26.81 * frequency_hz / (1960 + frequency_hz) - 0.53


def bark_to_hz(bark: Values) -> Float[Array, "*shape"]:
    r"""Frequency of a critical-band rate, Traunmüller's formula.

    .. math:: f = \frac{1960 (z + 0.53)}{26.28 - z}

    Args:
      bark: critical-band rate in Bark, less than 26.28.

    Returns:
      Frequency in Hz.

    Properties:
      Differentiable; the inverse of :func:`hz_to_bark`.

    Example:
      >>> from ddspx import core
      >>> round(float(core.bark_to_hz(8.5)))
      995
    """
    (bark,) = quantities(bark=bark)
    return 1960 * (bark + 0.53) / (26.28 - bark)


def hz_to_erb(frequency_hz: Values) -> Float[Array, "*shape"]:
    r"""Equivalent rectangular bandwidth of the auditory filter at a frequency.

    .. math:: b = 24.7 + 0.108 f

    Args:
      frequency_hz: centre frequency in Hz, at least 0.

    Returns:
      Bandwidth in Hz (not a number of ERBs).

    Properties:
      Differentiable (affine).

    Example:
      >>> from ddspx import core
      >>> round(float(core.hz_to_erb(1000.0)), 1)
      132.7

    References:
      Glasberg and Moore, Derivation of auditory filter shapes from notched-noise data, Hearing
      Research 47, 1990, with the slope 24.7 * 4.37 / 1000 rounded to 0.108.
    """
    (frequency_hz,) = quantities(frequency_hz=frequency_hz)
    return ERB_SLOPE * frequency_hz + ERB_HZ


def unit_to_midi(
    unit: Values, *, midi_min: float = 20.0, midi_max: float = 90.0, clip: bool = False
) -> Float[Array, "*shape"]:
    r"""MIDI note number of a position in a range of notes.

    .. math:: m = m_\mathrm{min} + u\, (m_\mathrm{max} - m_\mathrm{min})

    Args:
      unit: 0 at the lower end, 1 at the upper.
      midi_min: lower end, in semitones. Static.
      midi_max: upper end, in semitones; above `midi_min`. Static.
      clip: positions outside [0, 1] count as its ends. Static.

    Returns:
      Note number in semitones.

    Raises:
      ValueError: `midi_max` is not above `midi_min`.

    Properties:
      Differentiable (affine); zero gradient outside [0, 1] with `clip`.

    Example:
      >>> from ddspx import core
      >>> float(core.unit_to_midi(0.5))
      55.0
    """
    _check_range("midi_min", midi_min, "midi_max", midi_max)
    (unit,) = quantities(unit=unit)
    unit = jnp.clip(unit, 0, 1) if clip else unit
    return midi_min + unit * (midi_max - midi_min)


def midi_to_unit(
    midi: Values, *, midi_min: float = 20.0, midi_max: float = 90.0, clip: bool = False
) -> Float[Array, "*shape"]:
    r"""Position of a MIDI note number in a range of notes.

    .. math:: u = \frac{m - m_\mathrm{min}}{m_\mathrm{max} - m_\mathrm{min}}

    Args:
      midi: note number in semitones.
      midi_min: note at 0, in semitones. Static.
      midi_max: note at 1, in semitones; above `midi_min`. Static.
      clip: notes outside the range get its ends. Static.

    Returns:
      Position, from 0 to 1 within the range.

    Raises:
      ValueError: `midi_max` is not above `midi_min`.

    Properties:
      Differentiable (affine); zero gradient outside the range with `clip`.

    Example:
      >>> from ddspx import core
      >>> float(core.midi_to_unit(55.0))
      0.5
    """
    _check_range("midi_min", midi_min, "midi_max", midi_max)
    (midi,) = quantities(midi=midi)
    unit = (midi - midi_min) / (midi_max - midi_min)
    return jnp.clip(unit, 0, 1) if clip else unit


def unit_to_hz(
    unit: Values, *, fmin: float, fmax: float, clip: bool = False
) -> Float[Array, "*shape"]:
    r"""Frequency of a position in a range, at equal steps of pitch.

    .. math:: f = f_\mathrm{min} (f_\mathrm{max} / f_\mathrm{min})^u

    Args:
      unit: 0 at the lower end, 1 at the upper.
      fmin: lower end, in Hz; above 0, as no pitch is at 0 Hz. Static.
      fmax: upper end, in Hz; above `fmin`. Static.
      clip: positions outside [0, 1] count as its ends. Static.

    Returns:
      Frequency in Hz.

    Raises:
      ValueError: not ``0 < fmin < fmax``.

    Properties:
      Differentiable; zero gradient outside [0, 1] with `clip`.

    Example:
      >>> from ddspx import core
      >>> [round(float(core.unit_to_hz(u, fmin=20.0, fmax=8000.0)), 3) for u in (0, 0.5, 1)]
      [20.0, 400.0, 8000.0]

    References:
      DDSP's goes by MIDI notes and takes a lower end of 0 Hz for note 0, which is 8.18 Hz.
    """
    octaves = _octaves(fmin, fmax)
    (unit,) = quantities(unit=unit)
    unit = jnp.clip(unit, 0, 1) if clip else unit
    return fmin * jnp.exp2(unit * octaves)


def hz_to_unit(
    frequency_hz: Values, *, fmin: float, fmax: float, clip: bool = False
) -> Float[Array, "*shape"]:
    r"""Position of a frequency in a range, at equal steps of pitch.

    .. math:: u = \frac{\log_2(f / f_\mathrm{min})}{\log_2(f_\mathrm{max} / f_\mathrm{min})}

    Args:
      frequency_hz: frequency in Hz; values below a thousandth count as a thousandth.
      fmin: frequency at 0, in Hz; above 0. Static.
      fmax: frequency at 1, in Hz; above `fmin`. Static.
      clip: frequencies outside the range get its ends. Static.

    Returns:
      Position, from 0 to 1 within the range.

    Raises:
      ValueError: not ``0 < fmin < fmax``.

    Properties:
      Differentiable; zero gradient below a thousandth of a Hz, and outside the range with `clip`.

    Example:
      >>> from ddspx import core
      >>> round(float(core.hz_to_unit(400.0, fmin=20.0, fmax=8000.0)), 3)
      0.5
    """
    octaves = _octaves(fmin, fmax)
    (frequency_hz,) = quantities(frequency_hz=frequency_hz)
    unit = jnp.log2(jnp.maximum(frequency_hz, _LEAST_HZ) / fmin) / octaves
    return jnp.clip(unit, 0, 1) if clip else unit


def _level_db(
    size: Array, factor: int, ref_db: ArrayLike, range_db: float, top_db: float | None
) -> Array:
    """Level of a power (`factor` 10) or of an absolute amplitude (`factor` 20)."""
    if not range_db >= 0:
        raise ValueError(f"`range_db` must be at least 0, got {range_db}.")
    if top_db is not None and not top_db >= 0:
        raise ValueError(f"`top_db` must be at least 0, got {top_db}; None is no limit.")
    audible = size > 10 ** ((ref_db - range_db) / factor)
    level = factor * jnp.log10(jnp.where(audible, size, 1.0)) - ref_db
    level = jnp.where(audible, level, -range_db)
    if top_db is None:
        return level
    axes = tuple(range(-min(2, level.ndim), 0))
    return jnp.maximum(level, jnp.max(level, axis=axes, keepdims=True) - top_db)


def _check_range(low_name: str, low: float, high_name: str, high: float) -> None:
    if not low < high:
        raise ValueError(f"`{low_name}` must be below `{high_name}` ({high}), got {low}.")


def _octaves(fmin: float, fmax: float) -> float:
    """Width of a range of frequencies in octaves, or a ValueError if the range is not valid."""
    if not fmin > 0:
        raise ValueError(f"`fmin` must be above 0 Hz, which has no pitch, got {fmin}.")
    _check_range("fmin", fmin, "fmax", fmax)
    return math.log2(fmax / fmin)
