"""Sounds whose pitch is known exactly, because they are synthesized from it.

A clip consists of controls: pitch, harmonics and noise, every 8 ms. The controls are invented
(`invent`) or measured on a recording (`measure`, `replay`). `render` synthesizes them with reverb,
a filter and noise. It returns the pitch of every frame of the tracker, whether there is a pitch,
and whether it is audible.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ddspx import core, features

SAMPLE_RATE = 16000
CONTROL_HOP, LABEL_HOP = 128, 256
N_CONTROLS = 401
N_SAMPLES = (N_CONTROLS - 1) * CONTROL_HOP
N_HARMONICS, N_BANDS = 80, 65
CONTROLS_PER_SECOND = SAMPLE_RATE / CONTROL_HOP
LOWEST_HZ, HIGHEST_HZ = 31.5, 2180.0
# At this signal-to-noise ratio or above, a sound has no background noise.
QUIET_DB = 60.0


class Controls(NamedTuple):
    """The controls of a clip and of its surroundings; with a leading axis, those of many clips."""

    f0_hz: np.ndarray  # frames
    harmonics: np.ndarray  # frames, harmonics: amplitudes
    noise: np.ndarray  # frames, bands: magnitudes of the sound's own noise
    background: np.ndarray  # frames, bands: magnitudes of the noise around it, any level
    snr_db: np.ndarray  # sound to background; above QUIET_DB there is none
    equalizer: np.ndarray  # bands
    reverb_s: np.ndarray  # time to fall by 60 dB
    reverb_db: np.ndarray  # level of the room, against the sound
    level_db: np.ndarray  # rms of the whole
    drive: np.ndarray  # 0 is linear


class Labels(NamedTuple):
    """The labels of every frame of the tracker."""

    f0_hz: jax.Array
    is_voiced: jax.Array
    pitch_weight: jax.Array
    voicing_weight: jax.Array


def invent(rng: np.random.Generator) -> Controls:
    """A random melody on a random instrument."""
    f0_hz, amplitude = _melody(rng)
    harmonics = amplitude[:, None] * _spectrum(rng, f0_hz)
    if rng.random() < 0.08:
        harmonics = np.zeros_like(harmonics)
    breath_db = rng.uniform(-70, -12)
    shape = _band_shape(rng)
    floor = amplitude if rng.random() < 0.6 else np.full(N_CONTROLS, amplitude.max())
    noise = 10 ** (breath_db / 20) * floor[:, None] * shape
    for _ in range(rng.integers(0, 4)):  # consonants, keys, bows
        start, length = rng.integers(0, N_CONTROLS - 20), int(rng.uniform(2, 18))
        burst = 10 ** (rng.uniform(-40, -8) / 20) * amplitude.max() * np.hanning(length + 2)[1:-1]
        noise[start : start + length] += burst[:, None] * _band_shape(rng)
    return _surroundings(rng, f0_hz, harmonics, noise)


def _melody(rng):
    """Pitch and amplitude of notes: of any register, length, attack, glide, vibrato and decay."""
    log_f0, amplitude = np.empty(N_CONTROLS), np.zeros(N_CONTROLS)
    centre = rng.uniform(np.log2(36), np.log2(1800))
    spread = rng.uniform(0.05, 0.6)
    position, now = 0, centre
    portamento = rng.uniform(0.005, 0.08) if rng.random() < 0.5 else 0.0
    has_vibrato, plucked = rng.random() < 0.5, rng.random() < 0.3
    longest = np.exp(rng.uniform(np.log(0.12), np.log(2.5)))
    while position < N_CONTROLS:
        seconds = np.exp(rng.uniform(np.log(0.06), np.log(longest)))
        length = max(4, int(seconds * CONTROLS_PER_SECOND))
        time = np.arange(length) / CONTROLS_PER_SECOND
        goal = np.clip(centre + spread * rng.standard_normal(), np.log2(33), np.log2(2100))
        slope = rng.normal(0, 1.5) if rng.random() < 0.2 else rng.normal(0, 0.03)
        note = goal + slope * (time - seconds / 2)
        if portamento:
            note += (now - goal) * np.exp(-time / portamento)
        if has_vibrato:
            depth = rng.uniform(0, 0.8) / 12 * np.clip((time - rng.uniform(0, 0.3)) / 0.2, 0, 1)
            note += depth * np.sin(2 * np.pi * (rng.uniform(3.5, 8) * time + rng.random()))
        note += np.cumsum(rng.standard_normal(length)) * rng.choice([0, 3e-4, 2e-3])
        envelope = np.clip(time / rng.uniform(0.003, 0.1), 0, 1)
        envelope *= np.clip((seconds - time) / rng.uniform(0.005, 0.15), 0, 1)
        if plucked or rng.random() < 0.1:
            envelope *= 10 ** (-rng.uniform(5, 60) * time / 20)
        envelope *= 10 ** (rng.uniform(-22, 0) / 20)
        end = min(N_CONTROLS, position + length)
        log_f0[position:end], amplitude[position:end] = (
            x[: end - position] for x in (note, envelope)
        )
        position, now = end, note[-1]
        if rng.random() < 0.35:
            rest = min(N_CONTROLS, position + int(rng.uniform(0.03, 0.7) * CONTROLS_PER_SECOND))
            log_f0[position:rest] = now
            position = rest
    return np.clip(2**log_f0, LOWEST_HZ, HIGHEST_HZ), amplitude


def _spectrum(rng, f0_hz):
    """Amplitudes of the harmonics, of unit energy: formants, tilt, gaps, missing fundamentals."""
    number = np.arange(1, N_HARMONICS + 1)
    morph = np.interp(
        np.arange(N_CONTROLS), np.linspace(0, N_CONTROLS - 1, 6), rng.uniform(0, 1, 6)
    )[:, None]
    octaves = np.log2(f0_hz[:, None] * number / 500)
    level_db = 0
    for weight in (morph, 1 - morph):
        shape_db = -rng.uniform(0, 14) * octaves
        for _ in range(rng.integers(0, 5)):
            hz, width = np.exp(rng.uniform(np.log(150), np.log(6000))), rng.uniform(0.1, 0.8)
            bump = np.exp(-((np.log2(f0_hz[:, None] * number / hz) / width) ** 2))
            shape_db = shape_db + rng.uniform(-15, 30) * bump
        shape_db = shape_db + rng.uniform(0, 8) * rng.standard_normal(N_HARMONICS)
        level_db = level_db + weight * shape_db
    if rng.random() < 0.2:
        level_db[:, 1::2] -= rng.uniform(5, 45)
    if rng.random() < 0.2:
        level_db[:, : rng.integers(1, 5)] -= rng.uniform(8, 60)
    if rng.random() < 0.1:
        level_db[:, rng.integers(1, 3) :] -= rng.uniform(20, 70)
    amplitude = 10 ** ((level_db - level_db.max(axis=1, keepdims=True)) / 20)
    amplitude = np.where(f0_hz[:, None] * number < 0.49 * SAMPLE_RATE, amplitude, 0)
    return amplitude / np.sqrt((amplitude**2).sum(1, keepdims=True) + 1e-12)


def _band_shape(rng):
    """Magnitudes of a coloured noise, about 1."""
    hz = np.linspace(0, SAMPLE_RATE / 2, N_BANDS) + 60
    shape_db = rng.uniform(-9, 3) * np.log2(hz / 1000)
    for _ in range(rng.integers(0, 4)):
        centre = np.exp(rng.uniform(np.log(100), np.log(7000)))
        width = rng.uniform(0.2, 1) if rng.random() < 0.7 else rng.uniform(0.03, 0.2)
        shape_db += rng.uniform(-10, 25) * np.exp(-((np.log2(hz / centre) / width) ** 2))
    magnitude = 10 ** (shape_db / 20)
    return magnitude / np.sqrt(np.mean(magnitude**2))


def _surroundings(rng, f0_hz, harmonics, noise, *, gentle=False):
    """Room, filter, background noise and level around a sound."""
    hz = np.linspace(1, SAMPLE_RATE / 2, N_BANDS)
    equalizer_db = np.zeros(N_BANDS)
    if rng.random() < 0.5:
        equalizer_db += rng.uniform(-6, 6) * np.log2(np.maximum(hz, 60) / 1000)
    if rng.random() < 0.2:
        equalizer_db -= 24 * np.maximum(0, np.log2(rng.uniform(60, 450) / np.maximum(hz, 20)))
    if rng.random() < 0.2:
        equalizer_db -= 24 * np.maximum(0, np.log2(hz / rng.uniform(1500, 7000)))
    if rng.random() < 0.5:  # a steady noise
        background = np.repeat(_band_shape(rng)[None], N_CONTROLS, axis=0)
    elif rng.random() < 0.5:
        background = np.ones((N_CONTROLS, N_BANDS))
    else:  # one that comes and goes
        knots = np.linspace(0, N_CONTROLS - 1, 9)
        gains = [np.interp(np.arange(N_CONTROLS), knots, rng.uniform(0, 1, 9)) for _ in range(2)]
        background = sum(g[:, None] * _band_shape(rng) for g in gains)
    wet = rng.random() < 0.45
    return Controls(
        f0_hz,
        harmonics,
        noise,
        background,
        rng.uniform(40, 70) if rng.random() < 0.3 else rng.uniform(-4, 45),
        10 ** (np.maximum(equalizer_db, -70) / 20),
        np.exp(rng.uniform(np.log(0.15), np.log(2.0))),
        rng.uniform(-30, -2) if wet else -200.0,
        rng.uniform(-55, -8),
        rng.uniform(0.5, 3) if rng.random() < 0.1 else 0.0,
    )


class Measured(NamedTuple):
    """A recording as controls."""

    f0_hz: np.ndarray
    harmonics: np.ndarray
    noise: np.ndarray


def measure(audio: np.ndarray, *, fmin: float, fmax: float) -> Measured:
    """Pitch, amplitudes of harmonics and the noise between them."""
    f0_hz, confidence = features.track_pitch(
        audio, sample_rate=SAMPLE_RATE, hop_length=CONTROL_HOP, method="yin", fmin=fmin, fmax=fmax
    )
    n_fft, win_length = 8192, 1536
    magnitude = np.abs(
        core.stft(
            jnp.asarray(audio, jnp.float32),
            n_fft=n_fft,
            hop_length=CONTROL_HOP,
            win_length=win_length,
        )
    ) * (4 / win_length)
    number = np.arange(1, N_HARMONICS + 1)
    step = SAMPLE_RATE / n_fft

    def level(multiple):
        position = np.minimum(f0_hz[:, None] * multiple / step, n_fft // 2 - 1)
        row = np.arange(len(f0_hz))[:, None]
        low = position.astype(int)
        return np.maximum(magnitude[row, low], magnitude[row, low + 1])

    peak, floor = level(number), np.minimum(level(number - 0.5), level(number + 0.5))
    is_there = (peak > 2 * floor) & (f0_hz[:, None] * number < 0.48 * SAMPLE_RATE)
    # Lower than the confidence of YIN in steady notes, so that held notes have no gaps.
    voiced = confidence > 0.6
    gate = np.convolve(voiced, np.ones(5) / 5, "same")
    harmonics = peak * is_there * gate[:, None]
    bands = np.linspace(0, SAMPLE_RATE / 2, N_BANDS)
    harmonic_hz = f0_hz[:, None] * (number - 0.5)
    # A sinusoid's line is `win_length / 4` above noise of the same power per sample.
    between = np.stack([np.interp(bands, h, f) for h, f in zip(harmonic_hz, floor, strict=True)])
    everything = magnitude[:, :: (n_fft // 2) // (N_BANDS - 1)]
    noise = np.where(voiced[:, None], between, everything) * np.sqrt(win_length) / 2 * 1.2
    return Measured(f0_hz, harmonics, noise)


def replay(rng: np.random.Generator, recordings: list[Measured]) -> Controls:
    """Excerpts of recordings, one after the other, some of them transposed."""
    parts, length = [], 0
    while length < N_CONTROLS:
        source = recordings[rng.integers(len(recordings))]
        size = min(len(source.f0_hz), N_CONTROLS - length, int(rng.integers(60, N_CONTROLS + 1)))
        start = rng.integers(0, len(source.f0_hz) - size + 1)
        piece = [x[start : start + size].copy() for x in source]
        fade = np.clip(np.minimum(np.arange(size), np.arange(size)[::-1]) / 4, 0, 1)[:, None]
        parts.append([piece[0], piece[1] * fade, piece[2] * fade])
        length += size
    f0_hz, harmonics, noise = (np.concatenate(x) for x in zip(*parts, strict=True))
    shift = rng.uniform(-0.6, 0.6) if rng.random() < 0.6 else 0.0
    f0_hz = np.clip(f0_hz * 2**shift, LOWEST_HZ, HIGHEST_HZ)
    if rng.random() < 0.3:
        noise = noise * 10 ** (-rng.uniform(0, 20) / 20)
    return _surroundings(rng, f0_hz, harmonics, noise)


def stack(clips: list[Controls]) -> Controls:
    """Many clips as one batch of float32 arrays."""
    return jax.tree.map(lambda *x: np.stack([np.asarray(v, np.float32) for v in x]), *clips)


def render(key: jax.Array, controls: Controls) -> tuple[jax.Array, Labels]:
    """Audio (clips, samples) and its labels, one for each frame of the tracker."""
    noise_key, background_key, room_key = jax.random.split(key, 3)
    column = lambda x: x[:, None]  # noqa: E731
    ones = jnp.ones_like(controls.f0_hz)
    tone = core.harmonic_synthesis(
        controls.f0_hz,
        ones,
        controls.harmonics,
        hop_length=CONTROL_HOP,
        sample_rate=SAMPLE_RATE,
        amplitude_upsampling="linear",
    )
    hiss = core.filtered_noise(noise_key, controls.noise, hop_length=CONTROL_HOP)
    around = core.filtered_noise(background_key, controls.background, hop_length=CONTROL_HOP)
    tone, hiss = (core.frequency_filter(x, controls.equalizer) for x in (tone, hiss))
    room = _rooms(room_key, controls.reverb_s)
    sound = tone + hiss
    echo = core.fft_convolve(sound, room, mode="full")[:, :N_SAMPLES]
    echo = echo * column(core.db_to_amplitude(controls.reverb_db))
    is_studio = column(controls.snr_db > QUIET_DB)
    power = jnp.mean((sound + echo) ** 2, axis=-1) + 1e-12
    around = around * column(
        jnp.sqrt(power / jnp.mean(around**2, axis=-1)) * core.db_to_amplitude(-controls.snr_db)
    )
    around = jnp.where(is_studio, 0, around)
    whole = sound + echo + around
    gain = core.db_to_amplitude(controls.level_db) / jnp.sqrt(jnp.mean(whole**2, axis=-1) + 1e-12)
    audio = whole * column(gain)
    drive = column(controls.drive) / jnp.max(jnp.abs(audio), axis=-1, keepdims=True)
    audio = jnp.where(drive > 0, jnp.tanh(drive * audio) / jnp.maximum(drive, 1e-6), audio)
    # The least noise of a microphone. Some clips have none, so their rests are silent.
    audio = audio + jnp.where(is_studio, 0, 1e-5) * jax.random.normal(room_key, audio.shape)
    return audio, _labels(controls.f0_hz[:, ::2], tone, hiss + around, echo, LABEL_HOP)


def perform(key: jax.Array, recording: Measured, *, hop_length: int) -> tuple[jax.Array, Labels]:
    """Synthesizes a measured recording unchanged, with its labels at any hop."""
    f0_hz, harmonics, noise = (jnp.asarray(x, jnp.float32) for x in recording)
    tone = core.harmonic_synthesis(
        f0_hz,
        jnp.ones_like(f0_hz),
        harmonics,
        hop_length=CONTROL_HOP,
        sample_rate=SAMPLE_RATE,
        amplitude_upsampling="linear",
    )
    hiss = core.filtered_noise(key, noise, hop_length=CONTROL_HOP)
    moments = jnp.arange(core.n_frames(len(tone), hop_length=hop_length)) * hop_length
    truth = jnp.interp(moments / CONTROL_HOP, jnp.arange(len(f0_hz)), f0_hz)
    return tone + hiss, _labels(truth, tone, hiss, jnp.zeros_like(tone), hop_length)


def _rooms(key, reverb_s):
    """Exponentially decaying noise of unit energy, silent for the first 4 ms."""
    time = jnp.arange(SAMPLE_RATE, dtype=jnp.float32)[None] / SAMPLE_RATE
    tail = jax.random.normal(key, (len(reverb_s), SAMPLE_RATE))
    tail = tail * jnp.exp(-6.9 * time / reverb_s[:, None]) * (time > 0.004)
    return tail / jnp.sqrt(jnp.sum(tail**2, axis=-1, keepdims=True))


def _labels(f0_hz, tone, noise, echo, hop_length):
    """A frame is voiced if its tone is audible; undecidable frames have no weight."""

    def level_db(audio):
        r = core.rms(audio, hop_length=hop_length, win_length=768)
        return 20 * jnp.log10(r + 1e-9)

    tone_db, noise_db, echo_db = (level_db(x) for x in (tone, noise, echo))
    loudest_db = jnp.max(tone_db, axis=-1, keepdims=True)
    over_noise_db = tone_db - noise_db
    over_room_db = tone_db - echo_db
    is_on = (tone_db > loudest_db - 60) & (tone_db > -150)
    is_voiced = is_on & (over_noise_db > -9)
    # If the reverb of an earlier note is almost as loud as the tone, the pitch is ambiguous.
    is_clear = is_voiced & (over_room_db > -3)
    pitch_weight = jnp.where(is_on & (over_noise_db > -18) & (over_room_db > 0), 1.0, 0.0)
    echo_is_audible = (echo_db > noise_db - 15) & (echo_db > loudest_db - 60)
    is_nothing = ~is_on & ~echo_is_audible | (tone_db < noise_db - 30) & (echo_db < noise_db - 25)
    return Labels(f0_hz, is_voiced, pitch_weight, (is_clear | is_nothing).astype(jnp.float32))
