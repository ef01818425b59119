"""The commands of the pages and the README are understood; those of the trainer's page run."""

import importlib
import keyword
import re
import shlex
from pathlib import Path

import pytest
from labelled_data import write_sounds

from ddspx import io
from ddspx.cli import _COMMANDS, main
from ddspx.cli._parser import parse

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
TRAINER = ROOT / "docs" / "start" / "trainer.md"


def blocks(page, *languages):
    """The language and the text of each block of code of a page, from top to bottom."""
    pattern = rf"^```({'|'.join(languages)})\n(.*?)^```"
    return re.findall(pattern, page.read_text(encoding="utf-8"), re.M | re.S)


def commands(text):
    """The words of each `ddspx` command in a block."""
    lines = (shlex.split(line, comments=True) for line in text.replace("\\\n", " ").splitlines())
    return [words[words.index("ddspx") + 1 :] for words in lines if "ddspx" in words]


COMMANDS = sorted(
    {
        tuple(words)
        for page in PAGES
        for _, text in blocks(page, "sh", "bash")
        for words in commands(text)
        if words
    }
)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_the_parser_understands_a_command(words):
    count = 2 if " ".join(words[:2]) in _COMMANDS else 1
    module, *function = words[:count]
    name = (function or [module])[0]
    # No function can be named `import`.
    name = f"{name}_" if keyword.iskeyword(name) else name
    command = getattr(importlib.import_module(f"ddspx.cli._{module}"), name)
    assert callable(parse(command, words[count:], program=f"ddspx {module}", usage=""))


@pytest.mark.slow
def test_the_trainers_page_runs_from_top_to_bottom(tmp_path, monkeypatch):
    """With the smallest models, one step each, and a folder of recordings for each section."""
    instrument, classifier = tmp_path / "instrument", tmp_path / "classifier"
    melody = io.read_audio(ROOT / "examples" / "melody" / "melody.flac", sample_rate=16_000)
    for i in range(3):
        path = instrument / "recordings" / f"{i}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        # Copies would be left out.
        io.write_audio(path, (0.5 + 0.1 * i) * melody, sample_rate=16_000)
    io.write_audio(instrument / "voice.flac", melody[:32_000], sample_rate=16_000)
    write_sounds(classifier / "recordings")
    write_sounds(classifier / "new", each=1, labels=("low",))
    (classifier / "new" / "low" / "0.flac").rename(classifier / "new" / "0.wav")

    small = {
        "train": ["--steps", "1", "--batch-size", "1"],
        "classify train": "--blocks 1 --channels 2 --steps 1 --batch-size 3".split(),
    }
    for language, text in blocks(TRAINER, "sh", "python"):
        monkeypatch.chdir(classifier if "classify" in text else instrument)
        if language == "python":
            for name in ("dataset", "my-instrument", "my-instrument.run"):
                Path(name).rename(f"{name} of the command")
            text = text.replace(".small()", ".tiny()").replace("steps=5_000", "steps=1")
            exec(compile(text, TRAINER.name, "exec"), {})
            continue
        for words in commands(text):
            name = next(name for name in (" ".join(words[:2]), words[0]) if name in _COMMANDS)
            words = ["tiny" if word == "small" else word for word in words]
            words = [
                file
                for word in words
                for file in (sorted(map(str, Path().glob(word))) if "*" in word else [word])
            ]
            assert main([*words, *small.get(name, [])]) == 0, words
    assert (instrument / "voice-on-my-instrument.wav").is_file()
    assert (instrument / "my-instrument" / "weights.safetensors").is_file()
    assert (classifier / "scores").is_dir()
