"""Hard sounds whose pitch is exact, because they are computed from it in float64.

Every set has some files. A frame of the reference has a pitch while its note is at half of its
level or more, and has none while the note is silent; the frames between are left out.
"""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
from scipy import signal
from truth import CHOSEN, Sound, singing, speech

SAMPLE_RATE, MP3_RATE, PHONE_RATE = 16000, 44100, 8000
FILES, SECONDS, STEP_S = 8, 4.0, 0.005
SEED = 7001
PHONE_BAND_HZ = (300, 3400)
# Pauses between the digits of a voice, in seconds.
PAUSES_S = (0.05, 0.3)
NOISES = ("rain", "sea_waves", "fire_crackling", "clock_tick", "helicopter", "chainsaw")
NOISE_FOLD = "4"
# A room's tail counts in one set so long after a note, and later in another.
JUST_AFTER_S = 0.02


def sounds(data: Path) -> Iterator[tuple[str, Sound]]:
    """All sounds, each with the name of its set."""
    for i, (set_name, make) in enumerate(SETS.items()):
        for k in range(FILES):
            rng = np.random.default_rng((SEED, i, k))
            made = make(rng, data) if make is babble else make(rng)
            yield set_name, Sound(str(k), *made)
    yield from noises(data)


def db(level_db: float) -> float:
    """Amplitude of a level in dB."""
    return 10 ** (level_db / 20)


def rms(audio: np.ndarray) -> float:
    """Root mean square."""
    return np.sqrt(np.mean(audio**2))


def seconds(sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    """The time of every sample."""
    return np.arange(round(SECONDS * sample_rate)) / sample_rate


def tone(rng, f0_hz: np.ndarray, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    """A harmonic tone of some timbre, of an RMS of 0.1."""
    phase = 2 * np.pi * np.cumsum(f0_hz) / sample_rate
    tilt_db = rng.uniform(3, 12)
    peaks = [(rng.uniform(np.log2(300), np.log2(4000)), rng.uniform(5, 15)) for _ in range(3)]
    audio, every = np.zeros(len(f0_hz)), np.arange(len(f0_hz))
    some = every[::32]
    for k in range(1, 81):
        octave = np.log2(k * f0_hz[some])
        level_db = -tilt_db * np.log2(k) + rng.uniform(-3, 3)
        for centre, height in peaks:
            level_db = level_db + height * np.exp(-(((octave - centre) / 0.4) ** 2))
        inside = np.clip((0.47 * sample_rate - k * f0_hz[some]) / (0.02 * sample_rate), 0, 1)
        if not inside.any():
            break
        amplitude = np.interp(every, some, inside * 10 ** (level_db / 20))
        audio += amplitude * np.sin(k * phase + rng.uniform(0, 2 * np.pi))
    return 0.1 * audio / rms(audio)


def everywhere(f0_hz: np.ndarray, sample_rate: int = SAMPLE_RATE):
    """The reference of a sound that has a pitch, or none, all the time."""
    at = np.arange(0, len(f0_hz), round(STEP_S * sample_rate))
    return sample_rate, at / sample_rate, f0_hz[at]


def nothing(audio: np.ndarray, sample_rate: int = SAMPLE_RATE):
    """A sound without a pitch."""
    return audio, *everywhere(np.zeros(len(audio)), sample_rate)


# Pitch that moves


def glide(rng):
    """Three octaves up and down, 1.5 times a second."""
    centre, start = rng.uniform(250, 600), rng.uniform(0, 2 * np.pi)
    f0_hz = centre * 2 ** (1.5 * np.sin(2 * np.pi * 1.5 * seconds() + start))
    return tone(rng, f0_hz), *everywhere(f0_hz)


def vibrato(cents: float):
    """Vibrato of so many cents to either side, 6 times a second."""

    def make(rng):
        centre, start = 2 ** rng.uniform(np.log2(150), np.log2(900)), rng.uniform(0, 2 * np.pi)
        f0_hz = centre * 2 ** (cents / 1200 * np.sin(2 * np.pi * 6 * seconds() + start))
        return tone(rng, f0_hz), *everywhere(f0_hz)

    return make


def legato(rng):
    """Notes of 50 ms without gaps."""
    centre = 2 ** rng.uniform(np.log2(180), np.log2(700))
    steps = rng.integers(-7, 8, round(SECONDS / 0.05))
    f0_hz = np.repeat(centre * 2 ** (steps / 12), len(seconds()) // len(steps))
    return tone(rng, f0_hz), *everywhere(f0_hz)


def creak(rng):
    """A voice of 40 to 98 Hz whose cycles differ, and of which every other is weak and late."""
    low, high = np.sort(rng.uniform(40, 98, 2))
    jitter, shift, weak = rng.uniform(0.01, 0.03), rng.uniform(0, 0.04), rng.uniform(0.35, 1)
    pulses, now = [], 0.0
    while now < SECONDS:
        pulses.append(now)
        f0_hz = low + (high - low) * (0.5 + 0.5 * np.sin(2 * np.pi * 0.7 * now))
        now += (1 + jitter * rng.standard_normal()) / f0_hz
    pulses = np.array(pulses[1:])
    height = np.where(np.arange(len(pulses)) % 2, weak, 1.0)
    late_s = np.arange(len(pulses)) % 2 * shift * np.gradient(pulses)
    audio, place = np.zeros(len(seconds()) + 2), (pulses + late_s) * SAMPLE_RATE
    whole = place.astype(int)
    np.add.at(audio, whole, height * (1 - place + whole))
    np.add.at(audio, whole + 1, height * (place - whole))
    audio = audio[: len(seconds())]
    for hz, width in ((rng.uniform(350, 800), 80), (rng.uniform(900, 2000), 110), (2600, 160)):
        radius = np.exp(-np.pi * width / SAMPLE_RATE)
        poles = [1, -2 * radius * np.cos(2 * np.pi * hz / SAMPLE_RATE), radius**2]
        audio = signal.lfilter([1, -0.5], poles, audio)
    audio = 0.1 * audio / rms(audio) + 1e-4 * rng.standard_normal(len(audio))
    # The mean of four cycles, so that it exists in spite of the jitter.
    f0_hz = np.interp(seconds(), pulses[2:-2], 4 / (pulses[4:] - pulses[:-4]))
    return audio, *everywhere(f0_hz)


def whistle(low: float, high: float, *, in_range: bool = True):
    """A pure tone with breath, steady or gliding."""

    def make(rng):
        ends = 2 ** rng.uniform(np.log2(low), np.log2(high), 2)
        ends[1] = ends[0] if rng.random() < 0.4 else ends[1]
        f0_hz = np.geomspace(*ends, len(seconds()))
        phase = 2 * np.pi * np.cumsum(f0_hz) / SAMPLE_RATE
        audio = 0.14 * (np.sin(phase) + db(rng.uniform(-60, -35)) * np.sin(2 * phase))
        breath = band_noise(rng, len(audio), low, 7800)
        audio += 0.1 * db(rng.uniform(-45, -25)) * breath / rms(breath)
        return audio, *everywhere(f0_hz if in_range else 0 * f0_hz)

    return make


# Notes and what is between them


def melody(rng, low=110.0, high=700.0, sample_rate=SAMPLE_RATE):
    """Notes with gaps: pitch, amplitude and audio."""
    time_s = seconds(sample_rate)
    f0_hz, amplitude = np.full(len(time_s), np.sqrt(low * high)), np.zeros(len(time_s))
    now = rng.uniform(0.1, 0.3)
    while now < SECONDS - 0.2:
        length = rng.uniform(0.15, 0.7)
        note = (time_s >= now) & (time_s < now + length)
        rise, fall = rng.uniform(0.005, 0.03, 2)
        inner = time_s[note] - now
        f0_hz[time_s >= now] = 2 ** rng.uniform(np.log2(low), np.log2(high))
        depth, rate = rng.uniform(0, 60), rng.uniform(4.5, 6.5)
        f0_hz[note] *= 2 ** (depth / 1200 * np.sin(2 * np.pi * rate * inner))
        edges = np.minimum(np.clip(inner / rise, 0, 1), np.clip((length - inner) / fall, 0, 1))
        amplitude[note] = edges * db(rng.uniform(-8, 0))
        now += length + rng.uniform(0.1, 0.5)
    return f0_hz, amplitude, amplitude * tone(rng, f0_hz, sample_rate)


def reference(f0_hz, amplitude, sample_rate=SAMPLE_RATE, *, after_s=(0.0, np.inf)):
    """The reference of notes; a silent frame counts from and to so many seconds after a note."""
    is_on = amplitude > 0
    sample = np.arange(len(amplitude))
    since = sample - np.maximum.accumulate(np.where(is_on, sample, -len(sample)))
    edges = np.flatnonzero(np.diff(is_on, prepend=False))
    highest = np.zeros(len(amplitude))
    for start, stop in zip(edges[::2], edges[1::2], strict=False):
        highest[start:stop] = amplitude[start:stop].max()
    voiced = is_on & (amplitude >= highest / 2)
    silent = ~is_on & (since >= after_s[0] * sample_rate) & (since <= after_s[1] * sample_rate)
    at = np.arange(0, len(f0_hz), round(STEP_S * sample_rate))
    # mir_eval needs a frame at 0 s, where all notes are silent.
    at = at[(voiced | silent)[at] | (at == 0)]
    return sample_rate, at / sample_rate, np.where(voiced, f0_hz, 0)[at]


def band_noise(rng, size: int, low: float, high: float, sample_rate=SAMPLE_RATE) -> np.ndarray:
    """Noise between two frequencies."""
    band = signal.butter(2, (low, high), "bandpass", fs=sample_rate, output="sos")
    return signal.sosfilt(band, rng.standard_normal(size))


def plain(low: float, high: float):
    """Notes of a register, and silence."""

    def make(rng):
        f0_hz, amplitude, audio = melody(rng, low, high)
        return audio + 1e-5 * rng.standard_normal(len(audio)), *reference(f0_hz, amplitude)

    return make


def room(after_s: tuple[float, float]):
    """Notes in a room whose tail begins 25 to 60 dB below them."""

    def make(rng):
        f0_hz, amplitude, audio = melody(rng)
        time_s = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
        decay_s = 2 ** rng.uniform(np.log2(0.2), np.log2(1.5))
        answer = rng.standard_normal(len(time_s)) * 10 ** (-3 * time_s / decay_s)
        tail = signal.fftconvolve(audio, answer)[: len(audio)]
        ends = np.flatnonzero(np.diff((amplitude > 0).astype(int)) < 0)
        start = np.concatenate([tail[i : i + SAMPLE_RATE // 50] for i in ends])
        tail *= rms(audio[amplitude > 0]) * db(-rng.uniform(25, 60)) / rms(start)
        audio = audio + tail + 1e-5 * rng.standard_normal(len(audio))
        return audio, *reference(f0_hz, amplitude, after_s=after_s)

    return make


def hum(rng):
    """Notes over the hum of the mains, 20 to 50 dB below them."""
    f0_hz, amplitude, audio = melody(rng)
    mains = rng.choice([50, 60]) * (1 + rng.uniform(-2e-3, 2e-3))
    around = sum(
        rng.uniform(0.1, 1) / k**0.7 * np.sin(2 * np.pi * (mains * k * seconds() + rng.random()))
        for k in range(1, 13)
    )
    level = rms(audio[amplitude > 0]) * db(-rng.uniform(20, 50))
    audio = audio + around / rms(around) * level + 3e-5 * rng.standard_normal(len(audio))
    return audio, *reference(f0_hz, amplitude)


def breath(rng):
    """Notes with breath and consonants before and between them, 8 to 35 dB below."""
    f0_hz, amplitude, audio = melody(rng)
    audio = audio + rms(audio[amplitude > 0]) * bursts(rng, (-35, -8))
    return audio + 1e-5 * rng.standard_normal(len(audio)), *reference(f0_hz, amplitude)


def bursts(rng, level_db: tuple[float, float], sample_rate=SAMPLE_RATE) -> np.ndarray:
    """Noises of 15 to 350 ms, of many colours, against an RMS of 1."""
    audio = np.zeros(round(SECONDS * sample_rate))
    top = 0.49 * sample_rate
    for start in np.arange(0.02, SECONDS - 0.4, 0.2) + rng.uniform(0, 0.1):
        size = round(sample_rate * 2 ** rng.uniform(np.log2(0.015), np.log2(0.35)))
        low = 2 ** rng.uniform(np.log2(200), np.log2(0.5 * top))
        burst = band_noise(rng, size, low, min(low * rng.uniform(1.5, 8), top), sample_rate)
        first = round(start * sample_rate)
        burst *= np.hanning(size) * db(rng.uniform(*level_db)) / rms(burst)
        audio[first : first + size] += burst
    return audio


def bleed(rng):
    """Notes, and other notes from headphones 25 to 45 dB below."""
    f0_hz, amplitude, audio = melody(rng)
    high = signal.butter(1, 800, "highpass", fs=SAMPLE_RATE, output="sos")
    other = signal.sosfilt(high, sum(melody(rng)[2] for _ in range(3)))
    level = rms(audio[amplitude > 0]) * db(-rng.uniform(25, 45))
    audio = audio + level * other / rms(other) + 1e-5 * rng.standard_normal(len(audio))
    return audio, *reference(f0_hz, amplitude)


# What carries the sound


def telephone(audio: np.ndarray, rng) -> tuple[np.ndarray, int]:
    """The band of a telephone in 8 bits of mu-law, at 8 kHz, or recorded at 16 kHz."""
    band = signal.butter(3, PHONE_BAND_HZ, "bandpass", fs=SAMPLE_RATE, output="sos")
    audio = signal.resample_poly(signal.sosfiltfilt(band, audio), 1, 2)
    audio = np.clip(audio / max(np.abs(audio).max(), 1e-9) * rng.uniform(0.1, 0.9), -1, 1)
    code = np.round(127 * np.log1p(255 * np.abs(audio)) / np.log(256)) / 127
    audio = np.sign(audio) * np.expm1(code * np.log(256)) / 255
    is_recorded = rng.random() < 0.5
    audio = signal.resample_poly(audio, 2, 1) if is_recorded else audio
    return audio, SAMPLE_RATE if is_recorded else PHONE_RATE


def by_telephone(data: Path) -> Iterator[tuple[str, Sound]]:
    """The annotated singing, and the sentences on which nothing was chosen, on the telephone."""
    for i, (set_name, sound) in enumerate((*singing(data), *speech(data))):
        if set_name != CHOSEN:
            down = np.gcd(sound.sample_rate, SAMPLE_RATE)
            rates = SAMPLE_RATE // down, sound.sample_rate // down
            audio = signal.resample_poly(sound.audio, *rates)
            carried, sample_rate = telephone(audio, np.random.default_rng((SEED, i)))
            kind = set_name.split(",")[0]
            yield f"{kind} by telephone", sound._replace(audio=carried, sample_rate=sample_rate)


def phone_notes(rng):
    """A voice on the telephone, with noise of the line."""
    f0_hz, amplitude, audio = melody(rng, 90, 320)
    line = band_noise(rng, len(audio), 100, 5000)
    audio = audio + rms(audio[amplitude > 0]) * db(-rng.uniform(20, 45)) * line / rms(line)
    carried, sample_rate = telephone(audio, rng)
    return carried, sample_rate, *reference(f0_hz, amplitude)[1:]


def phone_noise(rng):
    """Pauses on the telephone: the line, steps, keys, breath."""
    audio = band_noise(rng, len(seconds()), 100, rng.uniform(1000, 7000))
    audio = audio / rms(audio) * db(-rng.uniform(0, 25)) + bursts(rng, (-20, 0))
    carried, sample_rate = telephone(audio, rng)
    return nothing(carried, sample_rate)


def mp3(rng):
    """Notes, compressed to 64 kbit/s."""
    f0_hz, amplitude, audio = melody(rng, sample_rate=MP3_RATE)
    file = io.BytesIO()
    # Of the constant rates from 320 kbit/s (0) to 32 kbit/s (1).
    level = (320 - 64) / (320 - 32)
    options = {"format": "MP3", "bitrate_mode": "CONSTANT", "compression_level": level}
    soundfile.write(file, audio, MP3_RATE, **options)
    file.seek(0)
    audio, _ = soundfile.read(file)
    return audio[: len(f0_hz)], *reference(f0_hz, amplitude, MP3_RATE)


def offset(rng):
    """Notes on a constant."""
    f0_hz, amplitude, audio = melody(rng)
    constant = rng.choice([-1, 1]) * rng.uniform(0.05, 0.5)
    return audio + constant + 1e-5 * rng.standard_normal(len(audio)), *reference(f0_hz, amplitude)


def quiet(rng):
    """Notes at -60 dBFS, in 16 bits."""
    f0_hz, amplitude, audio = melody(rng)
    audio *= 1e-3 / rms(audio[amplitude > 0])
    return np.round(audio * 32768) / 32768, *reference(f0_hz, amplitude)


def babble(rng, data: Path):
    """Four to six people at once, whom the training never heard, each saying digits."""
    with open(data / "fsdd" / "metadata.csv") as file:
        files = {}
        for row in csv.DictReader(file):
            files.setdefault(row["speaker"], []).append(data / "fsdd" / row["file"])
    audio = np.zeros(len(seconds()))
    for speaker in rng.choice(sorted(files), rng.integers(4, 7), replace=False):
        voice = digits(rng, files[speaker])
        audio += db(rng.uniform(-6, 0)) * voice / rms(voice)
    return nothing(0.1 * audio / rms(audio))


def digits(rng, files: list[Path]) -> np.ndarray:
    """One person's digits, one after the other with pauses; it begins anywhere among them."""
    voice = np.zeros(0)
    while len(voice) < 2 * len(seconds()):
        digit, sample_rate = soundfile.read(files[rng.integers(len(files))])
        digit = signal.resample_poly(digit, SAMPLE_RATE, sample_rate)
        pause = np.zeros(round(SAMPLE_RATE * rng.uniform(*PAUSES_S)))
        voice = np.concatenate([voice, digit, pause])
    return voice[rng.integers(len(seconds())) :][: len(seconds())]


def noises(data: Path) -> Iterator[tuple[str, Sound]]:
    """Recordings of noises, a set for each kind."""
    for kind in NOISES:
        for path in sorted((data / "esc10" / kind).glob(f"{NOISE_FOLD}-*.flac")):
            yield (
                f"noise, {kind.replace('_', ' ')}",
                Sound(path.stem, *nothing(*soundfile.read(path))),
            )


SETS = {
    "glide of 3 octaves": glide,
    "vibrato of 200 cents": vibrato(200),
    "vibrato of 300 cents": vibrato(300),
    "legato notes of 50 ms": legato,
    "creak, 40 to 98 Hz": creak,
    "low notes, 60 to 80 Hz": plain(60, 80),
    "high notes, 1 to 4 kHz": plain(1000, 4000),
    "whistle, 2200 to 4100 Hz": whistle(2200, 4100),
    "whistle out of range, 4600 to 7500 Hz": whistle(4600, 7500, in_range=False),
    "room, 20 ms after notes": room((0.0, JUST_AFTER_S)),
    "room, later": room((JUST_AFTER_S, np.inf)),
    "hum": hum,
    "breath and consonants": breath,
    "bleed": bleed,
    "telephone, notes": phone_notes,
    "telephone, pauses": phone_noise,
    "MP3 of 64 kbit": mp3,
    "DC offset": offset,
    "-60 dBFS": quiet,
    "babble": babble,
}
