"""The comparison of front-ends makes a run and a table; its divisions hold out what they say."""

import argparse
import csv
import json
from pathlib import Path

import numpy as np
import pytest
from helpers import sine

from ddspx import io
from ddspx.training import ClassifierTrainConfig

FOLDER = Path(__file__).parents[2] / "examples" / "train_spectnet"


@pytest.fixture
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import table
    import tasks
    import train_spectnet

    return argparse.Namespace(table=table, tasks=tasks, train=train_spectnet)


@pytest.fixture
def low_and_high(tmp_path):
    """Recordings of two classes: tones of 200 to 400 Hz, and of 800 to 1600 Hz."""
    rng, found = np.random.default_rng(0), []
    for i in range(24):
        label, lowest = ("low", 200) if i % 2 else ("high", 800)
        path = tmp_path / f"{label}-{i}.wav"
        tone = 0.3 * sine(lowest * 2 ** rng.random(), 4000, sample_rate=4000)
        io.write_audio(path, tone, sample_rate=4000)
        split = "test" if i < 8 else "train"
        found.append(io.Recording(path, path.name, label, split, path.name))
    return found


@pytest.mark.slow
def test_a_run_distinguishes_tones_and_writes_its_row(scripts, low_and_high, tmp_path, capsys):
    training = ClassifierTrainConfig(steps=60, speed=0.05)
    task = scripts.tasks.Task(4000, 20, 20, 60.0, training, {"given": low_and_high})
    configs = scripts.train.front_ends(task)
    assert len(configs) == 7
    found, network = scripts.train.run(task, "given", configs["ours"], seed=0)
    assert found["predicted"] == found["target"]
    assert len(found["target"]) == 8 and set(found["target"]) == {0, 1}
    assert 0 < found["moved_erb"] < 2
    scripts.train.draw(network.frontend, tmp_path / "bank.png")
    assert (tmp_path / "bank.png").stat().st_size > 10_000
    facts = {"task": "heart", "division": "given", "front_end": "ours", "seed": 0}
    (tmp_path / "results.jsonl").write_text(json.dumps(facts | found) + "\n")
    capsys.readouterr()
    scripts.table.main(tmp_path / "results.jsonl")
    row = next(line for line in capsys.readouterr().out.splitlines() if "| ours |" in line)
    assert "100.0 [68, 100] (1)" in row


def test_a_wider_network_has_its_own_rows_and_runs_are_not_repeated(
    scripts, low_and_high, tmp_path, monkeypatch
):
    asked = []

    def run(task, division, frontend, *, seed, channels):
        asked.append(channels)
        return {"predicted": [0], "target": [0], "seconds": 1.0}, None

    task = scripts.tasks.Task(4000, 20, 20, 60.0, ClassifierTrainConfig(), {"given": low_and_high})
    monkeypatch.setattr(scripts.train, "run", run)
    monkeypatch.setitem(scripts.train.TASKS, "heart", lambda data, choosing: task)
    given = {"data": tmp_path, "results": tmp_path / "results.jsonl", "tasks": ["heart"]}
    others = {"plot": None, "divisions": None, "seeds": 1, "choosing": False}
    for channels in (8, 14, 14):
        scripts.train.main(
            argparse.Namespace(**given, **others, front_ends=["ours"], channels=channels)
        )
    rows = map(json.loads, (tmp_path / "results.jsonl").read_text().splitlines())
    assert [row["front_end"] for row in rows] == ["ours", "ours, 14 channels"]
    assert asked == [8, 14]


def test_a_seed_counts_if_all_its_divisions_were_run(scripts):
    there = [("without a", 0), ("without b", 0), ("without a", 1), ("official", 1)]
    runs = [{"task": "fsdd", "division": division, "seed": seed} for division, seed in there]
    assert scripts.table.whole_seeds(runs, "fsdd", "without") == runs[:2]
    assert scripts.table.whole_seeds(runs, "fsdd", "official") == runs[3:]
    assert scripts.table.whole_seeds(runs, "heart", "") == []


def test_seeds_vote_and_the_first_decides_ties(scripts):
    calls = {2: [1, 0, 1, 3], 0: [0, 0, 1, 2], 1: [1, 1, 0, 1]}
    runs = [{"division": "given", "seed": seed, "predicted": of} for seed, of in calls.items()]
    other = {"division": "at random", "seed": 0, "predicted": [7]}
    given, at_random = scripts.table.voted([*runs, other])
    assert given["predicted"] == [1, 0, 1, 2]
    assert at_random == other
    assert runs[1]["predicted"] == calls[0]


def test_divisions_hold_out_the_named_groups(scripts, shared_data):
    def groups(name, column):
        folder = {"fsdd": "fsdd", "esc10": "esc10", "heart": "heart_yaseen5"}[name]
        with open(shared_data / folder / "metadata.csv", encoding="utf-8") as file:
            return {row["file"]: row[column] for row in csv.DictReader(file)}

    for name, column in (("fsdd", "speaker"), ("esc10", "fold")):
        of, load = groups(name, column), scripts.tasks.TASKS[name]
        left_out = {}
        for division, recordings in load(shared_data).divisions.items():
            if division == "official":
                continue
            held = {of[r.name] for r in recordings if r.split == "test"}
            heard = {of[r.name] for r in recordings if r.split == "train"}
            assert held == {division.split()[1]} and not held & heard
            assert len(recordings) == len(of)
            left_out[division] = held
        for division, held in left_out.items():
            recordings = load(shared_data, choosing=True).divisions[division]
            chosen = {of[r.name] for r in recordings if r.split == "test"}
            heard = {of[r.name] for r in recordings if r.split == "train"}
            assert len(chosen) == 1 and heard == set(of.values()) - chosen - held
    heart = scripts.tasks.TASKS["heart"](shared_data).divisions
    assert set(heart) == {"given", "at random"}
    assert sum(r.split == "test" for r in heart["at random"]) == 200
    official = scripts.tasks.TASKS["fsdd"](shared_data).divisions["official"]
    assert sum(r.split == "test" for r in official) == 300
    (notes,) = scripts.tasks.TASKS["instruments"](shared_data).divisions.values()
    alto = {r.split for r in notes if r.label == "alto_sax" and "mtg" in r.name}
    assert alto == {"test"}
