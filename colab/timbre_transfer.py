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
# # Timbre transfer: your sound on another instrument
#
# Sing, hum, whistle or play something, and hear it on a violin, a cello or a saxophone. The result
# has your melody and dynamics, and the instrument's sound. Run the cells from top to bottom (in
# Colab: *Runtime > Run all*). If you have no recording, the notebook uses a sung tune.
#
# One voice at a time works best: a tune without accompaniment, in a room without much echo.

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
# %matplotlib inline
import base64
import tempfile
import time
from glob import glob

import absl.logging
import jax
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import HTML, Audio, display

from ddspx import features, io
from ddspx.instruments import (
    describe_instrument,
    import_instrument,
    instrument_names,
    load_instrument,
)
from ddspx.models.autoencoder import save_autoencoder
from ddspx.plot import Sound, plot_sounds
from ddspx.transfer import TransferConfig, detect_notes, evaluate_transfer, plot_transfer, transfer

try:
    from google.colab import files, output
except ModuleNotFoundError:
    # Outside Colab, sounds and instruments are given by their paths.
    files = output = None

# Warnings of libraries to their own developers are hidden.
absl.logging.set_verbosity(absl.logging.ERROR)
print(f"running on {jax.devices()[0].device_kind}")


def uploaded(what):
    """Asks for files in a dialog, and returns their paths."""
    if files is None:
        raise RuntimeError("Uploading needs Colab; elsewhere write the path of the file instead.")
    print(f"choose {what}")
    chosen = [Path(name) for name in files.upload()]
    if not chosen:
        raise ValueError("A file is needed; run the cell again.")
    return chosen


# %% [markdown]
# ## 1. The sound
#
# `SOURCE` says where the sound comes from. *record* and *upload* work in Colab; anywhere else
# choose *file* and write its path into `FILE`. Formats: wav, flac, ogg, mp3. Your browser asks
# whether it may use the microphone. The sound is sent only to the machine that runs this notebook.
#
# You may upload several files, or choose them by a pattern such as `takes/*.wav`. All of them are
# played in section 5; the pictures show number `WHICH`.

# %% cellView="form"
# @title Record, or choose a sound
SOURCE = "the sung tune"  # @param ["the sung tune", "record", "upload", "file"]
SECONDS = 10  # @param {type:"slider", min:1, max:30, step:1}
FILE = ""  # @param {type:"string"}
WHICH = 1  # @param {type:"integer"}

# Runs in the browser, and returns the microphone's unprocessed sound as 16-bit samples in base64.
RECORDER = """
(async seconds => {
  const constraints = {echoCancellation: false, noiseSuppression: false, autoGainControl: false};
  const stream = await navigator.mediaDevices.getUserMedia({audio: constraints});
  const recorder = new MediaRecorder(stream);
  const pieces = [];
  recorder.ondataavailable = event => pieces.push(event.data);
  const stopped = new Promise(done => { recorder.onstop = done; });
  const sign = document.createElement("h3");
  sign.textContent = `recording for ${seconds} seconds ...`;
  document.body.append(sign);
  recorder.start();
  await new Promise(done => setTimeout(done, 1000 * seconds));
  recorder.stop();
  await stopped;
  sign.textContent = "recorded";
  stream.getTracks().forEach(track => track.stop());
  const context = new AudioContext();
  const sound = await context.decodeAudioData(await new Blob(pieces).arrayBuffer());
  const samples = Int16Array.from(
      sound.getChannelData(0), x => Math.round(32767 * Math.max(-1, Math.min(1, x))));
  const bytes = new Uint8Array(samples.buffer);
  let text = "";
  for (let i = 0; i < bytes.length; i += 32768) {
    text += String.fromCharCode(...bytes.subarray(i, i + 32768));
  }
  return {rate: sound.sampleRate, samples: btoa(text)};
})
"""


def recorded(seconds, name):
    """Records from the microphone into a file, and returns its path."""
    if output is None:
        raise RuntimeError('Recording needs Colab; elsewhere set SOURCE to "file".')
    sound = output.eval_js(f"({RECORDER})({seconds})")
    samples = np.frombuffer(base64.b64decode(sound["samples"]), "<i2") / 32768
    io.write_audio(name, samples, sample_rate=int(sound["rate"]))
    return Path(name)


def sung_tune():
    """Returns the recording that comes with ddspx; in a checkout it is one of the examples."""
    home = Path(ddspx.__file__).parent
    places = home / "melody.flac", home.parent / "examples" / "melody" / "melody.flac"
    return next(place for place in places if place.is_file())


if SOURCE == "record":
    recordings = [recorded(SECONDS, "recording.wav")]
elif SOURCE == "upload":
    recordings = uploaded("a sound, or several")
elif SOURCE == "file":
    recordings = [Path(name) for name in sorted(glob(FILE))] or [Path(FILE)]
else:
    recordings = [sung_tune()]
if not 1 <= WHICH <= len(recordings):
    raise ValueError(f"WHICH must be from 1 to {len(recordings)}, got {WHICH}.")
recording = recordings[WHICH - 1]


def present(path):
    """Says how long and how loud a sound is, and offers to play it."""
    rate = io.declared_sample_rate(path) or 16_000
    sound = io.read_audio(path, sample_rate=rate)
    seconds = f"{sound.size / rate:.1f} s at {rate} Hz"
    print(f"{path.name}: {seconds}, peak {np.abs(sound).max():.2f}")
    display(Audio(sound, rate=rate))


for number, path in enumerate(recordings, start=1):
    print(number, end=". ")
    present(path)

# %% [markdown]
# ## 2. The instrument
#
# Choose an instrument that comes with ddspx, or *upload a zip*: one of your own, which
# `train_autoencoder.ipynb` makes, or a model that others have published, such as Google's Tone
# Transfer models. (Outside Colab, write its path into `ZIP`.) A zip is checked before it is used,
# and nothing in it is executed.
#
# **Your own sound as the instrument:** *upload* or *record your own sound*, about 20 seconds of one
# instrument or voice, one note at a time. (Outside Colab, write its path into `SOUND`.) The model
# of any instrument listens to it, and plays with its timbre. `ddspx adapt` comes nearer to it, in
# minutes.

# %% cellView="form"
# @title Choose an instrument
INSTRUMENT = "violin"  # @param ["alto_saxophone", "cello", "flute", "flute2", "tenor_saxophone", "trumpet", "tuba", "violin", "upload a zip", "upload your own sound", "record your own sound"] {allow-input: true}
ZIP = ""  # @param {type:"string"}
SOUND = ""  # @param {type:"string"}
SOUND_SECONDS = 20  # @param {type:"slider", min:5, max:60, step:1}


def made_of(sound):
    """Makes an instrument of a sound, in a temporary folder, which is returned."""
    present(sound)
    folder = Path(tempfile.mkdtemp(), sound.stem)
    heard, statistics, provenance = load_instrument(sound)
    save_autoencoder(folder, heard, statistics=statistics, provenance=provenance)
    return folder


own = None
if INSTRUMENT == "upload a zip":
    archive = Path(ZIP) if ZIP else uploaded("the zip of an instrument")[0]
    instrument = import_instrument(archive, overwrite=True).name
elif INSTRUMENT == "upload your own sound":
    own = Path(SOUND) if SOUND else uploaded("a sound of one instrument or voice")[0]
    instrument = made_of(own)
elif INSTRUMENT == "record your own sound":
    own = recorded(SOUND_SECONDS, "sound.wav")
    instrument = made_of(own)
else:
    instrument = INSTRUMENT
print(f"available: {', '.join(instrument_names())}")
card = describe_instrument(instrument)
print(f"{card.name}: notes {card.notes[0]} to {card.notes[1]}, {card.sample_rate} Hz")
if own is not None:
    print(f"as heard in {card.duration_s:.0f} s of {own.name}")
else:
    known = f"trained on {card.duration_s:.0f} s of " if card.duration_s > 0 else ""
    print(f"{known}{card.attribution} ({card.licence})")
if card.scores is not None and card.scores.spectral_loss is not None:
    print(f"spectral loss on recordings outside the training: {card.scores.spectral_loss:.2f}")

# %% [markdown]
# ## 3. Pitch and loudness
#
# An instrument uses two features of your recording, 125 or 250 times a second: the **pitch** and
# the **loudness**. The pitch is the line on the spectrogram, with gaps where no pitch was found;
# the loudness is below. If the line follows your melody, the rest will work. If it jumps by octaves
# or has many gaps, record again, closer to the microphone and without other sounds.

# %%
model, statistics, _ = load_instrument(instrument)
grid = {"sample_rate": model.config.sample_rate, "hop_length": model.config.hop_length}
method = features.method_of(statistics.feature_version)
audio = io.read_audio(recording, sample_rate=model.config.sample_rate)
measured = features.conditioning_features(audio, **grid, method=method)
sure = measured.f0_confidence >= 0.5
if sure.any():
    low, high = np.percentile(measured.f0_hz[sure], (5, 95))
    print(f"pitch from {low:.0f} to {high:.0f} Hz, in {sure.mean():.0%} of the time")
else:
    print("no pitch was found; the instrument will have nothing to play")
figure = plot_sounds([Sound(recording.name, audio, *measured)], **grid)
figure.set_size_inches(11, 5)
display(figure)

# %% [markdown]
# ## 4. Controls
#
# | | |
# |---|---|
# | `adjust` | fits octave and dynamics to the instrument; without it they are not changed |
# | `threshold` | how loud and how confident in its pitch a note has to be |
# | `quiet_db` | how much softer the sound between notes becomes |
# | `autotune` | 0: as you sang; 1: every note exactly in tune |
# | `scale` | notes of the autotune: the major key that fits best, or all twelve semitones |
# | `pitch_shift` | octaves up or down, in addition to those of `adjust` |
# | `loudness_shift_db` | softer or louder playing, which changes the timbre, unlike the volume |
# | `smoothing_ms` | smooths the pitch: 0 changes nothing, 100 removes most of a vibrato |
# | `confidence` | the least confidence of a pitch that is played |
# | `follow` | how closely notes follow your loudness: 0 is as the instrument plays them |
# | `wet` | 1: the instrument alone; 0: your recording alone; in between: both |
# | `reverb` | level of the room that the instrument was recorded in |
# | `breath` | 0: breath and consonants are not played; 1: the instrument's noise plays them |

# %% cellView="form"
# @title Controls
adjust = True  # @param {type:"boolean"}
threshold = 1.0  # @param {type:"slider", min:0, max:2, step:0.05}
quiet_db = 20.0  # @param {type:"slider", min:0, max:60, step:1}
autotune = 0.0  # @param {type:"slider", min:0, max:1, step:0.05}
scale = "major"  # @param ["major", "chromatic"]
pitch_shift = 0  # @param {type:"slider", min:-2, max:2, step:1}
loudness_shift_db = 0.0  # @param {type:"slider", min:-20, max:20, step:1}
smoothing_ms = 0.0  # @param {type:"slider", min:0, max:200, step:5}
confidence = 0.5  # @param {type:"slider", min:0, max:1, step:0.05}
follow = 1.0  # @param {type:"slider", min:0, max:1, step:0.05}
wet = 1.0  # @param {type:"slider", min:0, max:1, step:0.05}
reverb = 1.0  # @param {type:"slider", min:0, max:2, step:0.05}
breath = 0.0  # @param {type:"slider", min:0, max:1, step:0.05}

config = TransferConfig(
    adjust=adjust,
    threshold=threshold,
    quiet_db=quiet_db,
    autotune=autotune,
    scale=scale,
    pitch_shift=pitch_shift,
    loudness_shift_db=loudness_shift_db,
    smoothing_ms=smoothing_ms,
    confidence=confidence,
    follow=follow,
    wet=wet,
    reverb=reverb,
    breath=breath,
)

# %% [markdown]
# The picture shows the effect of these controls, before the sound is played:
#
# - **The confidence in the pitch.** Frames below the line of `confidence` are not played.
# - **How likely each frame belongs to a note**: it is loud for this recording, and its pitch is
#   confident. Frames above the line of `threshold` are notes, and shaded; frames below the line
#   become up to `quiet_db` softer.
# - **Pitch and loudness**, as measured in your recording and as requested of the instrument.

# %%
frame_rate = model.config.sample_rate / model.config.hop_length
controls = ddspx.transfer.adjust(
    *measured, statistics=statistics, frame_rate=frame_rate, config=config
)
detection = detect_notes(
    measured.loudness_db, measured.f0_confidence, frame_rate=frame_rate, threshold=threshold
)
frame_s = np.arange(len(controls.f0_hz)) / frame_rate

figure, panels = plt.subplots(
    4, 1, sharex=True, figsize=(11, 9), height_ratios=(1, 1, 2, 2), layout="constrained"
)
certainty, likelihood, pitch, level = panels
certainty.plot(frame_s, measured.f0_confidence, linewidth=1)
certainty.axhline(confidence, color="C3", linestyle="--", linewidth=1, label="confidence")
certainty.set(ylabel="confidence", ylim=(-0.05, 1.05))
likelihood.plot(frame_s, detection.ratio, linewidth=1)
likelihood.axhline(threshold, color="C3", linestyle="--", linewidth=1, label="threshold")
likelihood.set(ylabel="note likelihood", ylim=(0, 2.5))
top = [2.5] * len(frame_s)
likelihood.fill_between(frame_s, top, where=controls.notes, color="C2", alpha=0.2, label="notes")
shown = measured.f0_confidence >= confidence
pitch.plot(frame_s, np.where(shown, measured.f0_hz, np.nan), linewidth=3, alpha=0.5, label="yours")
pitch.plot(
    frame_s, np.where(controls.gain > 0, controls.f0_hz, np.nan), linewidth=1, label="played"
)
pitch.set(ylabel="pitch (Hz)", yscale="log")
pitch.yaxis.set_major_formatter("{x:.0f}")
pitch.yaxis.set_minor_formatter("{x:.0f}")
level.plot(frame_s, measured.loudness_db, linewidth=3, alpha=0.5, label="yours")
level.plot(frame_s, controls.asked_db, linewidth=1, label="played")
level.set(ylabel="loudness (dB)", xlabel="time (s)", xlim=(0, frame_s[-1]))
for axes in panels:
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
plt.show()

# %% [markdown]
# ## 5. Play
#
# Change the controls above, run this cell again, and compare. The first run takes a few seconds
# longer, because JAX compiles the programs.


# %%
def bar():
    """Returns a function that shows the progress of a transfer, and one that hides it."""
    place, shown_s = display(HTML("starting"), display_id=True), 0.0

    def show(what, done, total):
        nonlocal shown_s
        # Five times a second: often enough to see it move, and rare enough to cost no time.
        if time.monotonic() > shown_s + 0.2:
            shown_s = time.monotonic()
            far = "" if total is None else f' value="{done:.3f}" max="{total:.3f}"'
            place.update(HTML(f"<progress{far}></progress> {what}"))

    return show, lambda: place.update(HTML(""))


reports = {}
for path in recordings:
    show, end = bar()
    played = Path(f"{path.stem}_on_{card.name}.wav")
    began_s = time.monotonic()
    reports[path] = report = transfer(path, played, to=instrument, config=config, progress=show)
    taken_s = time.monotonic() - began_s
    end()
    rate = io.declared_sample_rate(path) or 16_000
    print(f"{path.name}: {report.n_samples / report.sample_rate:.1f} s of sound in {taken_s:.1f} s")
    print("yours:")
    display(Audio(io.read_audio(path, sample_rate=rate), rate=rate))
    print(f"{card.name}:")
    result = io.read_audio(played, sample_rate=report.sample_rate)
    display(Audio(result, rate=report.sample_rate))
    # The result has exactly the length of the recording.
    assert result.size == report.n_samples

# %% [markdown]
# The report compares your recording with the controls of the instrument, and then measures the
# result. The pitch should be within about 20 cents of the requested pitch (100 cents are a
# semitone). The right half of the picture shows the requested pitch and loudness. Notes are shaded.

# %%
played, report = Path(f"{recording.stem}_on_{card.name}.wav"), reports[recording]
quality = evaluate_transfer(played, report)
print(f"confident pitch in {report.confident_share:.0%} of the audible frames")
print(f"moved by {report.octaves:+d} octaves")
print(
    f"pitch: {report.source_f0_hz.median:.0f} Hz -> {report.played_f0_hz.median:.0f} Hz (medians)"
)
loudness = report.source_loudness_db.median, report.played_loudness_db.median
print("loudness: {:.0f} dB -> {:.0f} dB (medians)".format(*loudness))
print(f"the pitch of the result is off by {quality.f0_cents:.0f} cents (median)")
print(f"octave errors: {quality.octave_error_share:.1%} of the frames")
print(f"its loudness follows yours with a correlation of {quality.loudness_correlation:.2f}")
print(f"peak {quality.peak:.2f}")
print(f"clicks: {len(quality.click_times_s)}, squeaks: {len(quality.squeak_times_s)}")
display(plot_transfer(recording, played, report))

# %% [markdown]
# | problem | remedy |
# |---|---|
# | the octave is too high or too low | `pitch_shift` |
# | noise between notes | `threshold` up, `quiet_db` up, `confidence` up |
# | soft notes are missing | `threshold` down, `confidence` down |
# | out of tune | `autotune` towards 1 |
# | unsteady pitch | `smoothing_ms` to about 50 |
# | dull and distant sound | `loudness_shift_db` up, `reverb` down |
# | no sound | check in section 3 whether a pitch was found |
#
# ## 6. Keep it

# %%
for path in recordings:
    played = Path(f"{path.stem}_on_{card.name}.wav")
    if files is not None:
        files.download(str(played))
    print(f"the sound is in {played.resolve()}")
