"""Sounds whose pitch is known exactly, because they are synthesized from it.

A clip consists of controls: pitch, harmonics and noise, every 8 ms. The controls are invented
(inventions.py) or measured on a recording (`measure`, `replay`). `render` synthesizes them with
their room, noise, hum and line. It returns the pitch of every frame of the tracker, whether there
is one, and whether that is certain.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.ndimage
from inventions import (
    CONTROL_HOP,
    CONTROLS_PER_SECOND,
    HIGHEST_HZ,
    LOWEST_HZ,
    N_BANDS,
    N_CONTROLS,
    N_HARMONICS,
    N_SAMPLES,
    QUIET_DB,
    SAMPLE_RATE,
    SOUNDING,
    Controls,
    surround,
)

from ddspx import core, features

# The window in which the levels of the labels are measured.
LEVEL_WINDOW = 320


class Labels(NamedTuple):
    """The labels of every frame of the tracker."""

    f0_hz: jax.Array
    is_voiced: jax.Array
    pitch_weight: jax.Array
    voicing_weight: jax.Array


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


def replay(
    rng: np.random.Generator, recordings: list[Measured], noises: list[np.ndarray]
) -> Controls:
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
    # On is what is near the loudest of the 120 ms around.
    amplitude = np.sqrt((harmonics**2).sum(axis=1))
    loudest = scipy.ndimage.maximum_filter1d(amplitude, int(0.24 * CONTROLS_PER_SECOND))
    sounding = (amplitude > SOUNDING * loudest) & (amplitude > 0)
    return surround(rng, f0_hz, f0_hz, harmonics, sounding, noise, noises, is_copied=True)


def stack(clips: list[Controls]) -> Controls:
    """Many clips as one batch of float32 arrays."""
    return jax.tree.map(lambda *x: np.stack([np.asarray(v, np.float32) for v in x]), *clips)


def render(key: jax.Array, controls: Controls, *, hop_length: int) -> tuple[jax.Array, Labels]:
    """Audio (clips, samples) and its labels, one for each frame of the tracker."""
    noise_key, background_key, room_key, floor_key = jax.random.split(key, 4)
    tone = _tone(controls.played_hz, controls.harmonics)
    hiss = core.filtered_noise(noise_key, controls.noise, hop_length=CONTROL_HOP)
    tone, hiss = (core.frequency_filter(x, controls.equalizer) for x in (tone, hiss))
    sound = tone + hiss
    room = _rooms(room_key, controls.reverb_s)
    echo = core.fft_convolve(sound, room, mode="full")[:, :N_SAMPLES]
    echo = echo * _column(core.db_to_amplitude(controls.reverb_db))
    is_studio = _column(controls.snr_db > QUIET_DB)
    power = jnp.mean((sound + echo) ** 2, axis=-1, keepdims=True) + 1e-12
    # The tone of the clip before, and its room's.
    other = jnp.roll(tone + 0.5 * echo, 1, axis=0)
    other = _scaled(other, power, _column(controls.bleed_db))
    other = other + jnp.sqrt(power) * _hum(controls)
    noise = core.filtered_noise(background_key, controls.background, hop_length=CONTROL_HOP)
    is_recorded = jnp.any(controls.recorded != 0, axis=-1, keepdims=True)
    noise = _scaled(
        jnp.where(is_recorded, controls.recorded, noise), power, -_column(controls.snr_db)
    )
    noise = jnp.where(is_studio, 0, noise)
    labels = _labels(controls, tone, hiss + noise, echo, other, hop_length)
    audio = core.frequency_filter(sound + echo + other + noise, controls.line)
    audio = jnp.where(_column(controls.codec_db) > 0, _coded(audio, controls.codec_db), audio)
    peak = jnp.max(jnp.abs(audio), axis=-1, keepdims=True) + 1e-9
    drive = _column(controls.drive)
    driven = jnp.tanh(drive * audio / peak) * peak / jnp.maximum(drive, 1e-6)
    audio = jnp.where(drive > 0, driven, audio) + _column(controls.offset) * peak
    power = jnp.mean(audio**2, axis=-1, keepdims=True) + 1e-12
    audio = audio * _column(core.db_to_amplitude(controls.level_db)) / jnp.sqrt(power)
    # The least noise of a microphone. Some clips have none, so their rests are silent.
    floor = jnp.where(is_studio, 0, 1e-5) * jax.random.normal(floor_key, audio.shape)
    return audio + floor, labels


def perform(key: jax.Array, recording: Measured, *, hop_length: int) -> tuple[jax.Array, Labels]:
    """Synthesizes a measured recording unchanged, with its labels at any hop."""
    f0_hz, harmonics, noise = (jnp.asarray(x, jnp.float32) for x in recording)
    tone = _tone(f0_hz, harmonics)
    hiss = core.filtered_noise(key, noise, hop_length=CONTROL_HOP)
    n_frames = core.n_frames(len(tone), hop_length=hop_length)
    truth = 2 ** _at_frames(jnp.log2(f0_hz), n_frames, hop_length)
    tone_db, noise_db = (_level_db(x, hop_length, 768) for x in (tone, hiss))
    is_on = (tone_db > jnp.max(tone_db) - 60) & (tone_db > -150)
    is_voiced = is_on & (tone_db - noise_db > -9)
    scores_pitch = is_on & (tone_db - noise_db > -18)
    scores_voicing = is_voiced | ~is_on | (tone_db - noise_db < -30)
    return tone + hiss, Labels(truth, is_voiced, scores_pitch * 1.0, scores_voicing * 1.0)


def _tone(f0_hz, harmonics):
    return core.harmonic_synthesis(
        f0_hz,
        jnp.ones_like(f0_hz),
        harmonics,
        hop_length=CONTROL_HOP,
        sample_rate=SAMPLE_RATE,
        amplitude_upsampling="linear",
    )


def _column(x):
    return x[:, None]


def _scaled(audio, power, level_db):
    """Audio whose rms is `level_db` over the root of `power`."""
    own = jnp.mean(audio**2, axis=-1, keepdims=True) + 1e-20
    return audio * jnp.sqrt(power / own) * core.db_to_amplitude(level_db)


def _hum(controls):
    """Sines at multiples of the frequency of the mains."""
    time_s = jnp.arange(N_SAMPLES, dtype=jnp.float32) / SAMPLE_RATE
    total = 0
    for k in range(controls.hum.shape[-1]):
        cycles = (k + 1) * _column(controls.hum_hz) * time_s[None]
        total = total + _column(controls.hum[:, k]) * jnp.sin(2 * jnp.pi * (cycles % 1))
    return total


def _coded(audio, codec_db):
    """Audio without the spectral lines that a codec would not spend bits on."""
    sizes = {"n_fft": 512, "hop_length": 256}
    spectrum = core.stft(audio, **sizes)
    power = spectrum.real**2 + spectrum.imag**2
    around = jax.lax.reduce_window(power, 0.0, jax.lax.max, (1, 1, 15), (1, 1, 1), "SAME")
    keep = power > around * core.db_to_power(-codec_db)[:, None, None]
    return core.istft(spectrum * keep, n_samples=audio.shape[-1], **sizes)


def _rooms(key, reverb_s):
    """Exponentially decaying noise of unit energy, silent for the first 4 ms."""
    time = jnp.arange(SAMPLE_RATE, dtype=jnp.float32)[None] / SAMPLE_RATE
    tail = jax.random.normal(key, (len(reverb_s), SAMPLE_RATE))
    tail = tail * jnp.exp(-6.9 * time / reverb_s[:, None]) * (time > 0.004)
    return tail / jnp.sqrt(jnp.sum(tail**2, axis=-1, keepdims=True))


def _labels(controls, tone, noise, echo, other, hop_length):
    """What is certain of each frame.

    A frame is voiced if the source itself sounds a pitch throughout the 10 ms around it. What rings
    on in the room after the source has stopped, hums, or comes from another source is not, however
    loud it is.
    """
    levels = (_level_db(x, hop_length, LEVEL_WINDOW) for x in (tone, noise, echo, other))
    tone_db, noise_db, echo_db, other_db = levels
    second = SAMPLE_RATE / hop_length
    recent_db = _loudest(tone_db, round(2 * second), round(0.1 * second))
    is_sounding = tone_db > -150
    around = (-0.005 * SAMPLE_RATE, 0.005 * SAMPLE_RATE)
    is_source_on = jnp.logical_and(
        *(_at_frames(controls.sounding, tone_db.shape[-1], hop_length, by) > 0.5 for by in around)
    )
    is_on = is_sounding & is_source_on & (tone_db > recent_db - 42)
    over_noise_db, over_room_db = tone_db - noise_db, tone_db - echo_db
    is_voiced = is_on & (over_noise_db > -9)
    # A tone that fades very slowly is no clear case, nor what is measured on a room that rings.
    limit_db = jnp.where(_column(controls.is_copied) > 0, 18, 34)
    is_fading = (tone_db < recent_db - limit_db) & (tone_db > recent_db - 50)
    is_clear = is_on & ~is_fading & (over_noise_db > -9) & (over_room_db > -12)
    is_clear = is_clear & (tone_db > other_db + 3)
    is_hidden = is_sounding & (over_noise_db < -24)
    is_soft = (other_db < recent_db - 12) | (other_db < noise_db - 10) | (other_db < -150)
    is_nothing = (~is_on & ~(is_fading & is_source_on) | is_hidden) & is_soft
    pitch_weight = is_on & (over_noise_db > -18) & (over_room_db > 0) & (tone_db > other_db + 6)
    octaves = _at_frames(jnp.log2(controls.f0_hz), tone_db.shape[-1], hop_length)
    weight = is_clear | is_nothing
    return Labels(
        2**octaves, is_voiced, pitch_weight.astype(jnp.float32), weight.astype(jnp.float32)
    )


def _at_frames(controls, n_frames, hop_length, later=0.0):
    """Controls at the frames, or so many samples later, by linear interpolation."""
    position = np.maximum(np.arange(n_frames) * hop_length + later, 0) / CONTROL_HOP
    position = np.minimum(position, controls.shape[-1] - 1)
    low = position.astype(int)
    high = np.minimum(low + 1, controls.shape[-1] - 1)
    weight = jnp.asarray(position - low, controls.dtype)
    weight = weight.reshape((1,) * (controls.ndim - 1) + (-1,))
    return controls[..., low] * (1 - weight) + controls[..., high] * weight


def _level_db(audio, hop_length, win_length):
    return 20 * jnp.log10(core.rms(audio, hop_length=hop_length, win_length=win_length) + 1e-9)


def _loudest(level_db, before, after):
    """The highest level of the frames from so many before to so many after each."""
    size = before + after + 1
    return jax.lax.reduce_window(
        level_db, -jnp.inf, jax.lax.max, (1, size), (1, 1), ((0, 0), (before, after))
    )
