"""Draws the controls of invented sounds, and of the rooms, noises and lines around a sound.

A clip is a melody of notes, a voice that speaks, or no tone at all. Every drawing is from a NumPy
generator; nothing is synthesized here.
"""

from typing import NamedTuple

import numpy as np

SAMPLE_RATE = 16000
CONTROL_HOP = 128
N_CONTROLS = 401
N_SAMPLES = (N_CONTROLS - 1) * CONTROL_HOP
N_HARMONICS, N_BANDS, N_HUM = 80, 65, 12
CONTROLS_PER_SECOND = SAMPLE_RATE / CONTROL_HOP
LOWEST_HZ, HIGHEST_HZ = 31.5, 4500.0
# At this signal-to-noise ratio or above, a sound has no background noise.
QUIET_DB = 60.0
# A note is on from this share of its amplitude in its attack to this share in its release.
SOUNDING = 0.2
_BANDS_HZ = np.linspace(0, SAMPLE_RATE / 2, N_BANDS)


class Controls(NamedTuple):
    """The controls of a clip and of its surroundings; with a leading axis, those of many clips."""

    f0_hz: np.ndarray  # frames: the pitch
    played_hz: np.ndarray  # frames: the frequency of the first harmonic that is played
    harmonics: np.ndarray  # frames, harmonics: amplitudes
    sounding: np.ndarray  # frames: 1 where the source is on, 0 where it is off
    noise: np.ndarray  # frames, bands: magnitudes of the sound's own noise
    background: np.ndarray  # frames, bands: magnitudes of the noise around it, any level
    recorded: np.ndarray  # samples: a recorded noise in place of `background`, or zeros
    snr_db: np.ndarray  # sound to background; above QUIET_DB there is none
    equalizer: np.ndarray  # bands: of the sound
    line: np.ndarray  # bands: of everything, a telephone for example
    reverb_s: np.ndarray  # time to fall by 60 dB
    reverb_db: np.ndarray  # level of the room, against the sound
    bleed_db: np.ndarray  # level of another clip's tone, against the sound
    hum_hz: np.ndarray
    hum: np.ndarray  # amplitudes of the hum's harmonics, against the rms of the sound
    codec_db: np.ndarray  # lines this far below their neighbours are lost; 0 loses none
    offset: np.ndarray  # constant, against the peak
    level_db: np.ndarray  # rms of the whole
    drive: np.ndarray  # 0 is linear
    is_copied: np.ndarray  # 1 if the sound was measured on a recording, whose room is in it


def invent(rng: np.random.Generator, noises: list[np.ndarray]) -> Controls:
    """A random sound in random surroundings; `noises` are recordings without a pitch."""
    kind = rng.random()
    if kind < 0.4:
        f0_hz, played_hz, harmonics, sounding, noise = _voice(rng)
    else:
        f0_hz, amplitude, sounding = _melody(rng, is_fast=kind < 0.6)
        played_hz = f0_hz * _jitter(rng, rng.choice([0, 0, 1e-3, 4e-3]))
        harmonics = amplitude[:, None] * _spectrum(rng, f0_hz)
        noise = _breath(rng, amplitude)
    is_mute = rng.random() < 0.15
    if is_mute:
        harmonics, sounding = np.zeros_like(harmonics), np.zeros_like(sounding)
    if rng.random() < 0.06:
        played_hz, harmonics = _with_subharmonics(rng, played_hz, harmonics)
    controls = surround(rng, f0_hz, played_hz, harmonics, sounding, noise, noises)
    if is_mute and noises and rng.random() < 0.7:  # nothing but a recorded noise
        controls = controls._replace(recorded=_excerpt(rng, noises), snr_db=rng.uniform(-60, 0))
    return controls


def _melody(rng, *, is_fast):
    """Pitch and amplitude of notes: of any register, length, attack, glide, vibrato and decay."""
    log_f0, amplitude, sounding = np.empty(N_CONTROLS), np.zeros(N_CONTROLS), np.zeros(N_CONTROLS)
    centre = rng.uniform(np.log2(36), np.log2(4000))
    spread = rng.uniform(0.05, 0.6)
    position, now = 0, centre
    portamento = rng.uniform(0.005, 0.08) if rng.random() < 0.5 else 0.0
    has_vibrato, plucked = rng.random() < 0.5, rng.random() < 0.25
    shortest = 0.035 if is_fast else 0.06
    longest = np.exp(rng.uniform(np.log(0.1 if is_fast else 0.12), np.log(2.5)))
    rests = rng.choice([0.1, 0.6, 0.95])
    attack_s = rng.uniform(0.003, 0.1)
    release_s = np.exp(rng.uniform(np.log(0.004), np.log(0.15)))
    while position < N_CONTROLS:
        seconds = np.exp(rng.uniform(np.log(shortest), np.log(longest)))
        length = max(4, int(seconds * CONTROLS_PER_SECOND))
        time = np.arange(length) / CONTROLS_PER_SECOND
        goal = np.clip(centre + spread * rng.standard_normal(), np.log2(33), np.log2(4300))
        slope = rng.normal(0, 1.5) if rng.random() < 0.2 else rng.normal(0, 0.03)
        note = goal + slope * (time - seconds / 2)
        if is_fast and rng.random() < 0.6:
            # A swing whose steepest slope is up to 14 octaves a second.
            octaves, rate = np.exp(rng.uniform(np.log(0.1), np.log(1.8))), rng.uniform(0.5, 4)
            octaves = min(octaves, 14 / (2 * np.pi * rate))
            note += octaves * np.sin(2 * np.pi * (rate * time + rng.random()))
        if portamento:
            note += (now - goal) * np.exp(-time / portamento)
        if has_vibrato:
            semitones = rng.uniform(0, 3.2) if is_fast else rng.uniform(0, 0.8)
            depth = semitones / 12 * np.clip((time - rng.uniform(0, 0.3)) / 0.2, 0, 1)
            note += depth * np.sin(2 * np.pi * (rng.uniform(3.5, 8.5) * time + rng.random()))
        note += np.cumsum(rng.standard_normal(length)) * rng.choice([0, 3e-4, 2e-3])
        envelope = np.clip(time / min(attack_s, seconds / 3), 0, 1)
        envelope *= np.clip((seconds - time) / min(release_s, seconds / 2), 0, 1)
        is_on = envelope > SOUNDING
        if plucked or rng.random() < 0.1:
            envelope *= 10 ** (-rng.uniform(5, 40) * time / 20)
        envelope *= 10 ** (rng.uniform(-18, 0) / 20)
        end = min(N_CONTROLS, position + length)
        log_f0[position:end], amplitude[position:end], sounding[position:end] = (
            x[: end - position] for x in (note, envelope, is_on)
        )
        position, now = end, note[-1]
        if rng.random() < rests:
            seconds = np.exp(rng.uniform(np.log(0.03), np.log(1.2)))
            rest = min(N_CONTROLS, position + int(seconds * CONTROLS_PER_SECOND))
            log_f0[position:rest] = now
            position = rest
    return _folded(log_f0), amplitude, sounding


def _folded(log_f0):
    """Pitches in Hz, reflected at both ends of the range so that none stays at an end."""
    low, high = np.log2(LOWEST_HZ), np.log2(HIGHEST_HZ)
    beyond = (log_f0 - low) % (2 * (high - low))
    return 2 ** (low + np.minimum(beyond, 2 * (high - low) - beyond))


def _jitter(rng, share):
    return 2 ** (share * 1.4 * rng.standard_normal(N_CONTROLS))


def _voice(rng):
    """Speech: syllables between consonants, breath and rests, some of them creaky at their end."""
    log_f0, amplitude, sounding = (np.zeros(N_CONTROLS) for _ in range(3))
    muffling_db = np.zeros(N_CONTROLS)  # for each octave above 250 Hz
    jitter = np.full(N_CONTROLS, rng.uniform(0, 0.01))
    noise = np.zeros((N_CONTROLS, N_BANDS))
    base = rng.uniform(np.log2(75), np.log2(330))
    position, now = int(rng.uniform(0, 30)), base
    loud = 10 ** (rng.uniform(-12, 0, 60) / 20)
    hisses = [_band_shape(rng, is_hiss=True) for _ in range(3)]
    for syllable in range(60):
        if position >= N_CONTROLS - 6:
            break
        if rng.random() < 0.65:  # a consonant
            length = int(rng.uniform(2, 22))
            stop = slice(position, min(N_CONTROLS, position + length))
            burst = np.hanning(length + 2)[1:-1] ** rng.uniform(0.2, 1)
            level = 10 ** (rng.uniform(-34, -4) / 20)
            size = stop.stop - stop.start
            noise[stop] += (level * burst[:size, None]) * hisses[rng.integers(3)]
            position = stop.stop - int(rng.integers(0, 3))
        length = int(np.exp(rng.uniform(np.log(5), np.log(60))))
        end = min(N_CONTROLS, position + length)
        time = np.linspace(0, 1, end - position)
        goal = base + rng.normal(0, 0.22)
        curve = now + (goal - now) * time ** rng.uniform(0.4, 2)
        curve += rng.normal(0, 0.12) * np.sin(np.pi * time)
        # Consonants pull the pitch of a vowel's first and last 30 ms, and folds that slacken
        # swing more and more slowly.
        since = np.arange(end - position) / CONTROLS_PER_SECOND
        curve += rng.normal(0, 0.12) * np.exp(-since / rng.uniform(0.008, 0.03))
        curve += rng.normal(-0.1, 0.15) * np.exp(-since[::-1] / rng.uniform(0.008, 0.03))
        is_creaky = rng.random() < 0.15
        if is_creaky:
            depth = rng.uniform(0.3, 1.2)
            curve -= depth * np.clip((time - 0.4) / 0.6, 0, 1)
            jitter[position:end] += rng.uniform(0, 0.05) * np.clip((time - 0.4) / 0.6, 0, 1)
        log_f0[position:end] = curve
        shape = np.clip((time + 0.01) / rng.uniform(0.01, 0.4), 0, 1) ** rng.uniform(0.3, 1)
        shape *= np.clip((1 - time) / rng.uniform(0.01, 0.5), 0, 1) ** rng.uniform(0.3, 1)
        shake = 1 + (rng.uniform(0, 0.4) if is_creaky else 0.05) * rng.standard_normal(len(time))
        amplitude[position:end] = loud[syllable] * shape * np.maximum(shake, 0.25)
        now = curve[-1] if not is_creaky and len(curve) else base + rng.normal(0, 0.15)
        sounding[position:end] = shape > SOUNDING
        position = end
        if rng.random() < 0.4:  # a voiced consonant: softer and muffled, some of them noisy
            end = min(N_CONTROLS, position + int(rng.uniform(3, 14)))
            log_f0[position:end] = now + rng.normal(0, 0.03)
            amplitude[position:end] = loud[syllable] * 10 ** (rng.uniform(-24, -6) / 20)
            muffling_db[position:end] = rng.uniform(6, 24)
            sounding[position:end] = 1
            if rng.random() < 0.4:
                noise[position:end] += 10 ** (rng.uniform(-36, -14) / 20) * hisses[0]
            position = end
        elif rng.random() < 0.45:
            position += int(np.exp(rng.uniform(np.log(3), np.log(80))))
    known = np.flatnonzero(log_f0 > 0)
    log_f0 = np.interp(np.arange(N_CONTROLS), known, log_f0[known])
    f0_hz = _folded(log_f0)
    harmonics = amplitude[:, None] * _spectrum(rng, f0_hz, is_voice=True)
    octaves = np.log2(np.maximum(f0_hz[:, None] * np.arange(1, N_HARMONICS + 1) / 250, 1))
    harmonics *= 10 ** (-muffling_db[:, None] * octaves / 20)
    played_hz = f0_hz * 2 ** (1.4 * jitter * rng.standard_normal(N_CONTROLS))
    return f0_hz, played_hz, harmonics, sounding, noise + _breath(rng, amplitude)


def _with_subharmonics(rng, played_hz, harmonics):
    """Every second period differs: weak lines halfway between the harmonics, now and then."""
    halves = np.zeros_like(harmonics)
    halves[:, 1::2] = harmonics[:, : N_HARMONICS // 2]
    between = np.zeros_like(harmonics)
    between[:, 2::2] = harmonics[:, : N_HARMONICS // 2 - 1]
    between[:, 0] = harmonics[:, 0]
    knots = 10 ** (rng.uniform(-32, -8, 8) / 20)
    share = np.interp(np.arange(N_CONTROLS), np.linspace(0, N_CONTROLS - 1, 8), knots)
    return played_hz / 2, halves + share[:, None] * between


def _breath(rng, amplitude):
    """The noise of the sound itself, steady or with its notes, and bursts of keys and bows."""
    level = 10 ** (rng.uniform(-70, -12) / 20)
    floor = amplitude if rng.random() < 0.6 else np.full(N_CONTROLS, amplitude.max())
    noise = level * floor[:, None] * _band_shape(rng)
    for _ in range(rng.integers(0, 5)):
        start, length = rng.integers(0, N_CONTROLS - 45), int(rng.uniform(2, 40))
        burst = 10 ** (rng.uniform(-40, -5) / 20) * amplitude.max() * np.hanning(length + 2)[1:-1]
        shape = _band_shape(rng, is_hiss=rng.random() < 0.5)
        noise[start : start + length] += burst[:, None] * shape
    return noise


def _spectrum(rng, f0_hz, *, is_voice=False):
    """Amplitudes of the harmonics, of unit energy: formants, tilt, gaps, missing fundamentals."""
    number = np.arange(1, N_HARMONICS + 1)
    n_knots = 14 if is_voice else 6
    knots = np.linspace(0, N_CONTROLS - 1, n_knots)
    morph = np.interp(np.arange(N_CONTROLS), knots, rng.uniform(0, 1, n_knots))[:, None]
    octaves = np.log2(f0_hz[:, None] * number / 500)
    level_db = 0
    for weight in (morph, 1 - morph):
        shape_db = -(rng.uniform(3, 14) if is_voice else rng.uniform(0, 14)) * octaves
        for _ in range(rng.integers(3, 6) if is_voice else rng.integers(0, 5)):
            hz, width = np.exp(rng.uniform(np.log(150), np.log(6000))), rng.uniform(0.1, 0.8)
            bump = np.exp(-((np.log2(f0_hz[:, None] * number / hz) / width) ** 2))
            shape_db = shape_db + rng.uniform(-15, 30) * bump
        shape_db = shape_db + rng.uniform(0, 2 if is_voice else 8) * rng.standard_normal(
            N_HARMONICS
        )
        level_db = level_db + weight * shape_db
    if not is_voice:
        if rng.random() < 0.2:
            level_db[:, 1::2] -= rng.uniform(5, 45)
        if rng.random() < 0.2:
            level_db[:, : rng.integers(1, 5)] -= rng.uniform(8, 60)
        if rng.random() < 0.15:
            level_db[:, rng.integers(1, 3) :] -= rng.uniform(20, 70)
    level_db = np.where(f0_hz[:, None] * number < 0.49 * SAMPLE_RATE, level_db, -200)
    amplitude = 10 ** ((level_db - level_db.max(axis=1, keepdims=True)) / 20)
    return amplitude / np.sqrt((amplitude**2).sum(1, keepdims=True) + 1e-12)


def _band_shape(rng, *, is_hiss=False):
    """Magnitudes of a coloured noise, about 1."""
    hz = _BANDS_HZ + 60
    shape_db = rng.uniform(-2, 6) * np.log2(hz / 1000) if is_hiss else 0
    shape_db = shape_db + (0 if is_hiss else rng.uniform(-9, 3) * np.log2(hz / 1000))
    for _ in range(rng.integers(0, 4)):
        centre = np.exp(rng.uniform(np.log(1500 if is_hiss else 100), np.log(7000)))
        width = rng.uniform(0.2, 1) if rng.random() < 0.7 else rng.uniform(0.03, 0.2)
        shape_db += rng.uniform(-10, 25) * np.exp(-((np.log2(hz / centre) / width) ** 2))
    magnitude = 10 ** (shape_db / 20)
    return magnitude / np.sqrt(np.mean(magnitude**2))


def surround(
    rng: np.random.Generator,
    f0_hz: np.ndarray,
    played_hz: np.ndarray,
    harmonics: np.ndarray,
    sounding: np.ndarray,
    noise: np.ndarray,
    noises: list[np.ndarray],
    *,
    is_copied: bool = False,
) -> Controls:
    """Room, filters, noise, hum, another sound, codec and level around a sound."""
    is_studio = rng.random() < 0.3
    is_wet, is_bleeding, is_humming = (rng.random() < share for share in (0.6, 0.2, 0.2))
    hum = 10 ** (rng.uniform(-55, -18) / 20) * rng.uniform(0, 1, N_HUM) ** 2
    hum = hum * np.arange(1, N_HUM + 1) ** -rng.uniform(0, 1.5) * is_humming
    recorded = np.zeros(N_SAMPLES)
    if noises and rng.random() < 0.35:
        recorded = _excerpt(rng, noises)
    return Controls(
        f0_hz,
        played_hz,
        harmonics,
        sounding,
        noise,
        _background(rng),
        recorded,
        rng.uniform(40, 70) if is_studio else rng.uniform(-4, 45),
        _equalizer(rng),
        _line(rng),
        np.exp(rng.uniform(np.log(0.15), np.log(2.0))),
        rng.uniform(-30, 3) if is_wet else -200.0,
        rng.uniform(-50, -18) if is_bleeding else -200.0,
        rng.choice([50.0, 60.0]) * rng.uniform(0.99, 1.01),
        hum,
        rng.uniform(10, 35) if rng.random() < 0.12 else 0.0,
        rng.uniform(-0.5, 0.5) if rng.random() < 0.1 else 0.0,
        rng.uniform(-62, -8),
        rng.uniform(0.5, 3) if rng.random() < 0.1 else 0.0,
        float(is_copied),
    )


def _excerpt(rng, noises):
    """A part of a recorded noise, repeated with short fades if it is too short."""
    noise = noises[rng.integers(len(noises))]
    parts, length = [], 0
    while length < N_SAMPLES:
        start = rng.integers(0, max(1, len(noise) - SAMPLE_RATE))
        piece = noise[start : start + N_SAMPLES - length]
        ramp = np.minimum(np.arange(len(piece)), np.arange(len(piece))[::-1]) / 160
        parts.append(piece * np.clip(ramp, 0, 1))
        length += len(piece)
    return np.concatenate(parts)


def _background(rng):
    """The magnitudes of a steady coloured, a white, or a changing noise."""
    kind = rng.random()
    if kind < 0.5:
        return np.repeat(_band_shape(rng)[None], N_CONTROLS, axis=0)
    if kind < 0.7:
        return np.ones((N_CONTROLS, N_BANDS))
    knots = np.linspace(0, N_CONTROLS - 1, 9)
    gains = [np.interp(np.arange(N_CONTROLS), knots, rng.uniform(0, 1, 9)) for _ in range(2)]
    return sum(g[:, None] * _band_shape(rng) for g in gains)


def _equalizer(rng):
    """A tilt, a high-pass and a low-pass."""
    hz, level_db = np.maximum(_BANDS_HZ, 1), np.zeros(N_BANDS)
    if rng.random() < 0.5:
        level_db += rng.uniform(-6, 6) * np.log2(np.maximum(hz, 60) / 1000)
    if rng.random() < 0.2:
        level_db -= 24 * np.maximum(0, np.log2(rng.uniform(60, 450) / np.maximum(hz, 20)))
    if rng.random() < 0.2:
        level_db -= 24 * np.maximum(0, np.log2(hz / rng.uniform(1500, 7000)))
    return 10 ** (np.maximum(level_db, -70) / 20)


def _line(rng):
    """The band that a telephone or a codec lets through; most clips have none."""
    kind, hz = rng.random(), np.maximum(_BANDS_HZ, 1)
    if kind < 0.12:
        low, high = rng.uniform(200, 400), rng.uniform(3000, 3800)
    elif kind < 0.2:
        low, high = 1.0, rng.uniform(3400, 7500)
    else:
        return np.ones(N_BANDS)
    outside = np.maximum(np.log2(low / hz), np.log2(hz / high))
    return 10 ** (-np.clip(rng.uniform(40, 120) * outside, 0, 70) / 20)
