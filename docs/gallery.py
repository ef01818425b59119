"""Makes the gallery: sounds, their pictures, and the page that shows them with their code.

``python docs/gallery.py FOLDER`` writes FOLDER/gallery.md and FOLDER/extra/sounds. Each sound is a
function below, whose body is what the page shows; a new one needs its decorator and no more.
"""

import contextlib
import inspect
import sys
import tempfile
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import soundfile
from flax import nnx
from matplotlib.figure import Figure

from ddspx import core, features, io, nn, transfer

MELODY = Path(__file__).parents[1] / "examples" / "melody" / "melody.flac"


class Sound(NamedTuple):
    """One entry of the page: a function that makes one sound, or several with their captions."""

    section: str
    title: str
    text: str
    make: Callable[[], np.ndarray | jnp.ndarray | dict]


SOUNDS: list[Sound] = []


def sound(section: str, title: str, text: str) -> Callable[[Callable], Callable]:
    """Puts a function into the gallery."""

    def put(function: Callable) -> Callable:
        SOUNDS.append(Sound(section, title, text, function))
        return function

    return put


# What the page shows first: all sounds use these.
# BEGIN
rate, hop = 16_000, 64  # samples per second, samples between two frames
frames = 751  # three seconds
tune = jnp.asarray(io.read_audio(MELODY, sample_rate=rate))
heard = features.conditioning_features(tune, sample_rate=rate, hop_length=hop)
f0_hz = jnp.where(heard.f0_confidence > 0.5, jnp.asarray(heard.f0_hz), 0)
loudness = core.db_to_amplitude(jnp.asarray(heard.loudness_db)) * 0.06
grid = {"hop_length": hop, "sample_rate": rate}
time_s = jnp.arange(frames) * hop / rate
fade = jnp.minimum(1, 20 * jnp.minimum(time_s, time_s[-1] - time_s))
# END


# Instruments


@sound("Instruments", "The tune", "A synthetic voice sings it. What follows plays it.")
def the_tune():
    return tune


@sound("Instruments", "Violin", "Trained on a few minutes of one violin.")
def violin():
    transfer.transfer(MELODY, "violin.wav", to="violin")
    return io.read_audio("violin.wav", sample_rate=rate)


@sound("Instruments", "Cello", "The tune moves down by whole octaves to where a cello plays.")
def cello():
    transfer.transfer(MELODY, "cello.wav", to="cello")
    return io.read_audio("cello.wav", sample_rate=rate)


@sound("Instruments", "Flute", "Breath is filtered noise, which the network shapes too.")
def flute():
    transfer.transfer(MELODY, "flute.wav", to="flute")
    return io.read_audio("flute.wav", sample_rate=rate)


@sound("Instruments", "A second flute", "Another player, learnt like the trumpet.")
def flute2():
    transfer.transfer(MELODY, "flute2.wav", to="flute2")
    return io.read_audio("flute2.wav", sample_rate=rate)


@sound("Instruments", "Alto saxophone", "The dynamics are those of its recordings.")
def alto_saxophone():
    transfer.transfer(MELODY, "alto.wav", to="alto_saxophone")
    return io.read_audio("alto.wav", sample_rate=rate)


@sound("Instruments", "Tenor saxophone", "The same, a size larger.")
def tenor_saxophone():
    transfer.transfer(MELODY, "tenor.wav", to="tenor_saxophone")
    return io.read_audio("tenor.wav", sample_rate=rate)


@sound("Instruments", "Trumpet", "Notes of a trumpet, and the transitions of a published model.")
def trumpet():
    transfer.transfer(MELODY, "trumpet.wav", to="trumpet")
    return io.read_audio("trumpet.wav", sample_rate=rate)


@sound("Instruments", "Tuba", "The lowest of all.")
def tuba():
    transfer.transfer(MELODY, "tuba.wav", to="tuba")
    return io.read_audio("tuba.wav", sample_rate=rate)


@sound(
    "Instruments",
    "Violin, drawn to the key",
    "With the pitch on the notes of the key, without the room, and with a third of the voice.",
)
def violin_tuned():
    config = transfer.TransferConfig(autotune=1.0, reverb=0.0, wet=0.67)
    transfer.transfer(MELODY, "tuned.wav", to="violin", config=config)
    return io.read_audio("tuned.wav", sample_rate=rate)


@sound(
    "Instruments",
    "Flute, with breath",
    "Between its notes the tune gets a whispered s. The noise of the flute plays it, if asked.",
)
def flute_breath():
    high = jnp.linspace(0, 1, 65) ** 2 * (heard.f0_confidence < 0.5)[:, None]
    options = {"hop_length": hop, "n_samples": tune.size}
    whispered = tune + 0.1 * core.filtered_noise(jax.random.key(9), high, **options)
    io.write_audio("whispered.wav", whispered, sample_rate=rate)
    played = {"the tune": whispered}
    for breath in (0.0, 1.0):
        config = transfer.TransferConfig(breath=breath)
        transfer.transfer("whispered.wav", "breath.wav", to="flute", config=config)
        played[f"breath {breath:g}"] = io.read_audio("breath.wav", sample_rate=rate)
    return played


@sound(
    "Instruments",
    "Between two instruments",
    "The model of any instrument plays what lies between two embeddings that it knows.",
)
def between_two():
    played = {}
    for to in ("violin+flute:0", "violin+flute:0.5", "violin+flute:1"):
        transfer.transfer(MELODY, "between.wav", to=to)
        played[to] = io.read_audio("between.wav", sample_rate=rate)
    return played


@sound(
    "Instruments",
    "A recording as the instrument",
    "The model hears seconds of a trumpet, and plays the tune on it at once, without its room.",
)
def a_recording():
    transfer.transfer(MELODY, "trumpet.wav", to="trumpet")
    transfer.transfer(MELODY, "heard.wav", to="trumpet.wav")
    return {
        "what is heard": io.read_audio("trumpet.wav", sample_rate=rate),
        "what is played": io.read_audio("heard.wav", sample_rate=rate),
    }


# Oscillators


@sound("Oscillators", "Sine", "One harmonic, with the pitch and the loudness of the tune.")
def sine():
    return core.harmonic_synthesis(f0_hz, loudness, jnp.ones((f0_hz.size, 1)), **grid)


@sound("Oscillators", "Odd harmonics", "Amplitudes 1/k of the harmonics 1, 3, 5, ...: hollow.")
def odd_harmonics():
    k = jnp.arange(1, 20)
    weights = jnp.where(k % 2, 1 / k, 0) * jnp.ones((f0_hz.size, 1))
    return core.harmonic_synthesis(f0_hz, loudness, weights, **grid)


@sound("Oscillators", "From dark to bright", "Sixty harmonics whose slope falls from 3 to 0.6.")
def dark_to_bright():
    slope = jnp.linspace(3.0, 0.6, frames)[:, None]
    weights = jnp.arange(1.0, 61.0) ** -slope
    return core.harmonic_synthesis(jnp.full(frames, 110.0), 0.15 * fade, weights, **grid)


@sound(
    "Oscillators",
    "Sawtooth, gliding",
    "From 50 Hz to 4 kHz without aliasing: a harmonic fades before it reaches Nyquist.",
)
def sawtooth():
    return core.sawtooth(jnp.geomspace(50.0, 4000.0, frames), 0.3 * fade, **grid)


@sound("Oscillators", "Square", "The tune on a square wave: only odd harmonics, amplitudes 1/k.")
def square():
    return core.square(f0_hz, 0.6 * loudness, **grid)


@sound("Oscillators", "Triangle", "Odd harmonics of amplitudes 1/k²: softer.")
def triangle():
    return core.triangle(f0_hz, loudness, **grid)


@sound("Oscillators", "Pulse of moving width", "The width swings between 5 % and 50 % of a period.")
def pulse():
    width = 0.275 + 0.225 * jnp.sin(2 * jnp.pi * 0.7 * time_s)
    return core.pulse(jnp.full(frames, 82.4), 0.3 * fade, width, **grid)


@sound("Oscillators", "Bell", "Free sinusoids at the partials of a bell, each with its decay.")
def bell():
    ratios = jnp.array([0.56, 0.92, 1.19, 1.71, 2.0, 2.74, 3.0, 3.76, 4.07])
    decay_s = 1.2 / ratios
    amplitudes = 0.12 * jnp.exp(-time_s[:, None] / decay_s) * fade[:, None]
    return core.sinusoidal_synthesis(440 * ratios * jnp.ones((frames, 1)), amplitudes, **grid)


@sound("Oscillators", "Plucked chord", "Four voices are a batch; their envelopes are ADSR.")
def plucked_chord():
    notes_hz = core.midi_to_hz(jnp.array([45.0, 52.0, 57.0, 61.0]))
    envelope = core.adsr(
        jnp.arange(4) * 0.35,
        jnp.full(4, 2.4),
        attack_s=0.01,
        decay_s=0.6,
        sustain=0.25,
        release_s=0.4,
        n_frames=frames,
        shape="exponential",
        **grid,
    )
    return 0.2 * core.sawtooth(notes_hz[:, None] * jnp.ones(frames), envelope, **grid).sum(0)


# Wavetables


@sound("Wavetables", "A table of harmonics", "One period, read over and over at the tune's pitch.")
def wavetable():
    table = core.harmonic_distribution_to_wavetable(jnp.array([1.0, 0.0, 0.6, 0.3, 0.0, 0.2]))
    return core.wavetable_synthesis(f0_hz, loudness, table, **grid)


@sound("Wavetables", "From one table to another", "Each frame has its table; they cross-fade.")
def morph():
    k = jnp.arange(1, 13)
    two = jnp.stack([1.0 * (k == 1), jnp.where(k > 4, 0.3, 0)])
    low, high = core.harmonic_distribution_to_wavetable(two)
    mix = 0.5 - 0.5 * jnp.cos(2 * jnp.pi * time_s)[:, None]
    tables = (1 - mix) * low + mix * high
    return core.wavetable_synthesis(jnp.full(frames, 147.0), 0.4 * fade, tables, **grid)


# Synthesizers of `nn`, told what to play by hand instead of by a network


@sound(
    "Synthesizers",
    "Free partials",
    "A partial around each harmonic, here further up the higher it is, as in a stiff string.",
)
def free_partials():
    config = nn.SinusoidalNoiseConfig(n_sinusoids=16, n_magnitudes=5)
    synthesizer = config.build(**grid, rngs=nnx.Rngs(0))
    k = jnp.arange(16.0)
    outputs = jnp.concatenate([jnp.zeros(1), -0.4 * k, 0.004 * k**2, jnp.full(5, -10.0)])
    dying = outputs - 2.5 * time_s[:, None] * (jnp.arange(outputs.size) == 0)
    controls = synthesizer.controls(dying, jnp.full(frames, 220.0))
    return synthesizer(jax.random.key(7), controls)


@sound(
    "Synthesizers",
    "Wavetables that could learn",
    "Four tables, as drawn before any training, mixed anew in each frame on the tune.",
)
def mixed_tables():
    config = nn.WavetableNoiseConfig(n_wavetables=4, n_harmonics=30, n_magnitudes=5)
    synthesizer = config.build(**grid, rngs=nnx.Rngs(1))
    turning = 4 * jnp.sin(0.004 * jnp.arange(f0_hz.size)[:, None] + jnp.arange(4) * jnp.pi / 2)
    level = jnp.log(loudness + 1e-3)[:, None] + 2
    breath = jnp.full((f0_hz.size, 5), -10.0)
    outputs = jnp.concatenate([level, turning, breath], axis=-1)
    return synthesizer(jax.random.key(8), synthesizer.controls(outputs, f0_hz))


# Noise


@sound("Noise", "White noise", "Uniform between -1 and 1, drawn from a key: the same every time.")
def white_noise():
    return 0.15 * core.white_noise(jax.random.key(0), (3 * rate,))


@sound("Noise", "Wind", "Noise through a filter that moves from frame to frame.")
def wind():
    bands = jnp.linspace(0, 1, 65)
    centre = 0.1 + 0.06 * jnp.sin(1.9 * time_s) + 0.03 * jnp.sin(5.3 * time_s)
    magnitudes = jnp.exp(-(((bands - centre[:, None]) / 0.04) ** 2))
    return core.filtered_noise(jax.random.key(1), 0.5 * magnitudes, hop_length=hop)


@sound(
    "Noise", "Whisper", "The tune's spectral envelope, in 65 bands, on noise: little pitch is left."
)
def whisper():
    envelope = core.spectrogram(tune, n_fft=128, hop_length=hop, power=1)
    return core.filtered_noise(jax.random.key(2), 0.1 * envelope, hop_length=hop)


@sound("Noise", "Drums", "Bursts of noise with short envelopes, and a sine that falls.")
def drums():
    times = {"attack_s": 0.001, "sustain": 0.0, "release_s": 0.01, "n_frames": frames}
    hats = core.adsr(jnp.arange(12) * 0.25, 9.0, decay_s=0.05, **times, **grid).sum(0)
    kicks = core.adsr(jnp.arange(3) * 1.0, 9.0, decay_s=0.25, **times, **grid).sum(0)
    high = 0.2 * hats[:, None] * jnp.linspace(0, 1, 65) ** 2
    noise = core.filtered_noise(jax.random.key(3), high, hop_length=hop)
    falling_hz = 45 + 90 * kicks**2
    return noise + core.harmonic_synthesis(falling_hz, 0.6 * kicks, jnp.ones((frames, 1)), **grid)


# Filters


@sound(
    "Filters", "Low-pass, sweeping", "A biquad for each frame, at a cutoff from 100 Hz to 5 kHz."
)
def sweep():
    dry = core.sawtooth(jnp.full(frames, 82.4), 0.3 * fade, **grid)
    cutoff_hz = jnp.geomspace(100.0, 5000.0, frames)
    sections = core.biquad(cutoff_hz, kind="lowpass", q=4.0, sample_rate=rate)
    return {"before": dry, "after": 0.5 * core.sos_filter(dry, sections[:, None], hop_length=hop)}


@sound("Filters", "Wah", "A narrow band that moves twice a second, on the tune.")
def wah():
    moving = jnp.arange(1 + tune.size // hop) * hop / rate
    centre_hz = 900 * 2 ** jnp.sin(4 * jnp.pi * moving)
    sections = core.biquad(centre_hz, kind="bandpass", q=3.0, sample_rate=rate)
    return 2 * core.sos_filter(tune, sections[:, None], hop_length=hop)


@sound("Filters", "Vowels", "Three formants, as resonances in a row, turn pulses into a vowel.")
def vowels():
    pitch_hz = 120 + 3 * jnp.sin(2 * jnp.pi * 5 * time_s)
    buzz = core.pulse(pitch_hz, 0.3 * fade, jnp.full(frames, 0.04), **grid)
    formants_hz = {"a": (750.0, 1150.0, 2600.0), "i": (280.0, 2250.0, 2900.0)}
    spoken = {"before": buzz}
    for vowel, hz in formants_hz.items():
        resonances = core.biquad(jnp.array(hz), kind="peak", q=6.0, gain_db=24.0, sample_rate=rate)
        spoken[vowel] = 0.12 * core.sos_filter(buzz, resonances)
    return spoken


@sound("Filters", "Telephone", "300 to 3400 Hz, by windowed sincs of no delay.")
def telephone():
    low = core.sinc_lowpass(3400.0, sample_rate=rate)
    high = core.sinc_highpass(300.0, sample_rate=rate)
    narrow = core.fft_convolve(core.fft_convolve(tune, low, mode="same"), high, mode="same")
    return {"before": tune, "after": narrow}


@sound("Filters", "Hum taken out", "Three notches at 50 Hz and its multiples.")
def hum():
    n = jnp.arange(tune.size)
    noisy = tune + sum(0.08 * jnp.sin(2 * jnp.pi * 50 * k * n / rate) for k in (1, 2, 3))
    notches = core.biquad(jnp.array([50.0, 100.0, 150.0]), kind="notch", q=8.0, sample_rate=rate)
    return {"before": noisy, "after": core.sos_filter(noisy, notches)}


@sound(
    "Filters", "Down to 4 kHz", "Every fourth sample folds back; a band-limited change does not."
)
def down():
    few = core.resample(tune, orig_rate=rate, target_rate=4000)
    back = {"orig_rate": 4000, "target_rate": rate}
    return {
        "every fourth sample": core.resample(tune[::4], **back),
        "core.resample": core.resample(few, **back),
    }


# Effects


@sound("Effects", "A room", "Decaying noise as the response of a room: 60 dB in 0.8 s.")
def room():
    response = core.exponential_reverb_ir(
        jax.random.key(4), 0.8, n_samples=rate, sample_rate=rate, gain=0.08
    )
    return {"before": tune, "after": 0.7 * core.convolution_reverb(tune, response)}


@sound("Effects", "A dark hall", "In each band another decay: high frequencies die away first.")
def hall():
    age_s = jnp.arange(0, 2.5, hop / rate)[:, None]
    t60_s = jnp.linspace(2.4, 0.3, 33)
    magnitudes = 0.1 * 10 ** (-3 * age_s / t60_s)
    response = core.filtered_noise_reverb_ir(jax.random.key(5), magnitudes, hop_length=hop)
    return 0.5 * core.convolution_reverb(tune, response)


@sound("Effects", "Chorus", "The tune beside itself, 15 to 25 ms late, slowly moving.")
def chorus():
    lfo = jnp.sin(2 * jnp.pi * 0.8 * jnp.arange(tune.size) / rate)
    return 0.7 * core.modulated_delay(tune, lfo, sample_rate=rate, center_ms=20.0, depth_ms=5.0)


@sound("Effects", "Flanger", "The same, by 0.5 to 5 ms: a comb of notches that moves.")
def flanger():
    noise = 0.2 * core.white_noise(jax.random.key(6), (4 * rate,))
    lfo = jnp.sin(2 * jnp.pi * 0.25 * jnp.arange(noise.size) / rate)
    return core.modulated_delay(noise, lfo, sample_rate=rate, center_ms=2.75, depth_ms=2.25)


@sound("Effects", "Vibrato", "The delayed sound alone: its pitch rises and falls.")
def vibrato():
    dry = core.square(jnp.full(frames, 220.0), 0.15 * fade, **grid)
    lfo = jnp.sin(2 * jnp.pi * 6 * jnp.arange(dry.size) / rate)
    swung = core.modulated_delay(
        dry, lfo, sample_rate=rate, center_ms=2.0, depth_ms=0.6, add_dry=False
    )
    return {"before": dry, "after": swung}


@sound("Effects", "Compressor", "What is above -30 dB grows four times more slowly.")
def compressor():
    squeezed = core.compressor(
        tune,
        threshold_db=-30.0,
        ratio=4.0,
        attack_s=0.005,
        release_s=0.1,
        makeup_db=16.0,
        sample_rate=rate,
    )
    return {"before": tune, "after": squeezed}


@sound("Effects", "Limiter", "Four times as loud, and no sample above -1 dB.")
def limiter():
    loud = core.limiter(4 * tune, threshold_db=-1.0, release_s=0.1, sample_rate=rate)
    return {"clipped": jnp.clip(4 * tune, -0.89, 0.89), "core.limiter": loud}


@sound("Effects", "Cross-fade", "From a sine to a sawtooth, at constant power.")
def crossfade():
    sine = core.harmonic_synthesis(f0_hz, loudness, jnp.ones((f0_hz.size, 1)), **grid)
    saw = core.sawtooth(f0_hz, 0.6 * loudness, **grid)
    return core.crossfade(sine, saw, jnp.linspace(0.0, 1.0, sine.size))


# The page


def write(folder: Path) -> None:
    """Writes the page and what it plays and shows."""
    sounds = folder / "extra" / "sounds"
    sounds.mkdir(parents=True, exist_ok=True)
    source = Path(__file__).read_text(encoding="utf-8")
    common = source.partition("# BEGIN\n")[2].partition("# END")[0]
    parts, section = [f"```python\n{common}```\n"], ""
    with tempfile.TemporaryDirectory() as work, contextlib.chdir(work):
        for entry in SOUNDS:
            if entry.section != section:
                section = entry.section
                parts.append(f"## {section}\n")
            parts.append(_entry(entry, sounds))
    (folder / "gallery.md").write_text("\n".join(parts), encoding="utf-8")


def _entry(entry: Sound, sounds: Path) -> str:
    name = entry.make.__name__
    made = entry.make()
    captioned = made if isinstance(made, dict) else {"": made}
    players = []
    for number, (caption, audio) in enumerate(captioned.items()):
        audio, file = np.asarray(audio, np.float64), f"gallery-{name}-{number}"
        peak = np.abs(audio).max()
        if not 0.02 < peak <= 1:
            raise ValueError(f"The peak of {name} ({caption}) is {peak:.3f}; it must be audible.")
        soundfile.write(sounds / f"{file}.flac", audio, rate, subtype="PCM_16")
        _draw(audio, sounds / f"{file}.png")
        label = f"{entry.title}, {caption}" if caption else entry.title
        players.append(
            f"<figure><figcaption>{caption}</figcaption>"
            f'<img src="sounds/{file}.png" alt="Spectrogram: {label}">'
            f'<audio controls preload="metadata" src="sounds/{file}.flac" aria-label="{label}">'
            "</audio></figure>"
        )
    code = textwrap.dedent(inspect.getsource(entry.make).partition("():\n")[2])
    return (
        f"### {entry.title}\n\n{entry.text}\n\n"
        f'<div class="players">{"".join(players)}</div>\n\n'
        f"```python\n{code}```\n"
    )


def _draw(audio: np.ndarray, path: Path) -> None:
    """A small spectrogram, 80 dB deep."""
    figure = Figure(figsize=(3.2, 1.2), dpi=100, layout="constrained")
    axes = figure.subplots()
    window = np.hanning(513)[:-1]
    padded = np.pad(audio, 256)
    spectra = np.lib.stride_tricks.sliding_window_view(padded, 512)[::128] * window
    level_db = 20 * np.log10(np.abs(np.fft.rfft(spectra)) + 1e-6)
    extent = (0, audio.size / rate, 0, rate / 2000)
    top = level_db.max()
    axes.imshow(
        level_db.T, origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=top - 80
    )
    axes.set_yticks([0, 4, 8], ["0", "4", "8 kHz"], fontsize=7)
    axes.tick_params(axis="x", labelsize=7)
    figure.savefig(path)


if __name__ == "__main__":
    write(Path(sys.argv[1]).resolve())
