"""Gives spoilt files to the commands, and lists what does not end in a sentence.

Run: ``python tests/garbage_files.py 0 500``: a seed, and how many calls. Files that every command
reads (recordings in many formats, model folders, archives, published models, datasets) are cut,
filled, swapped and flipped, and texts in them replaced. A command may work all the same, or end
with a sentence. It may not be stopped by an exception of somebody else, or take long.
"""

import contextlib
import io as text_io
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import hypothesis  # noqa: E402
import numpy as np  # noqa: E402
import soundfile  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from toy_instrument import SAMPLE_RATE, save_toy_instrument, tone  # noqa: E402

from ddspx.cli import main as ddspx  # noqa: E402

LONGEST_S = 60.0
FORMATS = {
    "wav": ("WAV", "PCM_16"),
    "float.wav": ("WAV", "FLOAT"),
    "ext.wav": ("WAVEX", "PCM_24"),
    "rf64.wav": ("RF64", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "aiff": ("AIFF", "PCM_16"),
    "au": ("AU", "PCM_16"),
    "caf": ("CAF", "PCM_16"),
    "w64": ("W64", "PCM_16"),
}
TEXTS = (b"null", b"NaN", b"-1", b'"x"', b"[]", b"{}", b"1e400", b"9" * 400, b"\xff\xfe", b"")
ODD = [None, True, -1, 0, 2**70, 1e308, float("nan"), "", "x", "../x", [], {}, [1], {"a": 1}]


class Case(NamedTuple):
    """A command, the folder of whose files it reads one, and one that it can use.

    `argv` gets the path of the file and a folder for the output.
    """

    command: str
    folder: Path
    usable: str
    argv: Callable[[Path, Path], list]


def spoilt(data: bytes, draw) -> bytes:
    """The contents of a file with one fault."""
    size = max(1, len(data))
    # Headers are where most decisions are made.
    at = draw(st.one_of(st.integers(0, min(size, 200) - 1), st.integers(0, size - 1)))
    kind = draw(
        st.sampled_from(["cut", "flip", "zeros", "noise", "swap", "text", "twice", "empty"])
    )
    length = draw(st.integers(1, 64))
    if kind == "cut":
        return data[:at]
    if kind == "flip":
        bit = draw(st.integers(0, 7))
        return data[:at] + bytes([data[at] ^ (1 << bit)]) + data[at + 1 :] if data else b"\1"
    if kind == "zeros":
        return data[:at] + bytes(length) + data[at + length :]
    if kind == "noise":
        noise = np.random.default_rng(at).bytes(length)
        return data[:at] + noise + data[at + length :]
    if kind == "swap":
        return data[at:] + data[:at]
    if kind == "text":
        return data[:at] + draw(st.sampled_from(TEXTS)) + data[at + draw(st.integers(0, 8)) :]
    return data + data if kind == "twice" else b""


def spoilt_json(data: bytes, draw) -> bytes:
    """A JSON object with another value in the place of one of its values, at any depth."""
    fields = json.loads(data)
    place = fields
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = draw(st.sampled_from(keys))
        inner = place[key]
        if isinstance(inner, (dict, list)) and inner and draw(st.booleans()):
            place = inner
            continue
        odd = [
            None,
            True,
            -1,
            0,
            2**70,
            1e308,
            float("nan"),
            "",
            "x",
            "../x",
            [],
            {},
            [1],
            {"a": 1},
        ]
        place[key] = draw(st.sampled_from(odd))
        return json.dumps(fields).encode()


def made(place: Path) -> list[Case]:
    """The cases, with files made in a folder."""
    sounds = place / "sounds"
    sounds.mkdir()
    for suffix, (form, subtype) in FORMATS.items():
        with contextlib.suppress(soundfile.LibsndfileError, ValueError):
            soundfile.write(
                sounds / f"tone.{suffix}", tone(1.0), SAMPLE_RATE, format=form, subtype=subtype
            )
    model = place / "models" / "toy"
    save_toy_instrument(model)
    archive = place / "archives"
    archive.mkdir()
    published = place / "published"
    shutil.copytree(HERE / "goldens", published)
    dataset = place / "dataset"
    tune = place / "tune.wav"
    soundfile.write(tune, tone(8.0), SAMPLE_RATE)
    with contextlib.redirect_stdout(text_io.StringIO()):
        ddspx(["instruments", "pack", str(model), "-o", str(archive / "toy.zip")])
        ddspx(["prepare", str(tune), "-o", str(dataset), "--example-s", "0.5"])
    wav, heard = sounds / "tone.wav", ["--method", "yin"]
    calls = {
        ("pitch", sounds, "tone.flac"): lambda f, o: ["pitch", f, "-o", o, *heard],
        ("features", sounds, "tone.flac"): lambda f, o: ["features", f, "-o", o, "--kind", "rms"],
        ("prepare", sounds, "tone.flac"): lambda f, o: [
            *("prepare", f, "-o", o / "data", "--example-s", "0.5", *heard)
        ],
        ("transfer", model, "config.json"): lambda f, o: [
            *("transfer", wav, "--to", f.parent, "-o", o / "a.wav")
        ],
        ("instruments add", model, "config.json"): lambda f, o: [
            *("instruments", "add", f.parent, "--overwrite")
        ],
        ("instruments add", archive, "toy.zip"): lambda f, o: [
            *("instruments", "add", f, "--overwrite")
        ],
        ("instruments import", published, "ddsp_vst.zip"): lambda f, o: [
            *("instruments", "import", f, "--overwrite")
        ],
        ("instruments room", model, "config.json"): lambda f, o: [
            *("instruments", "room", f.parent, "-o", o / "a.wav")
        ],
        ("train", dataset, "manifest.json"): lambda f, o: [
            *("train", f.parent, "-o", o / "m", "--preset", "tiny", "--max-minutes", "1e-9")
        ],
        ("evaluate", dataset, "manifest.json"): lambda f, o: ["evaluate", model, f.parent],
        ("verify", dataset, "manifest.json"): lambda f, o: ["verify", f.parent],
        ("verify", model, "config.json"): lambda f, o: ["verify", f.parent],
    }
    return [Case(*facts, argv) for facts, argv in calls.items()]


def outcome(argv: list) -> tuple[str, str]:
    """How a command ended, and what it said on stderr."""
    said, began = text_io.StringIO(), time.process_time()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(text_io.StringIO()):
            status = ddspx([str(word) for word in argv])
    except SystemExit as error:
        status = error.code
    except BaseException as error:
        return "exception", f"{type(error).__name__}: {error}"
    text = said.getvalue()
    if time.process_time() - began > LONGEST_S:
        return "long", text
    if status == 0:
        return "worked", text
    is_sentence = "stopped by" not in text and "Traceback" not in text and text.strip()
    return ("sentence" if is_sentence else "foreign"), text


def main() -> None:
    seed, count = int(sys.argv[1]), int(sys.argv[2])
    kinds, found = defaultdict(Counter), {}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        os.environ["DDSPX_INSTRUMENTS"] = str(place / "shelf")
        cases = made(place)
        for case in cases:
            output = Path(tempfile.mkdtemp(dir=place))
            kind, text = outcome(case.argv(case.folder / case.usable, output))
            assert kind == "worked", (case, kind, text)

        @hypothesis.settings(
            max_examples=count,
            deadline=None,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
            phases=[hypothesis.Phase.generate],
        )
        @hypothesis.seed(seed)
        @hypothesis.given(st.data())
        def call(data):
            case = data.draw(st.sampled_from(cases))
            names = sorted(path.name for path in case.folder.iterdir() if path.is_file())
            name = data.draw(st.sampled_from(names))
            with tempfile.TemporaryDirectory(dir=place) as again:
                copy, output = Path(again, "in"), Path(again, "out")
                shutil.copytree(case.folder, copy)
                output.mkdir()
                path, by_field = copy / name, name.endswith(".json") and data.draw(st.booleans())
                spoil = spoilt_json if by_field else spoilt
                path.write_bytes(spoil(path.read_bytes(), data.draw))
                if by_field:
                    # A digest that fits, as of a file that somebody wrote so.
                    (copy / "sha256.json").unlink(missing_ok=True)
                kind, text = outcome(case.argv(path, output))
                partial = [p.name for p in output.rglob("*.partial")]
                if kind in ("exception", "foreign", "long") or partial:
                    found[f"{case.command} {name} {len(found)}"] = (
                        f"{kind}: {text[-400:]} {partial}"
                    )
            kinds[case.command][kind] += 1

        call()
    print(json.dumps({"calls": kinds, "found": found}, indent=1))


if __name__ == "__main__":
    main()
