"""The notebooks: pairs in sync, forms that say what the library does, and runs from end to end."""

import ast
import base64
import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import jupytext
import nbformat
import numpy as np
import pytest
from helpers import sine
from nbclient import NotebookClient

from ddspx import features, io
from ddspx.instruments import (
    describe_instrument,
    instrument_names,
    load_instrument,
    pack_instrument,
)
from ddspx.models.autoencoder import load_autoencoder, save_autoencoder
from ddspx.transfer import RANGES, TransferConfig

COLAB = Path(__file__).parents[2] / "colab"
MELODY = COLAB.parent / "examples" / "melody" / "melody.flac"
NAMES = ("audio_features", "synthesis", "timbre_transfer", "train_autoencoder")
RATE = 16_000


def cells_of(name, kind="code"):
    """Sources of the cells of a notebook."""
    notebook = nbformat.read(COLAB / f"{name}.ipynb", as_version=4)
    return [cell.source for cell in notebook.cells if cell.cell_type == kind]


def form(name, title):
    """The fields of a form: name -> (default, what stands after @param)."""
    (cell,) = (cell for cell in cells_of(name) if cell.startswith(f"# @title {title}"))
    fields = re.findall(r"^(\w+) = (.+?)  # @param (.+)$", cell, re.M)
    return {field: (ast.literal_eval(default), param) for field, default, param in fields}


def executed(name, folder, *, changes=(), **environment):
    """What a notebook prints, run in `folder` in smoke mode, with changes to its sources."""
    notebook = nbformat.read(COLAB / f"{name}.ipynb", as_version=4)
    for old, new in changes:
        (cell,) = (cell for cell in notebook.cells if old in cell.source)
        cell.source = cell.source.replace(old, new)
    # Unoptimized programs, as the suite has them, would take longer here than compiling does.
    inherited = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    settings = {"DDSPX_SMOKE": "1", "JAX_PLATFORMS": "cpu", **environment}
    client = NotebookClient(notebook, timeout=1200, resources={"metadata": {"path": str(folder)}})
    client.execute(env=inherited | settings)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []
    return "".join(output.get("text", "") for output in outputs)


def pitch_of(path):
    """Pitch (MIDI) where one is heard, at frames of 10 ms, and the samples."""
    audio = io.read_audio(path, sample_rate=RATE)
    f0_hz, confidence = features.track_pitch(audio, sample_rate=RATE, hop_length=160)
    return np.where(confidence >= 0.5, 69 + 12 * np.log2(f0_hz / 440), np.nan), audio


def test_each_notebook_has_its_pair():
    for suffix in ("py", "ipynb"):
        assert sorted(path.stem for path in COLAB.glob(f"*.{suffix}")) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_pairs_are_in_sync_and_hold_no_outputs(name):
    script = jupytext.read(COLAB / f"{name}.py")
    notebook = nbformat.read(COLAB / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    kept = [(cell.cell_type, cell.source, dict(cell.metadata)) for cell in notebook.cells]
    there = [(cell.cell_type, cell.source, dict(cell.metadata)) for cell in script.cells]
    hint = f"run: jupytext --to ipynb --update colab/{name}.py"
    assert kept == there, hint
    for cell in notebook.cells:
        assert not cell.get("outputs") and cell.get("execution_count") is None, hint


# Runs a first cell with a pip that writes an empty ddspx, or refuses what it is told to.
INSTALLER = """
import json, subprocess, sys
from pathlib import Path
cell, target, refusal = Path(sys.argv[1]).read_text(), Path(sys.argv[2]), json.loads(sys.argv[3])
ran = []
def run(command, **options):
    assert command[:4] == [sys.executable, "-m", "pip", "install"] and options["check"]
    assert not {"--upgrade", "-U"} & set(command)
    ran.append(command[-1])
    for beginning, said in refusal.items():
        if command[-1].startswith(beginning):
            raise subprocess.CalledProcessError(1, command, stderr=said)
    (target / "ddspx").mkdir(parents=True)
    (target / "ddspx" / "__init__.py").write_text("__version__ = 'new'")
subprocess.run = run
sys.path.append(str(target))
error = None
try:
    exec(compile(cell, "cell", "exec"), {})
except RuntimeError as raised:
    error = str(raised)
there = hasattr(sys.modules.get("ddspx"), "__version__")
print(json.dumps({"ran": ran, "error": error, "there": there}))
"""
CLONE = '[project]\nname = "ddspx"\n'
NOT_THERE = {"ddspx[": "ERROR: No matching distribution found for ddspx[plot,train]"}


@pytest.fixture
def install(tmp_path):
    """Runs the first cell in `notebooks`, in a process of its own without packages."""
    cell, target = tmp_path / "cell.py", tmp_path / "installed"
    (source,) = {cells_of(name)[0] for name in NAMES}
    folder = tmp_path / "repository" / "notebooks"
    folder.mkdir(parents=True)

    def run(*, url="", refusal=(), modules=""):
        cell.write_text(source.replace('URL = ""', f"URL = {url!r}"))
        program = [sys.executable, "-S", "-c", INSTALLER, cell, target, json.dumps(dict(refusal))]
        done = subprocess.run(
            [str(part) for part in program],
            capture_output=True,
            text=True,
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(modules)},
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1]) | {"said": done.stdout}

    run.folder, run.target = folder, target
    return run


def test_an_installed_ddspx_is_used(install):
    (install.target / "ddspx").mkdir(parents=True)
    (install.target / "ddspx" / "__init__.py").write_text("__version__ = 'old'")
    (install.folder / "ddspx").mkdir()
    (install.folder / "ddspx" / "pyproject.toml").write_text(CLONE)
    found = install(url="https://example.org/a.whl")
    assert found["ran"] == [] and found["there"] and "ddspx old" in found["said"]


@pytest.mark.parametrize("place", [".", "..", "../..", "ddspx", "ddspx-main", "../notebooks/a b"])
def test_a_clone_beside_or_above_is_found_by_any_name(place, install):
    # What lies about is neither a project of that name nor readable.
    for name, text in (("other", '[project]\nname = "other"\n'), ("a-broken", "[[")):
        (install.folder / name).mkdir()
        (install.folder / name / "pyproject.toml").write_text(text)
    (install.folder / "ddspx-0.1.0-py3-none-any.whl").touch()
    clone = (install.folder / place).resolve()
    # As git makes it: a folder, and in it another with the package.
    (clone / "ddspx").mkdir(parents=True, exist_ok=True)
    (clone / "pyproject.toml").write_text(CLONE)
    found = install(url="https://example.org/a.whl")
    assert found["ran"] == [f"{clone}[plot,train]"] and found["there"]


def test_without_a_clone_the_newest_wheel_is_installed(install):
    for age, version in ((200, "0.2.0"), (100, "0.10.0"), (300, "0.1.0")):
        wheel = install.folder / f"ddspx-{version}-py3-none-any.whl"
        wheel.touch()
        os.utime(wheel, (1e9 - age, 1e9 - age))
    (install.folder / "jaxlib-0.7.2.whl").touch()
    found = install(url="https://example.org/a.whl")
    wheel = install.folder / "ddspx-0.10.0-py3-none-any.whl"
    assert found["ran"] == [f"{wheel}[plot,train]"] and found["there"]


def test_without_a_wheel_an_address_or_else_the_index_is_used(install):
    found = install(url="https://example.org/a.whl")
    assert found["ran"] == ["ddspx[plot,train] @ https://example.org/a.whl"] and found["there"]
    shutil.rmtree(install.target)
    found = install()
    assert found["ran"] == ["ddspx[plot,train]"] and found["there"]


def test_if_the_index_has_no_package_a_wheel_is_asked_for(install, tmp_path):
    error = install(refusal=NOT_THERE)["error"]
    assert "Put a clone or a wheel of it next to" in error and "`pip wheel --no-deps .`" in error
    colab = tmp_path / "modules" / "google" / "colab"
    colab.mkdir(parents=True)
    (colab / "__init__.py").touch()
    for chosen in ("notes.txt", "my ddspx.whl"):
        (colab / "files.py").write_text(f"def upload():\n    return {{{chosen!r}: b''}}\n")
        found = install(refusal=NOT_THERE, modules=colab.parents[1])
        assert "Choose a wheel of it; in ddspx's source code `pip wheel" in found["said"]
    wheel = install.folder / "my ddspx.whl"
    assert found["ran"] == ["ddspx[plot,train]", f"{wheel}[plot,train]"] and found["there"]


def test_other_errors_of_pip_are_shown_unchanged(install):
    error = install(refusal={"ddspx[": "ERROR: no space left"})["error"]
    assert error == "pip could not install ddspx:\nERROR: no space left"


# The same, with pip itself.
INTO_A_FOLDER = """
import subprocess, sys
cell, target = sys.argv[1:]
run = subprocess.run
subprocess.run = lambda command, **options: run(
    [*command, "--no-deps", "--target", target], **options
)
sys.path.append(target)
exec(open(cell).read())
"""


@pytest.mark.slow
def test_a_clone_and_a_wheel_are_installed(tmp_path):
    """With pip itself, into a folder of its own; what it depends on is not needed to import it."""
    pytest.importorskip("pip", reason="pip is not installed")
    source = tmp_path / "clone" / "ddspx"
    ignored = shutil.ignore_patterns(".git", "tests", "__pycache__", "build", "dist")
    shutil.copytree(COLAB.parent, source, ignore=ignored)
    pip = [sys.executable, "-m", "pip"]
    made = subprocess.run(
        [*pip, "wheel", "--quiet", "--no-deps", "-w", tmp_path / "wheel", source],
        capture_output=True,
        text=True,
    )
    if made.returncode and "hatchling" in made.stderr:
        pytest.skip("hatchling, which builds the package, cannot be had")
    assert made.returncode == 0, made.stderr
    (tmp_path / "cell.py").write_text(cells_of("synthesis")[0])
    for place in ("clone", "wheel"):
        target = tmp_path / f"{place}-target"
        done = subprocess.run(
            [sys.executable, "-S", "-c", INTO_A_FOLDER, tmp_path / "cell.py", target],
            cwd=tmp_path / place,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("ddspx 0.1")
        assert (target / "ddspx" / "melody.flac").is_file()


def test_the_form_has_every_control_of_a_transfer_with_its_range_and_default():
    fields = form("timbre_transfer", "Controls")
    defaults = {
        field.name: getattr(TransferConfig(), field.name)
        for field in dataclasses.fields(TransferConfig)
    }
    assert {name: default for name, (default, _) in fields.items()} == defaults
    for name, (low, high) in RANGES.items():
        slider = fields[name][1]
        assert f"min:{low:g}, max:{high:g}, step:" in slider, name
    assert json.loads(fields["scale"][1]) == ["major", "chromatic"]
    assert '"boolean"' in fields["adjust"][1]
    (cell,) = (cell for cell in cells_of("timbre_transfer") if "# @title Controls" in cell)
    for name in fields:
        assert f"    {name}={name},\n" in cell


def test_forms_offer_the_instruments_that_ship(monkeypatch, tmp_path):
    monkeypatch.setenv("DDSPX_INSTRUMENTS", str(tmp_path))
    own = ("upload a zip", "upload your own sound", "record your own sound")
    for name, title, field, others in (
        ("timbre_transfer", "Choose an instrument", "INSTRUMENT", own),
        ("train_autoencoder", "Prepare", "START", ("none",)),
    ):
        choices = json.loads(form(name, title)[field][1].partition(" {")[0])
        assert sorted(choices) == sorted((*instrument_names(), *others)), (name, field)


@pytest.fixture
def chosen(tmp_path, monkeypatch):
    """Runs the cell that chooses an instrument, with a stand-in for what listens to a sound."""
    (cell,) = (cell for cell in cells_of("timbre_transfer") if "Choose an instrument" in cell)
    (tools,) = (cell for cell in cells_of("timbre_transfer") if "def recorded(" in cell)
    present = tools[tools.index("def present(") : tools.index("for number, path in")]
    monkeypatch.chdir(tmp_path)
    heard, played = [], []

    def listen(sound):
        heard.append(Path(sound))
        return load_instrument("violin")

    def run(instrument, **fields):
        source = cell.replace('INSTRUMENT = "violin"', f"INSTRUMENT = {instrument!r}")
        for name, value in fields.items():
            source = source.replace(f'{name} = ""', f"{name} = {value!r}")
        names = {
            "Audio": lambda samples, rate: samples,
            "Path": Path,
            "describe_instrument": describe_instrument,
            "display": played.append,
            "instrument_names": instrument_names,
            "io": io,
            "load_instrument": listen,
            "np": np,
            "recorded": lambda seconds, name: shutil.copy(MELODY, name) and Path(name),
            "save_autoencoder": save_autoencoder,
            "tempfile": tempfile,
            "uploaded": lambda what: [MELODY],
        }
        exec(compile(f"{present}\n\n{source}", "cell", "exec"), names)
        return names["instrument"], heard, played

    return run


def test_a_sound_of_ones_own_is_the_instrument(chosen, capsys, tmp_path):
    for fields, sound, name in (
        ({"instrument": "upload your own sound"}, MELODY, "melody"),
        ({"instrument": "upload your own sound", "SOUND": str(MELODY)}, MELODY, "melody"),
        ({"instrument": "record your own sound"}, Path("sound.wav"), "sound"),
    ):
        instrument, heard, played = chosen(**fields)
        assert (instrument.name, heard[-1]) == (name, sound) and played[-1].size > RATE
        # No model folder of one's own is replaced.
        assert tmp_path not in instrument.parents and not any(
            path.is_dir() for path in tmp_path.iterdir()
        )
        said = capsys.readouterr().out
        assert re.search(
            rf"{name}: notes \S+ to \S+, 16000 Hz\nas heard in \d+ s of {sound.name}", said
        )
        assert load_instrument(instrument).model.config.sample_rate == RATE
    assert chosen("cello")[0] == "cello" and "as heard in" not in capsys.readouterr().out
    # What is no sound is refused as a recording is, before anything listens to it.
    (tmp_path / "text.wav").write_text("no sound")
    with pytest.raises(io.AudioError, match=r"text\.wav cannot be read as audio"):
        chosen("upload your own sound", SOUND="text.wav")
    assert len(heard) == 3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["audio_features", "synthesis"])
def test_a_lesson_runs_and_its_claims_hold(name, tmp_path):
    printed = executed(name, tmp_path)
    # The notebooks assert what they say; here, that they came to their ends.
    last = {"audio_features": "every note of the score was tracked", "synthesis": "semitones; 1.50"}
    assert last[name] in printed


@pytest.mark.slow
def test_transfer_plays_the_tune_on_the_violin(tmp_path):
    printed = executed("timbre_transfer", tmp_path, DDSPX_INSTRUMENTS=str(tmp_path / "own"))
    assert "clicks: 0" in printed
    sung, recording = pitch_of(MELODY)
    played, result = pitch_of(tmp_path / "melody_on_violin.wav")
    assert result.size == recording.size
    both = np.isfinite(sung) & np.isfinite(played)
    assert both.mean() > 0.7
    # The same notes, in whatever octave the violin has them.
    octaves = np.median(played[both] - sung[both])
    assert abs(octaves - 12 * round(octaves / 12)) < 0.2
    assert np.median(np.abs(played[both] - sung[both] - octaves)) < 0.2


@pytest.mark.slow
def test_in_colab_a_recorded_sound_is_played_on_an_uploaded_instrument(tmp_path):
    colab = tmp_path / "modules" / "google" / "colab"
    colab.mkdir(parents=True)
    tone = sum(sine(440.0 * k, 96_000, sample_rate=48_000, amplitude=0.3 / k) for k in range(1, 6))
    samples = base64.b64encode(np.round(32767 * tone).astype("<i2").tobytes()).decode()
    archive = pack_instrument("violin", tmp_path / "fiddle.zip")
    (colab / "__init__.py").write_text("")
    (colab / "output.py").write_text(
        "def eval_js(script):\n"
        "    assert script.endswith('(2)')\n"
        f"    return {{'rate': 48000, 'samples': {samples!r}}}\n"
    )
    (colab / "files.py").write_text(
        "from pathlib import Path\n"
        f"def upload():\n    return {{{str(archive)!r}: b''}}\n"
        "def download(name):\n    Path('downloaded').write_text(name)\n"
    )
    path = os.pathsep.join([str(colab.parents[1]), os.environ.get("PYTHONPATH", "")])
    executed(
        "timbre_transfer",
        tmp_path,
        changes=(
            ('SOURCE = "the sung tune"', 'SOURCE = "record"'),
            ("SECONDS = 10", "SECONDS = 2"),
            ('INSTRUMENT = "violin"', 'INSTRUMENT = "upload a zip"'),
            ("wet = 1.0", "wet = 0.9"),
        ),
        PYTHONPATH=path.rstrip(os.pathsep),
        DDSPX_INSTRUMENTS=str(tmp_path / "own"),
    )
    assert (tmp_path / "own" / "fiddle" / "weights.safetensors").is_file()
    assert (tmp_path / "downloaded").read_text() == "recording_on_fiddle.wav"
    midi, result = pitch_of(tmp_path / "recording_on_fiddle.wav")
    assert result.size == 2 * RATE
    assert abs(np.nanmedian(midi) % 12 - 69 % 12) < 0.2


@pytest.mark.slow
def test_training_ends_in_a_zip_that_transfer_takes(tmp_path):
    pytest.importorskip("grain", reason="the train extra is not installed")
    printed = executed("train_autoencoder", tmp_path)
    before, after = map(float, re.search(r"fell from ([\d.]+) to ([\d.]+)", printed).groups())
    assert after < 0.8 * before
    _, statistics, provenance = load_autoencoder(tmp_path / "my-instrument")
    # D4 and D5 are the ends of the tune, which it learns the middle of.
    assert 61 < statistics.pitch_midi_min < statistics.pitch_midi_max < 75
    assert provenance["data"]["licence"] == "Apache-2.0"
    executed(
        "timbre_transfer",
        tmp_path,
        changes=(
            ('INSTRUMENT = "violin"', 'INSTRUMENT = "upload a zip"'),
            ('ZIP = ""', f"ZIP = {str(tmp_path / 'my-instrument.zip')!r}"),
        ),
        DDSPX_INSTRUMENTS=str(tmp_path / "own"),
    )
    audio = io.read_audio(tmp_path / "melody_on_my-instrument.wav", sample_rate=RATE)
    assert audio.size == io.read_audio(MELODY, sample_rate=RATE).size
    assert np.abs(audio).max() > 0.01


BROWSER = """
const track = {stopped: false, stop() { this.stopped = true; }};
const stream = {getTracks: () => [track]};
let received;
Object.defineProperty(globalThis, "navigator", {value: {mediaDevices: {
  getUserMedia: async constraints => { received = constraints; return stream; }}}});
globalThis.MediaRecorder = class {
  constructor(from) { if (from !== stream) throw new Error("another stream"); }
  start() { this.ondataavailable({data: new Uint8Array([1, 2, 3])}); }
  stop() { this.ondataavailable({data: new Uint8Array([4])}); this.onstop(); }
};
globalThis.document = {createElement: () => ({}), body: {append() {}}};
globalThis.AudioContext = class {
  async decodeAudioData(bytes) {
    if (bytes.byteLength !== 4) throw new Error("pieces are missing");
    return {sampleRate: 44100, getChannelData: () => Float32Array.from(
        {length: 50000}, (_, i) => i === 1 ? 3 : i === 2 ? -0.5 : 0)};
  }
};
RECORDER(0.01).then(recorded => {
  if (!track.stopped) throw new Error("the microphone is still on");
  console.log(JSON.stringify({...recorded, received}));
});
"""


def test_the_recorder_sends_16_bits_and_releases_the_microphone(tmp_path):
    node = shutil.which("node")
    if node is None:
        pytest.skip("node, which runs the browser's part, is not installed")
    (cell,) = (cell for cell in cells_of("timbre_transfer") if "RECORDER = " in cell)
    (script,) = re.findall(r'RECORDER = """(.*?)"""', cell, re.S)
    program = tmp_path / "recorder.js"
    program.write_text(BROWSER.replace("RECORDER", f"({script})"))
    run = subprocess.run([node, str(program)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    recorded = json.loads(run.stdout)
    samples = np.frombuffer(base64.b64decode(recorded["samples"]), "<i2")
    assert samples.size == 50_000 and recorded["rate"] == 44_100
    # Too loud is held at full scale, not wrapped.
    assert samples[:4].tolist() == [0, 32767, -16383, 0]
    assert recorded["received"]["audio"]["noiseSuppression"] is False
