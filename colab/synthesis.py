# ---
# jupyter:
#   colab:
#     provenance: []
#   jupytext:
#     cell_metadata_filter: cellView,-all
#     formats: ipynb,py:percent
#     notebook_metadata_filter: accelerator,colab,-jupytext.text_representation.jupytext_version
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Synthesis, from an oscillator to a fitted instrument
#
# This notebook makes sounds from numbers, with oscillators, envelopes, noise, filters and a room.
# Each is a pure and differentiable function of `ddspx.core`. At the end gradient descent therefore
# fits a synthesizer to a recording, which then plays sounds that were never recorded. The code
# checks the claims of the text. `audio_features.ipynb` explains spectrum, decibels and spectrogram,
# which are used here.

# %% cellView="form"
# @title Install ddspx
# @markdown Leave `URL` empty, unless you want to install ddspx from the address of a wheel.
URL = ""  # @param {type:"string"}
import importlib
import subprocess
import sys
import tomllib
from pathlib import Path


def is_there():
    """Tells whether ddspx is installed."""
    importlib.invalidate_caches()
    try:
        import ddspx
    except ModuleNotFoundError:
        return False
    if hasattr(ddspx, "__version__"):
        return True
    # Python found a folder named ddspx, such as a clone next to the notebook, and no package.
    del sys.modules["ddspx"]
    return False


def clone():
    """Returns the folder of ddspx's source that this notebook is in or next to, or None."""
    for folder in (Path.cwd(), *Path.cwd().parents, *sorted(Path.cwd().iterdir())):
        try:
            about = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if about.get("project", {}).get("name") == "ddspx":
            return folder
    return None


def wheel():
    """Returns the newest wheel of ddspx next to this notebook, or None."""
    return max(Path.cwd().glob("ddspx-*.whl"), key=lambda file: file.stat().st_mtime, default=None)


def upload():
    """Asks for a wheel in a dialog; outside Colab raises an error that says what to do."""
    how = "in ddspx's source code `pip wheel --no-deps .` makes one, ddspx-VERSION-py3-none-any.whl"
    try:
        from google.colab import files
    except ModuleNotFoundError:
        raise RuntimeError(
            "The package index has no ddspx. Put a clone or a wheel of it next to this notebook, "
            f"and run this cell again; {how}."
        ) from None
    print(f"The package index has no ddspx. Choose a wheel of it; {how}.")
    chosen = [Path(name).resolve() for name in files.upload() if name.endswith(".whl")]
    if len(chosen) != 1:
        raise RuntimeError("One file that ends in .whl is needed; run this cell again.")
    return chosen[0]


def install(what):
    """Installs a requirement with pip."""
    # Without --upgrade pip keeps the installed jax, which may be the one for a GPU.
    command = [sys.executable, "-m", "pip", "install", "--quiet", what]
    subprocess.run(command, check=True, capture_output=True, text=True)


extras = "[plot,train]"
if not is_there():
    try:
        if found := clone() or wheel():
            install(f"{found}{extras}")
        elif URL:
            install(f"ddspx{extras} @ {URL}")
        else:
            try:
                install(f"ddspx{extras}")
            except subprocess.CalledProcessError as error:
                if "No matching distribution found for ddspx" not in error.stderr:
                    raise
                install(f"{upload()}{extras}")
    except subprocess.CalledProcessError as error:
        raise RuntimeError(f"pip could not install ddspx:\n{error.stderr}") from None
    if not is_there():
        raise RuntimeError("ddspx is installed; restart the session, and run this cell again.")
import ddspx

print(f"ddspx {ddspx.__version__}")

# %%
import os

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from IPython.display import Audio, display

from ddspx import core, features, io

# A smoke test uses shorter sounds and fewer steps; it draws the same pictures, and its checks hold.
SMOKE = os.environ.get("DDSPX_SMOKE") == "1"

plt.rcParams.update(
    {
        "figure.figsize": (11, 3.2),
        "figure.constrained_layout.use": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
)

rate, hop = 16_000, 64
frame_rate = rate // hop


def listen(*sounds):
    """A player for each sound, at the level that its samples have."""
    for sound in sounds:
        display(Audio(np.clip(np.asarray(sound), -1, 1), rate=rate, normalize=False))


def spectrograms(sounds, *, top_hz=8_000, n_fft=1024):
    """Spectrograms (dB) of named sounds side by side, each 80 dB deep."""
    _, panels = plt.subplots(1, len(sounds), sharey=True, squeeze=False, figsize=(11, 3.4))
    for axes, (title, sound) in zip(panels[0], sounds.items(), strict=True):
        power = core.spectrogram(jnp.asarray(sound), n_fft=n_fft, hop_length=hop, power=2)
        level_db = 10 * np.log10(np.maximum(np.asarray(power), 1e-10))
        axes.imshow(
            level_db.T,
            origin="lower",
            aspect="auto",
            cmap="magma",
            vmax=level_db.max(),
            vmin=level_db.max() - 80,
            extent=(0, len(sound) / rate, 0, rate / 2),
        )
        # In the outermost frames half of the window lies beyond the sound and shows a false edge.
        edge_s = n_fft / 2 / rate
        axes.set(title=title, xlabel="time (s)", ylim=(0, top_hz))
        axes.set_xlim(edge_s, len(sound) / rate - edge_s)
    panels[0, 0].set_ylabel("frequency (Hz)")
    plt.show()


# %% [markdown]
# ## 1. An oscillator
#
# A sine whose frequency changes is not $\sin(2 \pi f(t)\, t)$. The frequency is the rate at which
# the **phase** grows, so the phase is the sum of all frequencies so far:
#
# $$y[n] = a[n] \sin \phi[n], \qquad \phi[n] = 2 \pi \sum_{m \le n} f[m] / f_s.$$
#
# Below is a glide from 300 to 1200 Hz, with the right and with the wrong formula. The wrong one has
# the frequency $f(t) + t\, f'(t)$ at time $t$, and so ends at 2100 Hz.

# %%
seconds = 2
n = np.arange(seconds * rate)
glide_hz = np.linspace(300, 1200, n.size, dtype=np.float32)
wrong = 0.3 * np.sin(2 * np.pi * glide_hz.astype(float) * n / rate)
# The phase is summed in integers, without rounding errors, so it is as exact after an hour as after
# a second.
phase = core.cumulative_phase(jnp.asarray(glide_hz), sample_rate=rate)
right = 0.3 * jnp.sin(phase)
listen(wrong, right)
spectrograms({"sin(2π f(t) t)": wrong, "sum of frequencies": right}, top_hz=2_500)

ends_hz = {}
for name, sound in (("wrong", wrong), ("right", right)):
    # The last 50 ms: where in the spectrum is the peak?
    end = np.abs(np.fft.rfft(np.hanning(800) * np.asarray(sound)[-800:], 16_000))
    ends_hz[name] = end.argmax()
    print(f"{name}: ends at {end.argmax()} Hz")
assert abs(ends_hz["right"] - 1_190) < 25
assert abs(ends_hz["wrong"] - 2_080) < 50

# %% [markdown]
# ## 2. Harmonics
#
# A single sine sounds dull. The sound of a voice, a string or a pipe is a sum of **harmonics**,
# sines at multiples of one pitch. The **distribution** of the amplitude over them is most of the
# timbre:
#
# $$y[n] = \sum_{k=1}^{K} A[n]\, d_k[n] \sin(k \phi[n]).$$
#
# Pitch, amplitude and distribution change slowly, compared with the samples. They are given once
# per **frame**, here every 64 samples (250 times a second), and ddspx interpolates between frames.
# Frame $i$ holds the values at sample $64 i$.


# %%
def harmonic_tone(f0_hz, amplitudes, distribution):
    """Synthesizes harmonics from controls at frames."""
    return core.harmonic_synthesis(
        f0_hz, amplitudes, distribution, hop_length=hop, sample_rate=rate
    )


frames = 1 + frame_rate * 3 // 2
k = np.arange(1, 21, dtype=np.float32)
timbres = {
    "1 / k, as a bowed string": 1 / k,
    "odd ones, as a clarinet": (k % 2) / k,
    "a bell shape around k = 5": np.exp(-((k - 5) ** 2) / 4),
}
f0_hz = jnp.full(frames, 220.0)
# The amplitude rises and falls slowly, so that there is no click.
amplitudes = jnp.asarray(0.4 * np.sin(np.pi * np.linspace(0, 1, frames)) ** 0.5, jnp.float32)
played = {}
for name, weights in timbres.items():
    distribution = jnp.tile(jnp.asarray(weights / weights.sum()), (frames, 1))
    played[name] = harmonic_tone(f0_hz, amplitudes, distribution)
listen(*played.values())
spectrograms(played, top_hz=5_000)

# The spectrum of each sound has the given amplitudes.
for name, weights in timbres.items():
    middle = np.asarray(played[name])[8_000 : 8_000 + 8_000] * np.hanning(8_000)
    peaks = np.abs(np.fft.rfft(middle))[110 * np.arange(1, 21)]
    assert np.allclose(peaks / peaks.sum(), weights / weights.sum(), atol=0.01), name

# %% [markdown]
# **Vibrato** is a pitch that goes up and down 5 or 6 times a second, by about a quarter of a tone.
# It is added to the pitch in semitones, because a semitone is a factor of $2^{1/12}$ at any
# frequency:
# $f = 440 \cdot 2^{(m - 69)/12}$ with $m$ in semitones.

# %%
time_s = np.arange(frames) / frame_rate
depth = np.clip(time_s - 0.3, 0, 0.5)
midi = 57 + depth * np.sin(2 * np.pi * 5.5 * time_s)
vibrato_hz = core.midi_to_hz(jnp.asarray(midi, jnp.float32))
distribution = jnp.tile(
    jnp.asarray(timbres["1 / k, as a bowed string"] / np.sum(1 / k)), (frames, 1)
)
listen(harmonic_tone(vibrato_hz, amplitudes, distribution))

# %% [markdown]
# ## 3. Sawtooth and square, without false tones
#
# The classic waveforms have edges, and edges have infinitely many harmonics. If a waveform is
# computed sample by sample, the harmonics above half the sample rate fold back to tones that do not
# belong to the note (aliasing). ddspx adds up only the harmonics below half the sample rate. Listen
# to both: the false tones move against the glide.

# %%
sweep_frames = 1 + 2 * frame_rate
sweep_hz = core.midi_to_hz(jnp.linspace(69.0, 105.0, sweep_frames))
level = jnp.full(sweep_frames, 0.2)
clean = core.sawtooth(sweep_hz, level, hop_length=hop, sample_rate=rate)
each_sample_hz = core.upsample(sweep_hz, hop_length=hop, method="linear")
cycles = core.cumulative_phase(each_sample_hz, sample_rate=rate) / (2 * np.pi)
naive = 0.2 * (2 * np.mod(np.asarray(cycles), 1) - 1)
listen(naive, clean)
spectrograms({"sample by sample": naive, "core.sawtooth": clean})

# How much of the energy of a steady tone is further than 5 Hz from all harmonics?
f0 = 1_251
steady = {
    "sample by sample": 2 * np.mod(np.arange(rate) * f0 / rate, 1) - 1,
    "core.sawtooth": core.sawtooth(
        jnp.full(251, float(f0)), jnp.ones(251), hop_length=hop, sample_rate=rate
    ),
}
false_db = {}
bins_hz = np.arange(rate // 2 + 1)
off = np.abs((bins_hz + f0 // 2) % f0 - f0 // 2) > 5
for name, sound in steady.items():
    power = np.abs(np.fft.rfft(np.blackman(rate) * np.asarray(sound, float))) ** 2
    false_db[name] = 10 * np.log10(power[off].sum() / power.sum())
    print(f"{name}: false tones at {false_db[name]:.0f} dB")
assert false_db["sample by sample"] > -30
assert false_db["core.sawtooth"] < -80

# %% [markdown]
# ## 4. Envelopes
#
# A note has a shape in time: **attack**, **decay**, **sustain**, **release**. `core.adsr` gives it
# per frame, as a factor of the amplitude.

# %%
note_frames = 1 + frame_rate * 3 // 2
shapes = {
    "organ": {"attack_s": 0.03, "decay_s": 0.01, "sustain": 1.0, "release_s": 0.05},
    "plucked": {"attack_s": 0.005, "decay_s": 0.9, "sustain": 0.0, "release_s": 0.2},
    "pad": {"attack_s": 0.5, "decay_s": 0.3, "sustain": 0.6, "release_s": 0.5},
}
figure, axes = plt.subplots(figsize=(11, 2.6))
for name, times in shapes.items():
    envelope = core.adsr(
        0.0,
        0.95,
        **times,
        n_frames=note_frames,
        hop_length=hop,
        sample_rate=rate,
        shape="exponential",
    )
    axes.plot(np.arange(note_frames) / frame_rate, envelope, label=name)
    tone_hz = jnp.full(note_frames, 220.0)
    listen(core.sawtooth(tone_hz, 0.2 * envelope, hop_length=hop, sample_rate=rate))
axes.set(xlabel="time (s)", ylabel="amplitude")
axes.legend()
plt.show()

# %% [markdown]
# ## 5. Noise
#
# Breath, bow and surf are **noise**. White noise has all frequencies alike; a filter gives it a
# colour. `core.filtered_noise` takes the gains of equally spaced frequencies, from 0 Hz to half the
# sample rate, for each frame. Below, a band of noise that wanders: wind.

# %%
wind_s = 2 if SMOKE else 4
wind_frames, bands = 1 + wind_s * frame_rate, 65
wander = np.linspace(0, wind_s, wind_frames)[:, None]
center_hz = 900 + 500 * np.sin(2 * np.pi * 0.4 * wander) + 250 * np.sin(2 * np.pi * 1.1 * wander)
bands_hz = np.linspace(0, rate / 2, bands)
gains = 0.6 * np.exp(-(((bands_hz - center_hz) / 300) ** 2))
wind = core.filtered_noise(jax.random.key(0), jnp.asarray(gains, jnp.float32), hop_length=hop)
listen(wind)
spectrograms({"wind": wind}, top_hz=4_000)

# The measured spectrum is the given one: here a slope of 40 dB.
slope = jnp.asarray(10 ** (-2 * bands_hz / bands_hz[-1]), jnp.float32)
hiss = core.filtered_noise(
    jax.random.key(1), jnp.tile(slope, (1 + 8 * frame_rate, 1)), hop_length=hop
)
measured = np.mean(core.spectrogram(hiss, n_fft=128, hop_length=64, power=2), axis=0)
# Uniform noise has the power 1/3, and the Hann window of 128 passes 3/8 of 128 of it.
measured_db = 10 * np.log10(measured / (128 * 3 / 8 / 3))
target_db = 20 * np.log10(np.asarray(slope))
print(f"off by at most {np.abs(measured_db - target_db)[2:-2].max():.2f} dB")
assert np.abs(measured_db - target_db)[2:-2].max() < 1

# %% [markdown]
# ## 6. Filters
#
# The synthesizers of the seventies start with all harmonics, a sawtooth, and remove some of them
# with a filter. A **biquad** is a filter that uses two past samples of its input and two of its
# output,
#
# $$y[n] = b_0 x[n] + b_1 x[n-1] + b_2 x[n-2] - a_1 y[n-1] - a_2 y[n-2],$$
#
# and its gain at $f$ is $|H(e^{i \omega})|$ with $\omega = 2\pi f / f_s$ and
#
# $$H(z) = \frac{b_0 + b_1 z^{-1} + b_2 z^{-2}}{1 + a_1 z^{-1} + a_2 z^{-2}}.$$
#
# `core.biquad` finds the five numbers for a frequency in Hz and a quality $q$: how much it
# resonates there.

# %%
hz = np.geomspace(50, 7_900, 400)
z = np.exp(2j * np.pi * hz / rate)
figure, axes = plt.subplots()
for q, kind in ((0.707, "lowpass"), (6.0, "lowpass"), (2.0, "bandpass"), (0.707, "highpass")):
    section = np.asarray(core.biquad(1_000.0, kind=kind, sample_rate=rate, q=q), float)
    b, a = section[:3], section[3:]
    gain = np.abs(np.polyval(b[::-1], 1 / z) / np.polyval(a[::-1], 1 / z))
    axes.semilogx(hz, 20 * np.log10(gain), label=f"{kind}, q = {q}")

    # An impulse has a flat spectrum, so the spectrum of the output is the gain of the filter.
    impulse = jnp.zeros(rate).at[0].set(1.0)
    response = np.abs(
        np.fft.rfft(core.sos_filter(impulse, jnp.asarray(section[None], jnp.float32)))
    )
    at = np.round(hz).astype(int)
    z_at = np.exp(2j * np.pi * at / rate)
    expected = np.abs(np.polyval(b[::-1], 1 / z_at) / np.polyval(a[::-1], 1 / z_at))
    assert np.allclose(response[at], expected, atol=1e-3), kind
axes.set(xlabel="frequency (Hz)", ylabel="gain (dB)", ylim=(-40, 20), title="biquads at 1 kHz")
axes.grid(alpha=0.3)
axes.legend()
plt.show()

# %% [markdown]
# A filter may change over time: with `hop_length`, `core.sos_filter` takes a section for each
# frame. A sawtooth, a resonant low-pass that opens and closes with each note, and an envelope make
# a bass line.

# %%
line = (33, 33, 45, 33, 36, 33, 48, 43)  # MIDI notes, A1 and up
note_s = 0.25
per_note = round(note_s * frame_rate)
line = line[:4] if SMOKE else line * 2
bass_frames = 1 + per_note * len(line)
since_s = (np.arange(bass_frames) % per_note) / frame_rate
line_midi = np.repeat(line, per_note)
line_hz = core.midi_to_hz(jnp.asarray(np.append(line_midi, line[-1]), jnp.float32))
pluck = jnp.asarray(np.minimum(since_s / 0.004, 1) * np.exp(-since_s / 0.18), jnp.float32)
cutoff_hz = 150.0 + 2_500.0 * jnp.asarray(np.exp(-since_s / 0.07), jnp.float32)
raw = core.sawtooth(line_hz, 0.3 * pluck, hop_length=hop, sample_rate=rate)
sections = core.biquad(cutoff_hz, kind="lowpass", sample_rate=rate, q=5.0)
bass = core.sos_filter(raw, sections[:, None, :], hop_length=hop)
listen(raw, bass)
spectrograms({"sawtooth": raw, "through the filter": bass}, top_hz=4_000)
brightness = [
    float(
        jnp.mean(
            core.spectral_centroid(
                core.spectrogram(sound, n_fft=1024, hop_length=hop), sample_rate=rate
            )
        )
    )
    for sound in (raw, bass)
]
print("spectral centroid before and after: {:.0f} and {:.0f} Hz".format(*brightness))
assert brightness[1] < brightness[0] / 2

# %% [markdown]
# ## 7. A room
#
# The effect of a room on a sound is a very long filter. Its coefficients are the **impulse
# response**, the echo of a very short clap. A simple model of it is noise that decays
# exponentially. The sound is convolved with it,
#
# $$y[n] = x[n] + \sum_k h[k]\, x[n - k].$$

# %%
taps = rate
decay_s = 0.15  # in this time it falls to 1 / e
fading = np.exp(-np.arange(taps) / (decay_s * rate))
echoes = 0.05 * np.asarray(core.white_noise(jax.random.key(2), (taps,))) * fading
# Convolution adds as many samples as the impulse response has; here the end is cut off.
wet = core.fft_convolve(bass, jnp.asarray(echoes, jnp.float32), mode="full")[: bass.size]
listen(bass, bass + wet)

# A decay by 60 dB takes ln(1000) = 6.9 times as long as a decay by the factor e.
figure, axes = plt.subplots(figsize=(11, 2.6))
energy = np.cumsum(echoes[::-1] ** 2)[::-1]
decay_db = 10 * np.log10(energy / energy[0])
axes.plot(np.arange(taps) / rate, decay_db, linewidth=1)
axes.axline((0, 0), slope=-60 / (6.9078 * decay_s), color="C1", linestyle="--", linewidth=1)
axes.set(xlabel="time (s)", ylabel="energy left (dB)", ylim=(-60, 2), xlim=(0, 1))
plt.show()
reached_s = np.argmax(decay_db < -30) / rate
print(f"-30 dB after {reached_s:.2f} s; by the formula {6.9078 * decay_s / 2:.2f} s")
assert abs(reached_s / (6.9078 * decay_s / 2) - 1) < 0.05

# %% [markdown]
# ## 8. Fitting one parameter by gradient descent
#
# All of these functions are differentiable: JAX computes how a loss changes with each of their
# inputs. As an example, we estimate the cutoff of a filtered noise. The loss compares the
# spectrograms of the target and of our noise at several frame sizes, in amplitude and in its
# logarithm (`core.multi_scale_spectral_loss`), and gradient descent makes it smaller.

# %%
noise = core.white_noise(jax.random.key(3), (rate // 2,))


def filtered(log_cutoff):
    """Synthesizes noise below a cutoff, given by its logarithm because we hear ratios."""
    section = core.biquad(jnp.exp(log_cutoff), kind="lowpass", sample_rate=rate)
    return core.sos_filter(noise, section[None])


target = filtered(jnp.log(1_500.0))


@jax.jit
def distance(log_cutoff):
    """Returns the spectral loss between the noise and the target."""
    return core.multi_scale_spectral_loss(target, filtered(log_cutoff), n_ffts=(1024, 256))


slope_of = jax.jit(jax.value_and_grad(distance))
knob, path = jnp.log(400.0), []
for _ in range(60):
    loss, slope = slope_of(knob)
    path.append((float(jnp.exp(knob)), float(loss)))
    # Only the sign of the slope is used; the length of the step shrinks from step to step.
    knob = knob - 0.12 * 0.95 ** len(path) * jnp.sign(slope)
found_hz = float(jnp.exp(knob))

many_hz = np.geomspace(200, 7_000, 60)
figure, axes = plt.subplots()
axes.semilogx(many_hz, [float(distance(jnp.log(f))) for f in many_hz], color="gray")
axes.semilogx(*zip(*path, strict=True), ".-", linewidth=1, label="the way down")
axes.axvline(1_500, color="C1", linewidth=1, label="the cutoff of the target")
axes.set_xticks([200, 500, 1_000, 2_000, 5_000], ["200", "500", "1000", "2000", "5000"])
axes.minorticks_off()
axes.set(xlabel="cutoff (Hz)", ylabel="loss")
axes.legend()
plt.show()
print(f"found {found_hz:.0f} Hz")
assert abs(found_hz / 1_500 - 1) < 0.05

# %% [markdown]
# The **frequency** of a tone cannot be found in this way. The loss has a narrow minimum at the
# right pitch, and many small local minima around it, in which the descent gets stuck. That is why
# the pitch is *measured* by a pitch tracker, and only the other parameters are trained.

# %%
tone_frames = 1 + frame_rate // 2


@jax.jit
def from_440(f):
    """Returns the loss between a tone of 440 Hz and one of f Hz, both with 8 harmonics."""
    flat = jnp.ones((tone_frames, 8)) / 8
    tones = [
        harmonic_tone(jnp.full(tone_frames, pitch), jnp.full(tone_frames, 0.3), flat)
        for pitch in (440.0, f)
    ]
    return core.multi_scale_spectral_loss(*tones)


many_hz = 440 * 2 ** np.linspace(-1, 1, 97 if SMOKE else 385)
losses = np.array([float(from_440(f)) for f in many_hz.astype(np.float32)])
figure, axes = plt.subplots()
axes.semilogx(many_hz, losses)
axes.set_xticks([220, 330, 440, 660, 880], ["220", "330", "440", "660", "880"])
axes.minorticks_off()
axes.set(xlabel="frequency (Hz)", ylabel="loss", title="a tone of 440 Hz, from everywhere")
plt.show()
inner = losses[1:-1]
dips = np.sum((inner < losses[:-2]) & (inner < losses[2:]))
print(f"{dips - 1} local minima beside the right one")
assert losses.argmin() == many_hz.size // 2
assert dips > 10

# %% [markdown]
# ## 9. Fitting an instrument to a recording
#
# Now we fit a whole synthesizer. The recording is a sung tune, and its pitch is measured. The
# parameters of each frame are the amplitudes of the harmonics and the gains of a filtered noise for
# the breath: about 6000 parameters for each second. All frames start with the same values, and Adam
# (gradient descent with controlled steps) changes all of them at once to reduce the spectral loss.
#
# In Colab, you can set `PATH` to a file that you have uploaded, of one voice or instrument.

# %%
PATH = ""  # @param {type:"string"}

home = Path(ddspx.__file__).parent
places = home / "melody.flac", home.parent / "examples" / "melody" / "melody.flac"
melody = next(place for place in places if place.is_file())
whole = io.read_audio(PATH or melody, sample_rate=rate)
fit_hop = 256  # 62 frames a second: what a singer does is not faster
length = min(whole.size, (2 if SMOKE else 6) * rate) // fit_hop * fit_hop
recording = jnp.asarray(whole[:length])
f0_hz, confidence = features.track_pitch(recording, sample_rate=rate, hop_length=fit_hop)
f0_hz = jnp.asarray(f0_hz)
frames, n_harmonics = f0_hz.size, 30
knobs = {
    "harmonics": jnp.full((frames, n_harmonics), -3.0),
    "breath": jnp.full((frames, bands), -4.0),
}


def instrument(knobs, f0_hz):
    """Synthesizes harmonics and breath; `exp_sigmoid` turns any number into a positive amplitude."""
    tone = core.harmonic_synthesis(
        f0_hz,
        jnp.ones_like(f0_hz),
        core.exp_sigmoid(knobs["harmonics"]),
        hop_length=fit_hop,
        sample_rate=rate,
    )
    gains = core.exp_sigmoid(knobs["breath"])
    return tone + core.filtered_noise(jax.random.key(4), gains, hop_length=fit_hop)


steps = 60 if SMOKE else 200
optimizer = optax.adam(optax.cosine_decay_schedule(0.3, steps))


def loss_of(knobs):
    """Returns the spectral loss between the recording and its synthesis."""
    return core.multi_scale_spectral_loss(recording, instrument(knobs, f0_hz))


@jax.jit
def learn(knobs, state):
    """Takes one step of gradient descent."""
    loss, gradient = jax.value_and_grad(loss_of)(knobs)
    updates, state = optimizer.update(gradient, state)
    return optax.apply_updates(knobs, updates), state, loss


before = instrument(knobs, f0_hz)
state, losses = optimizer.init(knobs), []
for _ in range(steps):
    knobs, state, loss = learn(knobs, state)
    losses.append(float(loss))
after = instrument(knobs, f0_hz)
print(f"the loss fell from {losses[0]:.2f} to {losses[-1]:.2f} in {steps} steps")
assert losses[-1] < losses[0] / 3

figure, axes = plt.subplots(figsize=(11, 2.6))
axes.plot(losses)
axes.set(xlabel="step", ylabel="loss", ylim=(0, None))
plt.show()

# %%
listen(recording, before, after)
spectrograms({"recording": recording, "before": before, "after": after})

# The synthesis has the pitch and the loudness of the recording.
grid = {"sample_rate": rate, "hop_length": fit_hop}
replayed_hz, replayed_confidence = features.track_pitch(after, **grid)
both = (confidence > 0.5) & (replayed_confidence > 0.5)
cents = np.abs(1200 * np.log2(replayed_hz / np.asarray(f0_hz)))[both]
louder_db = core.loudness_db(after, **grid) - core.loudness_db(recording, **grid)
off_db = float(jnp.median(jnp.abs(louder_db)[jnp.asarray(both)]))
print(f"pitch off by {np.median(cents):.1f} cents, loudness by {off_db:.1f} dB (medians)")
assert np.median(cents) < 5
assert off_db < 1

# %% [markdown]
# ## 10. Playing what was not recorded
#
# The recording is now described by parameters with a meaning, which can be changed independently.
# You can change the pitch and keep the vowels, stretch the time and keep the pitch, or raise the
# breath until the voice is a whisper.


# %%
def at(track, places):
    """Interpolates a track linearly between its frames."""
    read = jax.vmap(lambda column: jnp.interp(places, jnp.arange(len(track)), column), 1, 1)
    return read(track.reshape(len(track), -1)).reshape(len(places), *track.shape[1:])


# A fourth down. Harmonic k of the new pitch has the frequency of "harmonic" k times the ratio of
# the old pitch. It gets the amplitude interpolated at that frequency, which keeps the vowel.
ratio = 2 ** (-5 / 12)
numbers = jnp.arange(n_harmonics) * ratio + ratio - 1
lower = {**knobs, "harmonics": at(knobs["harmonics"].T, jnp.maximum(numbers, 0)).T}
transposed = instrument(lower, f0_hz * ratio)

# Time stretched by a factor of 1.5: the same tracks, read more slowly.
places = jnp.linspace(0, frames - 1, (frames - 1) * 3 // 2 + 1)
slow = instrument({name: at(track, places) for name, track in knobs.items()}, at(f0_hz, places))

# A whisper has no harmonics.
whisper = instrument(
    {"harmonics": jnp.full_like(knobs["harmonics"], -20.0), "breath": knobs["breath"] + 1.5}, f0_hz
)
listen(transposed, slow, whisper)
spectrograms({"a fourth lower": transposed, "slower": slow, "whispered": whisper})

moved_hz, moved_confidence = features.track_pitch(transposed, **grid)
both = (confidence > 0.5) & (moved_confidence > 0.5)
semitones = np.median(12 * np.log2(moved_hz / np.asarray(f0_hz))[both])
print(f"moved by {semitones:.2f} semitones; {slow.size / after.size:.2f} times as long")
assert abs(semitones + 5) < 0.1
slow_hz, slow_confidence = features.track_pitch(slow, **grid)
sung_hz, held_hz = (
    np.median(track[sure > 0.5])
    for track, sure in ((np.asarray(f0_hz), confidence), (slow_hz, slow_confidence))
)
assert abs(12 * np.log2(held_hz / sung_hz)) < 0.2
assert np.mean(features.track_pitch(whisper, **grid)[1] > 0.5) < 0.2
assert abs(slow.size / after.size - 1.5) < 0.01

# %% [markdown]
# Here every frame has its own parameters, so they describe this recording and no other. An
# **instrument** of ddspx is a network that computes the parameters from a pitch and a loudness.
# Train one in `train_autoencoder.ipynb`, and play one in `timbre_transfer.ipynb`.
