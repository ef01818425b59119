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
# # Audio features, step by step
#
# This notebook explains how programs describe sound: samples, tones, decibels, spectrum,
# spectrogram, mel scale, MFCC, pitch and loudness. Each feature is first computed by hand, in a
# line or two of NumPy, and then by one call of `ddspx`. The code checks that both agree, and that
# the claims of the text are true. You only need to know what a sine is.
#
# The sound is a tune of eight seconds, sung on open vowels. At the end you can use a sound of your
# own.

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
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Audio, display

from ddspx import core, features, io

plt.rcParams.update(
    {
        "figure.figsize": (11, 3.2),
        "figure.constrained_layout.use": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "image.cmap": "magma",
    }
)


def listen(audio, rate):
    """Shows a player, without changing the level of the samples."""
    display(Audio(np.asarray(audio), rate=rate, normalize=False))


# %% [markdown]
# ## 1. Sound is a list of numbers
#
# A microphone measures the pressure of the air, many times each second. These numbers are the
# sound: sample number $n$ is the pressure $x(t)$ at the time $t = n / f_s$,
#
# $$x[n] = x(n / f_s).$$
#
# $f_s$ is the **sample rate**: 16 000 samples per second here, 44 100 on a CD. Full scale is 1.

# %%
# The tune comes with ddspx; in a checkout it is one of the examples.
home = Path(ddspx.__file__).parent
places = home / "melody.flac", home.parent / "examples" / "melody" / "melody.flac"
melody = next(place for place in places if place.is_file())

rate = 16_000
audio = io.read_audio(melody, sample_rate=rate)
time_s = np.arange(audio.size) / rate
print(f"{audio.size} samples, {audio.size / rate:.2f} s, the largest is {np.abs(audio).max():.2f}")
listen(audio, rate)

figure, (whole, close) = plt.subplots(1, 2, width_ratios=(2, 1))
whole.plot(time_s, audio, linewidth=0.3)
whole.set(xlabel="time (s)", ylabel="sample", title="the whole tune", xlim=(0, time_s[-1]))
part = slice(round(1.4 * rate), round(1.4 * rate) + 160)
close.plot(1000 * time_s[part], audio[part], ".-", markersize=3, linewidth=0.6)
close.set(xlabel="time (ms)", title="10 ms of it")
plt.show()

# %% [markdown]
# To a program the sound is an array, and these are all of its properties. The sample rate is not
# among them: a file stores it in addition to the samples. Played at another rate, the samples are a
# different sound. At half the rate the tune takes twice as long and lies an octave lower, at twice
# the rate it takes half as long and lies an octave higher.

# %%
print(f"type {type(audio).__name__} of {audio.dtype}, shape {audio.shape}, {audio.nbytes} bytes")
print(f"from {audio.min():.3f} to {audio.max():.3f}, mean {audio.mean():.5f}")
print("the first of the middle:", audio[audio.size // 2 :][:6].round(3))
for factor in (1, 0.5, 2):
    print(f"at {factor} x {rate} Hz: {audio.size / (factor * rate):.2f} s")
    listen(audio, round(factor * rate))

# %% [markdown]
# The samples do not tell what happens between them. A tone of frequency $f$ and a tone of $f_s - f$
# have the same samples, except for the sign:
#
# $$\sin(2\pi (f_s - f)\, n / f_s) = -\sin(2\pi f n / f_s).$$
#
# So a tone above half the sample rate, the **Nyquist frequency**, appears below it, at a false
# pitch. That is **aliasing**.

# %%
slow_rate, n = 8_000, np.arange(8_000)
low, high = (np.sin(2 * np.pi * f * n / slow_rate) for f in (1_000, 7_000))
assert np.allclose(low, -high, atol=1e-9)

figure, axes = plt.subplots()
fine_s = np.arange(0, 2e-3, 1e-6)
for f, sign, color in ((1_000, 1, "C0"), (7_000, -1, "C1")):
    curve = sign * np.sin(2 * np.pi * f * fine_s)
    axes.plot(1000 * fine_s, curve, color, linewidth=1, label=f"{f} Hz")
axes.plot(1000 * n[:17] / slow_rate, low[:17], "ko", label="samples at 8 kHz: the same")
axes.set(xlabel="time (ms)", title="two tones, one list of numbers", ylim=(-1.1, 1.6))
axes.legend(loc="upper center", ncols=3)
plt.show()

# %% [markdown]
# Before the rate of a recording is lowered, the frequencies above the new Nyquist frequency must be
# filtered out. Below is the tune at 4000 samples per second: the first version takes every fourth
# sample, the second one filters before. Listen for the rustle and the false tones in the first.

# %%
few_rate = 4_000
naive = audio[::4]
filtered = np.asarray(core.resample(jnp.asarray(audio), orig_rate=rate, target_rate=few_rate))
listen(naive, few_rate)
listen(filtered, few_rate)
alias_db = 10 * np.log10(np.sum((naive - filtered) ** 2) / np.sum(filtered**2))
print(f"the aliases are at {alias_db:.1f} dB relative to the tune")
assert -30 < alias_db < -15

# %% [markdown]
# A sample has a limited number of digits, too. With $b$ bits the steps between the values are
# $\Delta = 2^{1 - b}$ high, and rounding adds a noise of power $\Delta^2 / 12$: each bit is worth
# 6 dB. With eight bits you can hear the noise.

# %%
bits = 8
step = 2.0 ** (1 - bits)
coarse = np.round(audio / step) * step
listen(coarse, rate)

# In the loud parts of the tune the rounding errors are practically random.
sounding = np.abs(audio) > 4 * step
noise = np.mean((coarse - audio)[sounding] ** 2)
print(f"noise of rounding: {noise:.2e}; by the formula: {step**2 / 12:.2e}")
assert abs(noise / (step**2 / 12) - 1) < 0.05

# %% [markdown]
# ## 2. Tones
#
# The simplest sound is a sine, $x(t) = a \sin(2 \pi f t + \varphi)$: an amplitude $a$, a frequency
# $f$ in Hz, and a phase $\varphi$, which is hardly audible by itself. We hear **ratios** of
# frequencies: twice any frequency is an octave above it, and each of the twelve
# semitones in it is a factor of $2^{1/12} \approx 1.059$. So pitch is counted on a logarithmic
# scale; MIDI numbers the keys of a piano, with 69 for the A of 440 Hz:
#
# $$m = 69 + 12 \log_2 \frac{f}{440}.$$

# %%
for name, f in (("A3", 220.0), ("A4", 440.0), ("E5", 659.26), ("A5", 880.0)):
    midi = 69 + 12 * np.log2(f / 440)
    assert abs(midi - float(core.hz_to_midi(f))) < 1e-4
    print(f"{name}: {f:7.2f} Hz is key {midi:.2f}")

second = np.arange(rate) / rate
steps_hz = 440 * 2 ** (np.array([0, 2, 4, 5, 7, 9, 11, 12]) / 12)
scale = np.concatenate([0.2 * np.sin(2 * np.pi * f * second[: rate // 4]) for f in steps_hz])
listen(scale, rate)

# %% [markdown]
# The sound of a voice or an instrument is not a sine. While it holds a note, the sound repeats, and
# every sound that repeats $f_0$ times a second is a sum of sines at $f_0, 2 f_0, 3 f_0, \dots$: the
# **harmonics** of the **fundamental** $f_0$. The rate of repetition is the pitch; the strengths of
# the harmonics are the timbre. The fundamental may even be missing: the other harmonics still
# repeat $f_0$ times a second, and have the same pitch.

# %%
f0_hz = 200.0
harmonics = np.array([np.sin(2 * np.pi * k * f0_hz * second) / k for k in range(1, 11)])
sounds = {
    "a sine": 0.3 * harmonics[0],
    "ten harmonics": 0.3 * harmonics.sum(axis=0),
    "without the first": 0.3 * harmonics[1:].sum(axis=0),
}
period = round(rate / f0_hz)
figure, panels = plt.subplots(1, 3, sharey=True, figsize=(11, 2.4))
for axes, (title, sound) in zip(panels, sounds.items(), strict=True):
    assert np.allclose(sound[period:], sound[:-period], atol=1e-9)
    axes.plot(1000 * second[: 4 * period], sound[: 4 * period], linewidth=1)
    axes.set(xlabel="time (ms)", title=title)
    listen(sound, rate)
plt.show()

# %% [markdown]
# In the 10 ms of the tune above you can count the periods. To measure one, compare the sound with
# itself some samples later; the delay at which it agrees best is the period. This is the
# **autocorrelation**
#
# $$r[d] = \sum_n x[n]\, x[n + d].$$

# %%
start = round(1.4 * rate)
excerpt = audio[start : start + 1024]
delays = np.arange(20, 80)
agreement = np.array([np.dot(excerpt, audio[start + d : start + d + 1024]) for d in delays])
best = agreement.argmax()
# The period is not a whole number of samples, so the maximum is interpolated by a parabola.
before, peak, after = agreement[best - 1 : best + 2]
period = delays[best] + (before - after) / (before - 2 * peak + after) / 2
sung_hz = rate / period
print(f"it repeats after {period:.2f} samples: {sung_hz:.1f} Hz")
# The score has an A4 here, which the vibrato moves by up to half a semitone.
assert abs(sung_hz / 440 - 1) < 0.05

figure, axes = plt.subplots(figsize=(11, 2.4))
axes.plot(delays, agreement / np.dot(excerpt, excerpt))
axes.axvline(period, color="C1", linewidth=1, label=f"{period:.2f} samples")
axes.set(xlabel="delay (samples)", ylabel="agreement")
axes.legend()
plt.show()

# %% [markdown]
# ## 3. Decibels
#
# We hear ratios of loudness, too. The **level** of an amplitude $a$, or of a power $p = a^2$, is
#
# $$L = 20 \log_{10} a = 10 \log_{10} p \quad \text{dB}.$$
#
# Twice any amplitude is 6 dB more, ten times is 20 dB more. Full scale is 0 dB, so levels of
# recordings are negative. Below is the same tone, 10 dB softer each time.

# %%
for ratio in (0.5, 1.0, 2.0, 10.0):
    print(f"amplitude x {ratio:4}: {20 * np.log10(ratio):+.2f} dB")
    assert abs(20 * np.log10(ratio) - float(core.amplitude_to_db(ratio))) < 1e-4
tone = np.sin(2 * np.pi * 440 * second[: rate // 2])
listen(np.concatenate([10 ** (level_db / 20) * tone for level_db in (-6, -16, -26, -36)]), rate)

# %% [markdown]
# The level of a stretch of sound is that of its mean power. Cut the tune into **frames**, one every
# 10 ms (the **hop**), each a bit longer than the hop, and you have its level over time. Frame $i$
# is centred on sample $i \cdot \text{hop}$, here and everywhere in ddspx: there are
# $1 + \lfloor N / \text{hop} \rfloor$ of them.
#
# The ear is most sensitive between 1 and 5 kHz, and hears little below 100 Hz. **A-weighting** is
# the standard approximation of this: it weights the spectrum before the powers are added. ddspx's
# instruments use this loudness. (Its scale is not that of the samples: a tone of 1 kHz at full
# scale is near +20 dB.)

# %%
hop, frame_length = 160, 512
padded = np.pad(audio, frame_length // 2)
frames = np.lib.stride_tricks.sliding_window_view(padded, frame_length)[::hop]
level_db = 10 * np.log10(np.mean(frames**2, axis=1) + 1e-8)
assert len(frames) == 1 + audio.size // hop == core.n_frames(audio.size, hop_length=hop)

loudness_db = core.loudness_db(jnp.asarray(audio), sample_rate=rate, hop_length=hop)
frame_s = np.arange(len(frames)) * hop / rate
hz = np.geomspace(30, 8_000, 200).astype(np.float32)

figure, (over_time, ear) = plt.subplots(1, 2, width_ratios=(2, 1))
over_time.plot(frame_s, level_db, label="level", linewidth=1)
over_time.plot(frame_s, loudness_db, label="A-weighted loudness", linewidth=1)
over_time.set(xlabel="time (s)", ylabel="dB", title="the tune", xlim=(0, frame_s[-1]))
over_time.legend()
ear.semilogx(hz, core.a_weighting_db(hz))
ear.set(xlabel="frequency (Hz)", title="A-weighting")
ear.grid(alpha=0.3)
plt.show()

hundred_db, thousand_db = core.a_weighting_db(np.array([100.0, 1_000.0], np.float32))
print(f"100 Hz counts {thousand_db - hundred_db:.0f} dB less than 1 kHz. Equal amplitudes:")
for f in (100, 1_000):
    listen(0.3 * np.sin(2 * np.pi * f * second), rate)
assert 18 < thousand_db - hundred_db < 20

# %% [markdown]
# ## 4. The spectrum of a moment
#
# Which frequencies are in a frame? Compare it with sines and cosines of all frequencies that fit
# into it, $f_k = k f_s / N$. That is the **Fourier transform**,
#
# $$X[k] = \sum_{n=0}^{N-1} w[n]\, x[n]\, e^{-2 \pi i k n / N},
# \qquad e^{-i \varphi} = \cos \varphi - i \sin \varphi.$$
#
# $|X[k]|$ is the strength of the frequency $f_k$, and the angle of $X[k]$ is its phase. The fast
# Fourier transform (FFT) computes the same numbers in less time. The **window** $w$ fades the frame
# in and out. Without it, the frame is cut off abruptly at both ends, and that cut spreads energy
# over all frequencies.

# %%
n_fft = 1024
frame = audio[start : start + n_fft]
sines = np.exp(-2j * np.pi * np.outer(np.arange(n_fft // 2 + 1), np.arange(n_fft)) / n_fft)
window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
by_hand = sines @ (window * frame)
assert np.allclose(by_hand, np.fft.rfft(window * frame), atol=1e-6)

bins_hz = np.arange(n_fft // 2 + 1) * rate / n_fft
figure, axes = plt.subplots(figsize=(11, 3.6))
for name, spectrum in (("no window", sines @ frame), ("Hann window", by_hand)):
    axes.plot(bins_hz, 20 * np.log10(np.abs(spectrum) + 1e-4), linewidth=1, label=name)
for k in range(1, 19):
    axes.axvline(k * sung_hz, color="gray", linewidth=0.4)
axes.set(xlabel="frequency (Hz)", ylabel="dB", xlim=(0, 8000), title="harmonics of a sung A4")
axes.legend()
plt.show()

# The strongest bins near the first harmonics lie where multiples of the pitch should.
for k in range(1, 4):
    near = np.abs(bins_hz - k * sung_hz) < sung_hz / 2
    peak_hz = bins_hz[near][np.abs(by_hand[near]).argmax()]
    print(f"harmonic {k}: expected near {k * sung_hz:.0f} Hz, found at {peak_hz:.0f} Hz")
    assert abs(peak_hz - k * sung_hz) < 2 * rate / n_fft

# %% [markdown]
# The spectrum keeps the energy: the sum of the squared samples of the frame equals that of its
# spectrum, divided by $N$ (Parseval's theorem). Only half of the bins are stored, as the other half
# mirrors them.

# %%
energy_in_time = np.sum((window * frame) ** 2)
both_sides = np.r_[1, np.full(n_fft // 2 - 1, 2), 1]
energy_in_spectrum = np.sum(both_sides * np.abs(by_hand) ** 2) / n_fft
print(f"energy in time {energy_in_time:.4f}, in the spectrum {energy_in_spectrum:.4f}")
assert np.isclose(energy_in_time, energy_in_spectrum, rtol=1e-4)

# %% [markdown]
# ## 5. The spectrogram
#
# A spectrum for each frame, side by side: the **short-time Fourier transform** (STFT). The picture
# of its levels is the **spectrogram**: time to the right, frequency upwards, bright is loud. The
# harmonics are the lines at equal distances; you see the tune in them, the vibrato, and the
# breaths in between.


# %%
def spectrogram_by_hand(audio, n_fft, hop):
    """Magnitudes (frames, bins) of the audio around every hop-th sample."""
    padded = np.pad(audio, n_fft // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    return np.abs(np.fft.rfft(window * frames))


def level_picture(axes, power, rows, title, label):
    """Levels of powers (frames, features) over time, down to 80 dB below the loudest."""
    level_db = 10 * np.log10(np.maximum(np.asarray(power), 1e-12))
    edges_s = (np.arange(len(level_db) + 1) - 0.5) * hop / rate
    top_db = level_db.max()
    image = axes.pcolormesh(edges_s, rows, level_db.T, vmin=top_db - 80, vmax=top_db)
    axes.set(title=title, ylabel=label, xlim=(0, audio.size / rate))
    return image


def edges_of(centers):
    """Borders of rows with these centres."""
    middles = (centers[1:] + centers[:-1]) / 2
    return np.r_[2 * centers[0] - middles[0], middles, 2 * centers[-1] - middles[-1]]


magnitude = spectrogram_by_hand(audio, n_fft, hop)
by_ddspx = core.spectrogram(jnp.asarray(audio), n_fft=n_fft, hop_length=hop)
assert magnitude.shape == by_ddspx.shape
assert np.allclose(magnitude, by_ddspx, atol=1e-3)

figure, axes = plt.subplots(figsize=(11, 4))
image = level_picture(axes, magnitude**2, edges_of(bins_hz), "spectrogram", "frequency (Hz)")
axes.set(xlabel="time (s)", ylim=(0, 6000))
figure.colorbar(image, label="dB")
plt.show()

# %% [markdown]
# The picture without its axes can be the input of a network for images: an array of levels, a row
# for each frequency, scaled to the range from 0 to 1.

# %%
picture_db = 20 * np.log10(np.maximum(magnitude, 1e-6))
picture = np.clip(1 + (picture_db - picture_db.max()) / 80, 0, 1).T[::-1]
print(f"{picture.shape[0]} rows x {picture.shape[1]} columns of {picture.dtype}")
assert picture.shape == (1 + n_fft // 2, 1 + audio.size // hop)
assert 0 <= picture.min() and picture.max() == 1

figure = plt.figure(figsize=(11, 4), layout="none")
axes = figure.add_axes((0, 0, 1, 1))
axes.imshow(picture, aspect="auto")
axes.axis("off")
plt.show()

# %% [markdown]
# How long should a frame be? A frame of $N$ samples tells frequencies apart that are about
# $2 f_s / N$ or more apart (for a Hann window, $4 f_s / N$ until nothing leaks), and times that are
# about $N / f_s$ apart. No frame resolves both well: long frames draw sharp lines and smear the
# beginnings of notes, short frames draw sharp beginnings and do not separate the harmonics.

# %%
figure, panels = plt.subplots(1, 2, sharey=True, figsize=(11, 3.6))
for axes, size in zip(panels, (256, 4096), strict=True):
    power = spectrogram_by_hand(audio, size, hop) ** 2
    title = f"{size} samples: {1000 * size / rate:.0f} ms, {rate / size:.0f} Hz per bin"
    rows_hz = edges_of(np.arange(size // 2 + 1) * rate / size)
    level_picture(axes, power, rows_hz, title, "")
    axes.set(xlabel="time (s)", ylim=(0, 4000), xlim=(0.1, 2.5))
panels[0].set_ylabel("frequency (Hz)")
plt.show()

# Two tones 40 Hz apart are two peaks for a long frame, and one for a short.
pair = np.sin(2 * np.pi * 1_000 * second) + np.sin(2 * np.pi * 1_040 * second)
for size, expected in ((256, 1), (4096, 2)):
    spectrum = spectrogram_by_hand(pair, size, hop)[50]
    inner = spectrum[1:-1]
    is_peak = (inner > spectrum[:-2]) & (inner > spectrum[2:]) & (inner > 0.3 * inner.max())
    print(f"{size} samples show {is_peak.sum()} peak(s) for tones of 1000 and 1040 Hz")
    assert is_peak.sum() == expected

# %% [markdown]
# The picture shows no phases. Spectra with their phases contain the whole sound: `istft` computes
# the samples from them. So you can change a spectrum and listen to the result. Here all frequencies
# from 1 kHz on are set to zero.

# %%
spectrum = core.stft(jnp.asarray(audio), n_fft=n_fft, hop_length=hop)
again = core.istft(spectrum, hop_length=hop, n_samples=audio.size)
assert np.allclose(again, audio, atol=1e-5)

dull = core.istft(jnp.where(bins_hz < 1_000, spectrum, 0), hop_length=hop, n_samples=audio.size)
listen(again, rate)
listen(dull, rate)

# %% [markdown]
# ## 6. The mel scale
#
# Listen to two steps of 500 Hz: from 500 to 1000 Hz, which is an octave, and from 5000 to 5500 Hz,
# which is less than two semitones.

# %%
step = second[: rate // 2]
for low_hz, high_hz in ((500, 1_000), (5_000, 5_500)):
    semitones = 12 * np.log2(high_hz / low_hz)
    print(f"{low_hz} -> {high_hz} Hz: {semitones:.2f} semitones")
    listen(np.concatenate([0.2 * np.sin(2 * np.pi * f * step) for f in (low_hz, high_hz)]), rate)

# %% [markdown]
# A step of 100 Hz is a fifth at 200 Hz, and hardly anything at 5 kHz. The **mel scale** counts
# frequency so that equal steps sound about equally large: nearly straight below 1 kHz, logarithmic
# above,
#
# $$m = 2595 \log_{10}(1 + f / 700).$$
#
# (This is HTK's formula. Slaney's is straight up to 1 kHz and logarithmic from there; it is the
# default in librosa and here.) A **mel spectrogram** adds up the power in bands that are equally
# wide in mel: overlapping triangles, narrow at the bottom, wide at the top. 513 bins become 64
# numbers, which keep what we hear well and average over what we do not.

# %%
n_mels = 64
bank = core.mel_filterbank(n_mels=n_mels, n_fft=n_fft, sample_rate=rate)
mels = 2595 * np.log10(1 + hz / 700)
assert np.allclose(mels, core.hz_to_mel(hz), rtol=1e-4)

print("      Hz      mel   mel of the next 500 Hz")
for f in (0, 100, 200, 500, 1_000, 2_000, 4_000, 5_000, 7_500):
    mel_of_f, mel_of_next = 2595 * np.log10(1 + np.array([f, f + 500]) / 700)
    print(f"{f:8} {mel_of_f:8.1f} {mel_of_next - mel_of_f:8.1f}")
    assert abs(float(core.hz_to_mel(float(f))) - mel_of_f) < 0.01

figure, (scale_axes, bank_axes) = plt.subplots(1, 2, width_ratios=(1, 2))
scale_axes.plot(hz, mels)
scale_axes.set(xlabel="frequency (Hz)", ylabel="mel", title="the scale")
scale_axes.grid(alpha=0.3)
bank_axes.plot(bins_hz, bank[::3].T, linewidth=1)
bank_axes.set(xlabel="frequency (Hz)", title="every third filter (all have the area 1)")
plt.show()

# %%
# By hand: the power in each band is a sum over the bins, weighted by its triangle.
mel_power = magnitude**2 @ bank.T
# By one call:
mel = core.mel_spectrogram(
    jnp.asarray(audio), sample_rate=rate, n_fft=n_fft, hop_length=hop, n_mels=n_mels
)
assert np.allclose(mel_power, mel, rtol=1e-3, atol=1e-5)

figure, axes = plt.subplots(figsize=(11, 4))
image = level_picture(axes, mel, np.arange(n_mels + 1), "log-mel spectrogram", "band")
axes.set(xlabel="time (s)")
figure.colorbar(image, label="dB")
plt.show()

# %% [markdown]
# The frequencies of the tune and the vowels take more of this picture: half of it lies below 1.7
# kHz, which is a fifth of a spectrogram up to 8 kHz. Levels in mel bands, **log-mel**, are the
# input of most classifiers of sound.

# %%
centers_hz = core.frequency_grid(n_mels + 2, fmin=0.0, fmax=rate / 2, scale="slaney")[1:-1]
print(f"band {n_mels // 2} of {n_mels} is centred on {centers_hz[n_mels // 2]:.0f} Hz")
assert 1_650 < centers_hz[n_mels // 2] < 1_750

# %% [markdown]
# ## 7. MFCC: the shape of the spectrum
#
# An "ah" differs from an "oo" neither in pitch nor in level, but in the shape of its spectrum: the
# mouth makes different regions louder. **Mel-frequency cepstral coefficients**
# describe this shape. They are the cosine transform of the levels $L$ in $M$ mel bands,
#
# $$c[k] = \sqrt{\tfrac2M} \sum_{m=0}^{M-1} L[m] \cos\Bigl(\frac{\pi k (2 m + 1)}{2 M}\Bigr)$$
#
# (and $c[0]$ divided by $\sqrt 2$). $c[0]$ is the level, $c[1]$ how much it falls from low to high,
# each further one a finer ripple. The first dozen describe the shape; the others would describe the
# single harmonics, and so the pitch.

# %%
# By hand: levels, none more than 80 dB below the loudest, times a matrix of cosines.
level_db = 10 * np.log10(np.maximum(mel_power, 1e-10))
level_db = np.maximum(level_db, level_db.max() - 80)
k, m = np.arange(n_mels)[:, None], np.arange(n_mels)
cosines = np.sqrt(2 / n_mels) * np.cos(np.pi * k * (2 * m + 1) / (2 * n_mels))
cosines[0] /= np.sqrt(2)
all_mfcc = level_db @ cosines.T
# By one call:
mfcc = core.mfcc(
    jnp.asarray(audio), sample_rate=rate, n_fft=n_fft, hop_length=hop, n_mels=n_mels, n_mfcc=13
)
assert np.allclose(all_mfcc[:, :13], mfcc, atol=0.1)
# The cosines are orthonormal, so the transpose of the matrix is its inverse.
assert np.allclose(cosines @ cosines.T, np.eye(n_mels), atol=1e-9)

moment = round(1.4 * rate / hop)
figure, (waves, shape) = plt.subplots(1, 2)
for i in range(1, 5):
    waves.plot(m, cosines[i], label=f"{i}")
waves.set(xlabel="band", title="the first cosines", ylim=(-0.2, 0.32))
waves.legend(title="k", ncols=4, loc="upper center")
shape.plot(m, level_db[moment], linewidth=1, label="levels of the bands")
shape.plot(m, np.asarray(mfcc[moment]) @ cosines[:13], linewidth=2, label="of 13 coefficients")
shape.set(xlabel="band", ylabel="dB", title="a sung o")
shape.legend()
plt.show()

# %% [markdown]
# Does it work? The score says when each vowel is sung, and on which note. Below, each note is a
# point at two of its coefficients: points of the same vowel lie together, whatever their pitch.

# %%
score = (  # seconds from, to; vowel; MIDI note
    *((0.15, 0.55, "a", 62), (0.55, 0.95, "a", 65), (0.95, 1.80, "o", 69), (1.80, 2.05, "o", 67)),
    *((2.05, 2.30, "e", 65), (2.30, 3.00, "e", 64), (3.30, 3.60, "a", 65), (3.60, 3.90, "a", 69)),
    *((3.90, 4.90, "a", 74), (4.90, 5.20, "o", 72), (5.20, 5.50, "o", 70), (5.50, 6.10, "u", 69)),
    *((6.35, 6.70, "e", 67), (6.70, 7.00, "e", 64), (7.00, 7.90, "o", 62)),
)
names = "C C♯ D E♭ E F F♯ G G♯ A B♭ B".split()


def middle(track, begin_s, end_s):
    """The frames of a note without its beginning and end, where vowels slide into each other."""
    length_s = end_s - begin_s
    first, last = (round((begin_s + part * length_s) * rate / hop) for part in (0.3, 0.8))
    return np.asarray(track)[first:last]


colors = {"a": "C3", "o": "C0", "e": "C2", "u": "C4"}
points = np.array([middle(mfcc, *times).mean(axis=0) for *times, _, _ in score])
vowels = np.array([vowel for *_, vowel, _ in score])
figure, axes = plt.subplots(figsize=(7, 4.5))
for point, (*_, vowel, note) in zip(points, score, strict=True):
    axes.scatter(point[2], point[3], s=220, color=colors[vowel], alpha=0.35)
    label = f"{vowel} {names[note % 12]}{note // 12 - 1}"
    axes.annotate(label, (point[2], point[3]), ha="center", va="center", fontsize=8)
axes.set(xlabel="coefficient 2", ylabel="coefficient 3", title="every note of the tune")
plt.show()

# %% [markdown]
# So a program can recognize the vowel of a note: it takes the vowel of the nearest other note, in
# all coefficients but the level. (The only "u" is left out, as there is no other "u" to compare it
# with.) The program makes two mistakes. One is an "o" that is nearest to the "u", which is a
# similar vowel. The other is the highest note, whose harmonics are so far apart that they hardly
# show the resonances of the mouth. For this reason high notes in opera are hard to understand.

# %%
distances = np.linalg.norm(points[:, None, 1:] - points[None, :, 1:], axis=-1)
np.fill_diagonal(distances, np.inf)
nearest = vowels[distances.argmin(axis=1)]
has_others = vowels != "u"
right = (nearest == vowels)[has_others]
print(f"{right.sum()} of {right.size} vowels are named by their nearest neighbour")
mistakes = []
for (*_, vowel, note), guess in zip(score, nearest, strict=True):
    if vowel != "u" and guess != vowel:
        mistakes.append((vowel, note))
        print(f"taken for {guess}: the {vowel} on {names[note % 12]}{note // 12 - 1}")
assert sorted(mistakes) == [("a", 74), ("o", 69)]

# %% [markdown]
# ### The classic recipe, step by step
#
# Programs for speech have long computed these coefficients by a slightly different recipe, which
# many tutorials repeat. `core.textbook_mfcc` computes exactly its numbers. Here is the recipe in
# NumPy, step by step.
#
# **1. Pre-emphasis.** Voices get weaker towards high frequencies. The difference of neighbouring
# samples, $y[n] = x[n] - 0.97\, x[n - 1]$, lifts them again.

# %%
emphasized = audio.astype(np.float64)
emphasized[1:] -= 0.97 * audio[:-1]
listen(audio, rate)
listen(emphasized, rate)

# %% [markdown]
# **2. Frames** of 25 ms, one every 10 ms. The first frame begins at the start of the sound, while
# in the rest of ddspx a frame is centred on its time. The last frame is filled up with zeros.
#
# **3. A Hamming window** fades each in and out, to 0.08 and not to 0:
# $w[n] = 0.54 - 0.46 \cos(2 \pi n / (N - 1))$.

# %%
length, step_length = round(0.025 * rate), round(0.01 * rate)
n_frames = 1 + int(np.ceil((emphasized.size - length) / step_length))
filled = np.pad(emphasized, (0, (n_frames - 1) * step_length + length - emphasized.size))
cut = np.lib.stride_tricks.sliding_window_view(filled, length)[::step_length]
hamming = 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(length) / (length - 1))
assert np.allclose(hamming, np.hamming(length)) and cut.shape == (n_frames, length)
windowed = cut * hamming
print(f"{n_frames} frames of {length} samples")

# %% [markdown]
# **4. The power** of each frequency, by a Fourier transform of 512: $P[k] = |X[k]|^2 / 512$.
#
# **5. Forty bands**: triangles at equal steps of the mel scale from 0 Hz to Nyquist, of height 1.
# Their corners are rounded down to whole bins, so that the narrow ones are lopsided.

# %%
size, n_bands = 512, 40
power = np.abs(np.fft.rfft(windowed, size)) ** 2 / size
corners_mel = np.linspace(0, 2595 * np.log10(1 + rate / 2 / 700), n_bands + 2)
corners_hz = 700 * (10 ** (corners_mel / 2595) - 1)
corners = np.floor((size + 1) * corners_hz / rate).astype(int)
triangles = np.zeros((n_bands, size // 2 + 1))
for band in range(n_bands):
    left, middle_bin, right = corners[band : band + 3]
    triangles[band, left:middle_bin] = np.arange(middle_bin - left) / max(middle_bin - left, 1)
    falling = np.arange(right - middle_bin, 0, -1) / max(right - middle_bin, 1)
    triangles[band, middle_bin:right] = falling
energies = power @ triangles.T

figure, (before, filters) = plt.subplots(1, 2)
at = round(1.4 * rate / step_length)
plain = np.abs(np.fft.rfft(audio[at * step_length :][:length] * hamming, size)) ** 2 / size
hz_of_bins = np.arange(size // 2 + 1) * rate / size
for name, spectrum in (("as it was", plain), ("with pre-emphasis", power[at])):
    before.plot(hz_of_bins, 10 * np.log10(spectrum + 1e-12), linewidth=1, label=name)
before.set(xlabel="frequency (Hz)", ylabel="dB", title="the power of a frame")
before.legend()
filters.plot(hz_of_bins, triangles.T, linewidth=1)
filters.set(xlabel="frequency (Hz)", title="forty bands", xlim=(0, rate / 2))
plt.show()

# %% [markdown]
# **6. Decibels**: $20 \log_{10}$, though the energies are powers, which makes these levels twice as
# large as they should be. The recipe is kept as it is.

# %%
levels = 20 * np.log10(np.where(energies == 0, np.finfo(float).eps, energies))
by_call = core.textbook_log_mel(jnp.asarray(audio), sample_rate=rate, normalize=False)
print(f"levels: at most {np.abs(levels - by_call).max():.4f} dB from `core.textbook_log_mel`")
assert levels.shape == by_call.shape and np.allclose(levels, by_call, atol=0.02)

# %% [markdown]
# **7. The cosine transform** of the forty levels, **8. twelve coefficients** of it, from the first
# on: the zeroth, which is the level, is left out.
#
# **9. The lifter** makes the higher ones, which are smaller, as large as the lower:
# $1 + 11 \sin(\pi n / 22)$ for $n = 0, 1, \dots, 11$.

# %%
n, m = np.arange(n_bands)[:, None], np.arange(n_bands)
transform = np.sqrt(2 / n_bands) * np.cos(np.pi * n * (2 * m + 1) / (2 * n_bands))
twelve = levels @ transform[1:13].T
lifter = 1 + 11 * np.sin(np.pi * np.arange(12) / 22)
lifted = twelve * lifter
by_call = core.textbook_mfcc(jnp.asarray(audio), sample_rate=rate, normalize=False)
print(f"coefficients: at most {np.abs(lifted - by_call).max():.4f} from `core.textbook_mfcc`")
assert np.allclose(lifted, by_call, atol=0.05)

# %% [markdown]
# **10. The mean** of each coefficient over the recording is subtracted, because the constant part
# is mostly due to the microphone and the room, and not to the speech.

# %%
classic = lifted - (lifted.mean(axis=0) + 1e-8)
by_call = np.asarray(core.textbook_mfcc(jnp.asarray(audio), sample_rate=rate))
assert classic.shape == by_call.shape == (n_frames, 12)
assert np.allclose(classic, by_call, atol=0.05)
print(
    f"all ten steps: at most {np.abs(classic - by_call).max():.4f} apart, of {np.ptp(classic):.0f}"
)

figure, panels = plt.subplots(2, 2, sharex=True, figsize=(11, 5))
edges_s = np.arange(n_frames + 1) * step_length / rate
for axes, values, title in (
    (panels[0, 0], levels, "6. levels of 40 bands"),
    (panels[0, 1], twelve, "8. twelve coefficients"),
    (panels[1, 0], classic, "10. lifted, without their means"),
    (panels[1, 1], by_call, "core.textbook_mfcc"),
):
    image = axes.pcolormesh(edges_s, np.arange(values.shape[1] + 1), values.T)
    axes.set(title=title)
    figure.colorbar(image)
for axes in panels[1]:
    axes.set(xlabel="time (s)")
plt.show()

# %% [markdown]
# ## 8. Pitch
#
# Many pitch trackers use autocorrelation, as in section 2. Their typical error is an octave,
# because a sound that repeats after one period also repeats after two. ddspx comes with a small
# network that was trained to do better. For each frame it estimates a frequency and the
# **confidence** that there is a pitch at all; a frame with a confidence of 0.5 or more has a pitch.
#
# An instrument of ddspx plays from pitch and loudness; see the notebook `timbre_transfer.ipynb`.

# %%
f0_hz, confidence = features.track_pitch(audio, sample_rate=rate, hop_length=hop)
sung = np.where(confidence >= 0.5, f0_hz, np.nan)

figure, (above, below) = plt.subplots(2, 1, sharex=True, figsize=(11, 5), height_ratios=(3, 1))
above.plot(frame_s, 69 + 12 * np.log2(sung / 440), linewidth=1.2, label="tracked")
for i, (begin_s, end_s, _, note) in enumerate(score):
    above.hlines(note, begin_s, end_s, "C1", linewidth=4, alpha=0.4, label=None if i else "score")
keys = sorted({note for *_, note in score})
above.set_yticks(keys, [f"{names[key % 12]}{key // 12 - 1}" for key in keys])
above.grid(axis="y", alpha=0.3)
above.legend()
below.plot(frame_s, confidence, linewidth=1)
below.axhline(0.5, color="gray", linestyle="--", linewidth=0.8)
below.set(xlabel="time (s)", ylabel="confidence", xlim=(0, frame_s[-1]))
plt.show()

for begin_s, end_s, _, note in score:
    tracked = np.median(69 + 12 * np.log2(middle(f0_hz, begin_s, end_s) / 440))
    # The tolerance of a fifth of a semitone allows for vibrato and intonation.
    assert abs(tracked - note) < 0.2, (begin_s, note, tracked)
print("every note of the score was tracked")

# %% [markdown]
# ## 9. Your own sounds
#
# This section computes each feature with one call. In Colab, tick `UPLOAD` and run the cell to
# choose one or more files; elsewhere write a path into `PATH`, or a pattern such as `takes/*.wav`
# (empty means the tune). All formats of libsndfile work: wav, flac, ogg, mp3.

# %%
from glob import glob

UPLOAD = False  # @param {type:"boolean"}
PATH = ""  # @param {type:"string"}

if UPLOAD:
    from google.colab import files

    paths = [Path(name) for name in files.upload()]
else:
    paths = [Path(name) for name in sorted(glob(PATH))] or [Path(PATH) if PATH else melody]
yours = {path.name: io.read_audio(path, sample_rate=rate) for path in paths}
for name, sound in yours.items():
    print(f"{name}: {sound.size / rate:.2f} s")
    listen(sound, rate)

# %%
from ddspx.features import SpectralConfig, spectral_features
from ddspx.plot import Sound, plot_features, plot_pitch

for name, sound in yours.items():
    for kind in ("spectrogram", "log-mel", "mfcc", "loudness", "centroid"):
        config = SpectralConfig(kind, sample_rate=rate, hop_length=hop, n_fft=n_fft)
        values = spectral_features(sound, config)
        assert np.isfinite(values).all()
        picture = plot_features(
            values,
            title=f"{name}: {kind}",
            label=config.label,
            sample_rate=rate,
            hop_length=hop,
            frequencies_hz=config.frequencies_hz,
            level_of="amplitude" if kind == "spectrogram" else None,
        )
        display(picture)

    f0_hz, confidence = features.track_pitch(sound, sample_rate=rate, hop_length=hop)
    tracked = Sound(f"{name}: pitch", sound, f0_hz, confidence)
    display(plot_pitch(tracked, sample_rate=rate, hop_length=hop))

# %% [markdown]
# Two commands do the same for many files, without Python: `ddspx features *.wav --kind log-mel -o
# features --plot` and `ddspx pitch *.wav -o pitch --plot`.
#
# Next: `synthesis.ipynb` goes the other way, from numbers to sound.
