"""``ddspx evaluate --against``: two tables, the same numbers as JSON, and sentences."""

import json

import numpy as np
import pytest

from ddspx import io
from ddspx.cli import main
from ddspx.metrics import Interval
from ddspx.training import Comparison, PairMeasures, SetDistances

pytestmark = pytest.mark.filterwarnings("ignore:The Frechet distance of")
NOTHING = Interval(np.nan, np.nan, np.nan)


@pytest.fixture
def folders(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        for name, hz in (("a", 220), ("b", 330)):
            tone = 0.3 * np.sin(2 * np.pi * hz * np.arange(12_000) / 8000)
            io.write_audio(tmp_path / folder / f"{name}.wav", tone, sample_rate=8000)
    return tmp_path / "one", tmp_path / "two"


def call(*arguments):
    return main(["evaluate", *map(str, arguments)])


def refused(capsys, *arguments):
    assert call(*arguments) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    return said.err


def comparison(pairs=True):
    measures = PairMeasures(4.5, 4.25, 9.0, 1.5, 2.0, 12.0, 0.75, np.nan, 3.0, 1.0)
    means = {name: Interval(x, x - 0.5, x + 0.5) for name, x in measures._asdict().items()}
    means["vibrato_rate_error_hz"] = NOTHING
    of_set = SetDistances("[bold] MFCC", 40, 50, 24, Interval(123.4, 90.0, 110.0), NOTHING)
    return Comparison(3, 2, {"x/1": measures} if pairs else {}, means if pairs else {}, [of_set])


def test_tables_and_json_have_the_same_numbers(folders, tmp_path, capsys, monkeypatch):
    asked = []
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(
        "ddspx.training.compare_recordings",
        lambda *places, **options: asked.append((places, options)) or comparison(),
    )
    path = tmp_path / "numbers.json"
    words = "--against", folders[1], "--sample-rate", 8000, "--seed", 3, "--json", path
    assert call(folders[0], *words) == 0
    said = capsys.readouterr()
    assert said.err == "" and max(map(len, said.out.splitlines())) <= 80
    for text in ("4.5 [4, 5]", "raw pitch accuracy *", "123 [90, 110]", "50, 40", "2 against 3"):
        assert text in said.out
    assert "[bold] MFCC (24)" in said.out and "1 pair:" in said.out
    numbers = json.loads(path.read_text())
    assert numbers["recordings"] == {"target": 3, "predicted": 2}
    assert numbers["measures"]["stft_distance"] == {"value": 1.5, "low": 1.0, "high": 2.0}
    assert numbers["measures"]["vibrato_rate_error_hz"]["value"] is None
    assert numbers["pairs"]["x/1"]["vibrato_rate_error_hz"] is None
    assert numbers["sets"][0]["frechet"]["high"] == 110 and numbers["sets"][0]["n_features"] == 24
    [((target, predicted), options)] = asked
    assert (str(target), str(predicted)) == (str(folders[1]), str(folders[0]))
    assert options["sample_rate"] == 8000 and options["seed"] == 3
    assert list(options["embeddings"]) == ["MFCC"]


def test_without_pairs_only_the_sets_are_shown(folders, capsys, monkeypatch):
    monkeypatch.setattr("ddspx.training.compare_recordings", lambda *_, **__: comparison(False))
    assert call(folders[0], "--against", folders[1]) == 0
    said = capsys.readouterr().out
    assert "No two recordings have the same name" in said and "loudness" not in said


def test_an_instrument_is_rendered_where_there_is_a_dataset(
    instrument, folders, tmp_path, capsys, monkeypatch
):
    asked = []
    monkeypatch.setattr(
        "ddspx.training.compare_renderings",
        lambda *places, **options: asked.append((places, options)) or comparison(),
    )
    assert call(instrument, tmp_path, "--against", folders[1], "--split", "valid") == 0
    [((model, dataset, target), options)] = asked
    assert model.config.sample_rate == 16_000 and dataset == tmp_path
    assert str(target) == str(folders[1])
    assert options["split"] == "valid" and options["statistics"].sample_rate == 16_000


@pytest.mark.slow
def test_recordings_are_compared_and_a_bad_one_is_left_out(folders, capsys):
    (folders[0] / "b.wav").write_text("words")
    assert call(folders[0], "--against", folders[1], "--sample-rate", 8000) == 1
    said = capsys.readouterr()
    assert "1 pair:" in said.out and "1 against 2 recordings" in said.out
    lines = said.err.splitlines()
    assert any("b.wav is left out" in line for line in lines)
    assert lines[-1] == "ddspx evaluate: left out 1 of 4 recordings."


def test_what_has_no_meaning_is_refused(folders, tmp_path, instrument, capsys):
    one, two = folders
    assert "name the DATASET" in refused(capsys, instrument)
    assert "`sample_rate` has a meaning with --against only" in refused(
        capsys, instrument, tmp_path, "--sample-rate", 8000
    )
    assert "`classifier` has a meaning with --against only" in refused(
        capsys, instrument, tmp_path, "--classifier", one
    )
    assert "with two folders of recordings only" in refused(
        capsys, instrument, tmp_path, "--against", two, "--sample-rate", 8000
    )
    assert "`split` has a meaning with a DATASET only, got train" in refused(
        capsys, one, "--against", two, "--split", "train"
    )
    for rate in (0, -1):
        assert f"`sample_rate` must be at least 1, got {rate}" in refused(
            capsys, one, "--against", two, "--sample-rate", rate
        )
    assert "leave out --against" in refused(capsys, one, "--against", two, "--baselines")
    assert "violin is not there; name a folder" in refused(capsys, "violin", "--against", two)
    assert "absent is not there" in refused(capsys, one, "--against", tmp_path / "absent")
    assert "absent" in refused(capsys, one, "--against", two, "--classifier", tmp_path / "absent")
