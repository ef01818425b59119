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
# This notebook turns recordings of one instrument into a zip that `timbre_transfer.ipynb` plays.
# Run the cells from top to bottom. If you have no recordings, it trains on the sung tune that comes
# with ddspx. That shows how training works, but the tune is far too short for a good sound.
#
# For a real instrument you need
#
# - **ten minutes or more of one instrument, alone, in one room**: no accompaniment, no second
#   voice, and no effects but the room;
# - all the pitches and dynamics that you want to play, because the network cannot learn a note that
#   is not in the recordings;
# - a GPU (in Colab: *Runtime > Change runtime type*) and an hour or two. If the training starts
#   from an existing instrument (`START` below), it needs less time and fewer recordings.

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
    # Outside Colab, recordings are given by their paths.
    files = None

# A smoke test uses the smallest model and a few steps.
SMOKE = os.environ.get("DDSPX_SMOKE") == "1"
# Warnings of libraries to their own developers are hidden.
absl.logging.set_verbosity(absl.logging.ERROR)
print(f"training on {jax.devices()[0].device_kind}")

# %% [markdown]
# ## 1. The recordings
#
# *upload* works in Colab and accepts several files at once. Anywhere else, or for a folder of a
# mounted drive, choose *folder* and write its path into `FOLDER`. Formats: wav, flac, ogg, mp3.
#
# `LICENCE` and `ATTRIBUTION` are stored in the instrument: state what the recordings may be used
# for and who played. Use only recordings that you are allowed to use.

# %% cellView="form"
# @title Choose recordings
SOURCE = "the sung tune"  # @param ["the sung tune", "upload", "folder"]
FOLDER = ""  # @param {type:"string"}
LICENCE = "not stated"  # @param {type:"string"}
ATTRIBUTION = "not stated"  # @param {type:"string"}


def sung_tune():
    """Returns the recording that comes with ddspx; in a checkout it is one of the examples."""
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
# The recordings are mixed to mono and resampled. Pitch and loudness are measured in every frame,
# and silence is cut out. Two parts are held out from the training: *valid* selects the best
# weights, and *test* is used only at the end.
#
# | | |
# |---|---|
# | `NAME` | name of the instrument: letters, digits, `-` and `_`; use a new name for each attempt |
# | `PRESET` | size of the network; `small` is that of the instruments that come with ddspx |
# | `START` | an instrument to start from, the more similar the better; its size replaces `PRESET` |
# | `LOWEST_NOTE_HZ` | the lowest note in the recordings, or slightly less |
# | `EXAMPLE_S` | seconds of one training example |
#
# `solo_instrument` is DDSP's size, six times larger; `tiny` is the smallest. `LOWEST_NOTE_HZ` keeps
# pitches that are tracked an octave too low out of the dataset: violin 190, flute 250, cello 60 Hz.

# %% cellView="form"
# @title Prepare
NAME = "my-instrument"  # @param {type:"string"}
PRESET = "small"  # @param ["small", "solo_instrument", "tiny"]
START = "none"  # @param ["none", "alto_saxophone", "cello", "flute", "flute2", "tenor_saxophone", "trumpet", "tuba", "violin"] {allow-input: true}
LOWEST_NOTE_HZ = 60.0  # @param {type:"number"}
EXAMPLE_S = 4.0  # @param {type:"slider", min:1, max:8, step:0.5}

if SOURCE == "the sung tune":
    EXAMPLE_S = 1.0  # short enough for eight seconds to give examples for every split
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
    print(f"{seconds:.0f} s of sound: enough for a trial, too little for a good instrument")

# %% [markdown]
# Check the measured pitch before you train. The picture shows one example; change `seed` to see
# another one. The line should follow the notes. If it jumps by octaves, raise `LOWEST_NOTE_HZ`. If
# it has many gaps, the recording is not of one instrument alone.

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
# A line appears after every tenth of the steps. The weights with the lowest loss on *valid* are
# kept. You may interrupt this cell. If you run it again, the training continues where it stopped,
# and with more `STEPS` it continues after its end. 300 steps show that the network learns; an
# instrument needs 5000 to 30 000. The loss of a good instrument is between about 4 and 6.

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
# A plain console prints lines, which every notebook shows.
console = Console(file=sys.stdout, force_jupyter=False, force_terminal=False, width=100)
result = train_autoencoder(
    dataset, folder, model=model, config=config, start=start, console=console
)
print(f"{result.step} steps; the weights of step {result.best.step} are kept")

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
# The instrument first plays a recording that it was trained on, from its pitch and loudness alone.
# If this does not sound like the recording, other sounds will not be better: train longer.

# %%
trained_on = sorted(
    path
    for named in recordings
    for path in (named.rglob("*") if named.is_dir() else [named])
    if path.name in {Path(source.name).name for source in manifest.sources}
)
replayed = Path(f"{NAME}_replayed.wav")
report = transfer.transfer(trained_on[0], replayed, to=folder)
for path in (trained_on[0], replayed):
    print(path.name)
    display(Audio(io.read_audio(path, sample_rate=model.sample_rate), rate=model.sample_rate))
display(transfer.plot_transfer(trained_on[0], replayed, report))

# %% [markdown]
# The numbers below are measured on recordings that were not used in training: how far spectrum,
# loudness and pitch of the instrument's sound are from those of the recording. They are compared
# with the untrained network, and with harmonics of amplitudes $1/k$ at the same pitch and loudness.

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
    print("there was too little sound for a test split")

# %% [markdown]
# ## 5. Keep it
#
# The instrument is a folder of plain files. `timbre_transfer.ipynb` (*upload a zip*) and
# `ddspx instruments add` accept it as a zip.

# %%
archive = pack_instrument(folder, f"{NAME}.zip")
print(f"{archive}: {archive.stat().st_size / 1e6:.1f} MB")
if files is not None:
    files.download(str(archive))
