# ---
# jupyter:
#   accelerator: GPU
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
# # Train an instrument on your own recordings
#
# From recordings of one instrument to a zip that `timbre_transfer.ipynb` plays. Run the cells from
# top to bottom. Without recordings of yours the sung tune that comes with ddspx is learnt, which
# shows how it works, and is far too little to sound good.
#
# For a real instrument you need
#
# - **ten minutes or more of one instrument, alone, in one room**: no accompaniment, no second
#   voice, no effects but the room;
# - all of the pitches and of the dynamics that you want to play: what is not in the recordings
#   cannot be learnt;
# - a GPU (in Colab: *Runtime > Change runtime type*) and an hour or two; a start from an instrument
#   that is there (`START` below) needs less of both.

# %% cellView="form"
# @title Install ddspx
# @markdown Nothing to fill in, unless ddspx is to come from the address of a wheel.
URL = ""  # @param {type:"string"}
import importlib
import subprocess
import sys
import tomllib
from pathlib import Path


def is_there():
    """Whether Python has ddspx."""
    importlib.invalidate_caches()
    try:
        import ddspx
    except ModuleNotFoundError:
        return False
    if hasattr(ddspx, "__version__"):
        return True
    # A folder of that name, such as a clone beside the notebook, which Python takes for a package.
    del sys.modules["ddspx"]
    return False


def clone():
    """The folder of ddspx's source that this notebook lies in or beside, if there is one."""
    for folder in (Path.cwd(), *Path.cwd().parents, *sorted(Path.cwd().iterdir())):
        try:
            about = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if about.get("project", {}).get("name") == "ddspx":
            return folder
    return None


def wheel():
    """The newest wheel of ddspx beside this notebook, if there is one."""
    return max(Path.cwd().glob("ddspx-*.whl"), key=lambda file: file.stat().st_mtime, default=None)


def upload():
    """A wheel from a dialog, or an error that says what to do where there is none."""
    how = "in ddspx's source code `pip wheel --no-deps .` makes one, ddspx-VERSION-py3-none-any.whl"
    try:
        from google.colab import files
    except ModuleNotFoundError:
        raise RuntimeError(
            "The package index has no ddspx. Put a clone or a wheel of it beside this notebook, "
            f"and run this cell again; {how}."
        ) from None
    print(f"The package index has no ddspx. Choose a wheel of it; {how}.")
    chosen = [Path(name).resolve() for name in files.upload() if name.endswith(".whl")]
    if len(chosen) != 1:
        raise RuntimeError("One file that ends in .whl is needed; run this cell again.")
    return chosen[0]


def install(what):
    """Has pip install something, with what the notebooks draw and train with."""
    # Without --upgrade, pip leaves the jax that is there, and its GPU, alone.
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
import json
import os

import absl.logging
import jax
import numpy as np
from IPython.display import Audio, display
from rich.console import Console

from ddspx import io, transfer
from ddspx.instruments import load_instrument, pack_instrument
from ddspx.models.autoencoder import AutoencoderConfig
from ddspx.plot import Sound, plot_sounds, plot_training
from ddspx.training import AutoencoderTrainConfig, evaluate_autoencoder, prepare, train_autoencoder

try:
    from google.colab import files
except ModuleNotFoundError:
    # Not in Colab: recordings are named by their paths.
    files = None

# In a smoke test: the smallest model, and a few steps.
SMOKE = os.environ.get("DDSPX_SMOKE") == "1"
# Libraries warn their own developers too.
absl.logging.set_verbosity(absl.logging.ERROR)
print(f"training on {jax.devices()[0].device_kind}")

# %% [markdown]
# ## 1. The recordings
#
# *upload* works in Colab and takes several files at once; anywhere else, or for a folder of a
# mounted drive, choose *folder* and write its path into `FOLDER`. Formats: wav, flac, ogg, mp3.
#
# `LICENCE` and `ATTRIBUTION` travel with the instrument: say what the recordings may be used for
# and who played. Use only what you may use.

# %% cellView="form"
# @title Choose recordings
SOURCE = "the sung tune"  # @param ["the sung tune", "upload", "folder"]
FOLDER = ""  # @param {type:"string"}
LICENCE = "not stated"  # @param {type:"string"}
ATTRIBUTION = "not stated"  # @param {type:"string"}


def sung_tune():
    """The recording that comes with ddspx: beside its code, or in a checkout an example."""
    home = Path(ddspx.__file__).parent
    places = home / "melody.flac", home.parent / "examples" / "melody" / "melody.flac"
    return next(place for place in places if place.is_file())


if SOURCE == "upload":
    if files is None:
        raise RuntimeError('Uploading needs Colab; elsewhere set SOURCE to "folder".')
    recordings = [Path(name) for name in files.upload()]
elif SOURCE == "folder":
    recordings = [Path(FOLDER)]
else:
    recordings = [sung_tune()]
    LICENCE, ATTRIBUTION = "Apache-2.0", "sung by ddspx (examples/melody)"

# %% [markdown]
# ## 2. Prepare
#
# Everything is mixed to mono and resampled; pitch and loudness are measured once, at every frame;
# silence is cut out; and a part is held out: *valid* chooses among the states of the training,
# *test* is not looked at before the end.
#
# | | |
# |---|---|
# | `NAME` | of the instrument: letters, digits, `-` and `_`; another one for each attempt |
# | `PRESET` | the size of the network: `small`, as that of the instruments that come with ddspx |
# | `START` | an instrument to begin with, the nearer the better; it has a size, so not `PRESET` |
# | `LOWEST_NOTE_HZ` | the lowest note that is played, or a bit less |
# | `EXAMPLE_S` | seconds of one training example |
#
# `solo_instrument` is DDSP's size, six times larger; `tiny` is the smallest. With the lowest note, what
# the tracker hears an octave too low has no pitch: violin 190, flute 250, cello 60 Hz.

# %% cellView="form"
# @title Prepare
NAME = "my-instrument"  # @param {type:"string"}
PRESET = "small"  # @param ["small", "solo_instrument", "tiny"]
START = "none"  # @param ["none", "alto_sax", "cello", "flute", "tenor_sax", "tuba", "violin"] {allow-input: true}
LOWEST_NOTE_HZ = 60.0  # @param {type:"number"}
EXAMPLE_S = 4.0  # @param {type:"slider", min:1, max:8, step:0.5}

if SOURCE == "the sung tune":
    EXAMPLE_S = 1.0  # so that eight seconds are some examples of each kind
if START == "none":
    preset = "tiny" if SMOKE else PRESET
    model, start = getattr(AutoencoderConfig, preset)(), None
else:
    model, start = load_instrument(START)[0].config, START
grid = {"sample_rate": model.sample_rate, "hop_length": model.hop_length}
dataset = Path(f"{NAME}-dataset")
manifest = prepare(
    recordings,
    dataset,
    **grid,
    example_s=EXAMPLE_S,
    fmin=LOWEST_NOTE_HZ,
    licence=LICENCE,
    attribution=ATTRIBUTION,
    overwrite=True,
)
for split, part in manifest.splits.items():
    print(f"{split}: {part.n_examples} examples of {EXAMPLE_S:g} s")
seconds = manifest.statistics["duration_s"]
if seconds < 300:
    print(f"{seconds:.0f} s to learn from: enough to try it, too little for a good instrument")

# %% [markdown]
# Look at what was measured before you train on it: here is one example (run the cell again for the
# same one, change `seed` for another). The line should follow the notes. If it jumps by octaves,
# raise `LOWEST_NOTE_HZ`; if it is full of holes, the recording is not of one instrument alone.

# %%
(audio,), *measured = next(io.training_batches(dataset, batch_size=1, seed=0))
display(Audio(audio, rate=model.sample_rate))
figure = plot_sounds([Sound("an example", audio, *(track[0] for track in measured))], **grid)
figure.set_size_inches(11, 5)
display(figure)

# %% [markdown]
# ## 3. Train
#
# The instrument is a network that turns pitch and loudness into the controls of a synthesizer:
# amplitudes of harmonics, gains of a filtered noise, and a room. It is trained to sound like the
# recordings, by their spectra at six sizes.
#
# A line appears after every tenth of the steps: the loss on *valid* counts, and the best state so
# far is what is kept. You may interrupt this cell: run again, it goes on where it stopped, and with
# more `STEPS` further than it went. 300 steps show that something is learnt; 5000 to 30 000 are an
# instrument. The loss of a good one is below 6 or so, and above 4.

# %% cellView="form"
# @title Train
STEPS = 300  # @param {type:"integer"}
BATCH_SIZE = 16  # @param {type:"integer"}
LEARNING_RATE = 3e-4  # @param {type:"number"}
MAX_MINUTES = 0  # @param {type:"integer"}

if SMOKE:
    STEPS, BATCH_SIZE, LEARNING_RATE = 30, 2, 3e-3
config = AutoencoderTrainConfig(
    steps=STEPS,
    batch_size=BATCH_SIZE,
    learning_rate=LEARNING_RATE,
    evaluate_every=max(1, min(500, STEPS // 10)),
    max_minutes=MAX_MINUTES or None,
)
folder = Path(NAME)
# A plain console: lines, which every notebook shows.
console = Console(file=sys.stdout, force_jupyter=False, force_terminal=False, width=100)
result = train_autoencoder(
    dataset, folder, model=model, config=config, start=start, console=console
)
print(f"{result.step} steps; kept is what there was after step {result.best.step}")

# %%
log = Path(f"{NAME}.run") / "logs" / "metrics.jsonl"
records = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
display(plot_training(records))
losses = np.array([record["train/loss"] for record in records if "train/loss" in record])
tenth = max(1, losses.size // 10)
first, last = losses[:tenth].mean(), losses[-tenth:].mean()
print(f"the loss fell from {first:.2f} to {last:.2f}")
assert last < first

# %% [markdown]
# ## 4. Listen
#
# First the same as always: a recording that it was trained on, played by the instrument from its
# pitch and loudness alone. If this does not sound like the recording, nothing will: train longer.

# %%
heard = sorted(
    path
    for named in recordings
    for path in (named.rglob("*") if named.is_dir() else [named])
    if path.name in {Path(source.name).name for source in manifest.sources}
)
replayed = Path(f"{NAME}_replayed.wav")
report = transfer.transfer(heard[0], replayed, to=folder)
for path in (heard[0], replayed):
    print(path.name)
    display(Audio(io.read_audio(path, sample_rate=model.sample_rate), rate=model.sample_rate))
display(transfer.plot_transfer(heard[0], replayed, report))

# %% [markdown]
# Then in numbers, on what it never heard: how far the spectrum, the loudness and the pitch are from
# the recording's. For comparison: the same network untrained, and harmonics of $1/k$ that are told
# pitch and loudness.

# %%
if manifest.splits["test"].n_examples:
    trained, statistics, _ = load_instrument(folder)
    for row in evaluate_autoencoder(trained, dataset, statistics=statistics, baselines=True):
        print(
            f"{row.name:>10}: spectral loss {row.spectral_loss.value:6.2f}, "
            f"loudness off by {row.loudness_l1_db.value:5.2f} dB, "
            f"pitch by {row.f0_l1_semitones.value:.2f} semitones"
        )
else:
    print("there was too little sound to hold some out")

# %% [markdown]
# ## 5. Keep it
#
# The instrument is a folder of plain files. As a zip, `timbre_transfer.ipynb` takes it (*upload a
# zip*), and so does `ddspx instruments add`.

# %%
archive = pack_instrument(folder, f"{NAME}.zip")
print(f"{archive}: {archive.stat().st_size / 1e6:.1f} MB")
if files is not None:
    files.download(str(archive))
