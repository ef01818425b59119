"""Classification from the command line: its output, its files and its errors."""

import csv
import importlib
import json
import shutil

import numpy as np
import pytest
from labelled_data import LABELS, RATE, sound, write_sounds
from toy_instrument import save_toy_instrument, toy_config

from ddspx import io
from ddspx.cli import main
from ddspx.io._pool import available_cores
from ddspx.models.spectnet import load_spectnet
from ddspx.nn import (
    FrontendConfig,
    GammatoneFilters,
    LeafFilters,
    LeafPcenCompression,
    Log1pCompression,
    LogCompression,
    PcenCompression,
    SincNetFilters,
    SpectNetFilters,
    TimbreEncoderConfig,
    TriangularFilters,
)
from ddspx.training import TrainResult
from ddspx.training._run import Best

command = importlib.import_module("ddspx.cli._classify")

SIZES = "--front-end log-mel --bands 8 --blocks 1 --channels 4 --dropout 0.1 --segment-s 0.2"
NUMBERS = "--steps 40 --batch-size 12 --evaluate-every 20 --learning-rate 3e-3"


def call(*arguments):
    return main(["classify", *" ".join(map(str, arguments)).split()])


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    return write_sounds(tmp_path_factory.mktemp("data") / "sounds")


@pytest.fixture(scope="module")
def trained(sounds, tmp_path_factory):
    model = tmp_path_factory.mktemp("models") / "toy"
    assert call("train", sounds, "-o", model, SIZES, NUMBERS) == 0
    return model


def refused(capsys, *arguments, status=2):
    """The one line of a command that is refused."""
    assert call(*arguments) == status
    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    assert line.startswith(f"ddspx classify {arguments[0]}: ")
    return line


# train


def test_training_writes_a_model_of_the_requested_sizes(trained):
    model, provenance = load_spectnet(trained)
    config = model.config
    assert config.labels == LABELS
    assert (config.frontend.n_bands, config.n_blocks, config.channels) == (8, 1, 4)
    # The rate of the recordings; 0.2 s of frames 10 ms apart.
    assert (config.frontend.sample_rate, config.segment_length) == (RATE, RATE // 5)
    assert provenance["source"]["seed"] == 0 and provenance["source"]["fold"] is None


@pytest.fixture
def asked(monkeypatch):
    """Replaces the training, and returns the arguments that it is called with."""
    called = {}

    def train(recordings, output, **options):
        called.update(recordings=recordings, output=output, **options)
        return TrainResult(3, Best(2, 1.0), called["config"].steps == 3)

    monkeypatch.setattr("ddspx.training.train_classifier", train)
    return called


def test_options_reach_the_training_and_its_last_step_is_printed(sounds, tmp_path, asked, capsys):
    output = tmp_path / "model"
    options = "--steps 3 --smoothing 0.2 --frontend-rate 0 --skip-nonfinite"
    assert call("train", sounds, "-o", output, options) == 0
    ended, log = capsys.readouterr().out.splitlines()
    assert ended == f"Ended at step 3: {output} holds the weights of step 2."
    assert log.endswith(f"; to view it: tensorboard --logdir {output}.run/logs")
    config = asked["config"]
    assert (config.steps, config.smoothing, config.frontend_rate) == (3, 0.2, 0.0)
    assert config.skip_nonfinite and asked["workers"] == available_cores()
    assert asked["output"] == output
    # All that learns, on as long segments as the recordings, nearly.
    assert asked["model"].frontend.filters.trainable == ("centers", "bandwidths", "gains")
    assert asked["model"].frontend.compression == PcenCompression(1e-6, trainable=True)
    assert 0.4 < asked["model"].segment_length / RATE < 0.5
    assert call("train", sounds, "-o", output, "--steps 9 --workers 3") == 0
    assert asked["workers"] == 3
    assert "step 2; the same command resumes the training." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "filters", "compression", "is_learned"),
    [
        ("log-mel", TriangularFilters, Log1pCompression(1e-6), False),
        ("mfcc", TriangularFilters, LogCompression(1e-6), False),
        ("mel-pcen", TriangularFilters, PcenCompression(1e-6, trainable=True), False),
        ("sincnet", SincNetFilters, Log1pCompression(1e-6), True),
        ("leaf", LeafFilters, LeafPcenCompression(), True),
        ("gammatone", GammatoneFilters, Log1pCompression(1e-6, trainable=True), True),
        ("gammatone-pcen", GammatoneFilters, PcenCompression(1e-6, trainable=True), True),
        ("spectnet", SpectNetFilters, LogCompression(1e-16), True),
        ("spectnet-static", SpectNetFilters, LogCompression(1e-16), False),
    ],
)
def test_every_front_end_can_be_chosen(
    sounds, tmp_path, asked, name, filters, compression, is_learned
):
    assert call("train", sounds, "-o", tmp_path / "m", "--steps 3 --front-end", name) == 0
    frontend = asked["model"].frontend
    assert isinstance(frontend.filters, filters) and frontend.compression == compression
    assert bool(frontend.filters.trainable) == is_learned
    assert (frontend.n_bands, frontend.sample_rate) == (40, RATE)


def test_the_front_end_of_a_model_is_taken_with_its_sizes(sounds, tmp_path, asked, capsys):
    config = FrontendConfig.learnable(sample_rate=RATE, n_bands=6)
    encoder = TimbreEncoderConfig(config, 20, channels=2, z_size=2)
    # An instrument that hears is as good as a classifier.
    instrument = toy_config(sample_rate=RATE, hop_length=20, encoder=encoder)
    model = save_toy_instrument(tmp_path / "hearing", config=instrument)
    train = "train", sounds, "-o", tmp_path / "m", "--steps 3 --front-end", model
    # What is the front-end's may be said; 10.01 ms are as many samples.
    assert call(*train, "--bands 6 --hop-ms 10.01") == 0
    assert asked["model"].frontend == config
    assert asked["front_end"].config == config
    for option, words in (
        ("--bands 7", "`n_bands` must be that of the given front-end, 6, got 7; leave it out"),
        ("--sample-rate 1000", "`sample_rate` must be that of the given front-end, 2000, got 1000"),
        ("--hop-ms 20", "`hop_ms` must be that of the given front-end, 10, got 20.0"),
        ("--fmin 0", "`fmin` must be that of the given front-end, 60, got 0.0"),
        (
            "--preset spectnet-16",
            "`sample_rate` must be that of the given front-end, 2000, got 1000",
        ),
    ):
        assert words in refused(capsys, *train, option)
    line = refused(capsys, "train", sounds, "-o", tmp_path / "m", "--front-end log-mell")
    assert "--front-end must be gammatone, " in line and "Did you mean log-mel?" in line


def test_cepstra_of_few_bands_are_refused(sounds, tmp_path, asked, capsys):
    line = refused(
        capsys, "train", sounds, "-o", tmp_path / "m", "--steps 3 --front-end mfcc --bands 8"
    )
    assert "`n_bands` must be at least 13 with mfcc, got 8" in line


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf"])
def test_a_segment_length_out_of_range_is_refused(seconds, sounds, tmp_path, asked, capsys):
    line = refused(capsys, "train", sounds, "-o", tmp_path / "m", f"--segment-s={seconds}")
    assert "`segment_s` must be above 0 and at most 600, got" in line


def test_a_rate_of_zero_is_not_the_default(sounds, tmp_path, asked, capsys):
    line = refused(capsys, "train", sounds, "-o", tmp_path / "m", "--sample-rate 0")
    assert "`sample_rate` must be at least 1, got 0" in line


def test_an_output_that_cannot_be_written_is_refused_before_reading_recordings(
    sounds, tmp_path, asked, capsys
):
    (tmp_path / "file").touch()
    line = refused(capsys, "train", sounds, "-o", tmp_path / "file" / "m")
    assert "`output` must be a folder that can be written to" in line
    assert not asked


def test_a_preset_has_the_published_sizes_unless_they_are_given(sounds, tmp_path, asked):
    output = tmp_path / "m"
    assert call("train", sounds, "-o", output, "--steps 3 --preset spectnet-64") == 0
    model = asked["model"]
    frontend = model.frontend
    assert (frontend.n_bands, frontend.sample_rate, frontend.hop_length) == (64, 1000, 10)
    assert (model.n_blocks, model.channels) == (4, 16)
    assert isinstance(frontend.filters, SpectNetFilters)
    options = "--steps 3 --preset spectnet-16 --sample-rate 2000 --blocks 2 --front-end log-mel"
    assert call("train", sounds, "-o", output, options) == 0
    frontend = asked["model"].frontend
    assert (frontend.n_bands, frontend.sample_rate) == (16, 2000)
    assert isinstance(frontend.filters, TriangularFilters)
    assert asked["model"].n_blocks == 2


def test_bad_files_are_named_and_skipped(sounds, tmp_path, capsys):
    folder = tmp_path / "sounds"
    shutil.copytree(sounds, folder)
    lines = [
        f"{path.relative_to(tmp_path)},{path.parent.name},{'test' if path.stem == '0' else 'train'}"
        for path in sorted(folder.rglob("*.flac"))
    ]
    for name in ("high/1.flac", "low/0.flac"):
        (folder / name).write_text(f"no sound in {name}")
    (folder / "low/1.flac").unlink()
    table = tmp_path / "table.csv"
    table.write_text("\n".join(["file,label,split", *lines]) + "\n")
    model = tmp_path / "model"
    assert call("train", table, "-o", model, SIZES, "--steps 1 --batch-size 6") == 1
    said = capsys.readouterr()
    assert f"Ended at step 1: {model} holds the weights of step 1." in said.out
    bad, gone, end = said.err.splitlines()
    assert "high/1.flac cannot be read as audio" in bad and "low/1.flac does not exist" in gone
    assert end == "ddspx classify train: left out 2 of 27 recordings."
    assert call("evaluate", model, table, "--part test") == 1
    said = capsys.readouterr()
    assert "low/0.flac cannot be read as audio" in said.err
    assert said.err.splitlines()[-1] == "ddspx classify evaluate: left out 1 of 3 recordings."


def test_unusable_data_is_refused(sounds, tmp_path, capsys):
    train = f"-o {tmp_path / 'model'}"
    (tmp_path / "one").mkdir()
    shutil.copytree(sounds / "low", tmp_path / "one" / "low")
    assert "only one class, 'low'" in refused(capsys, "train", tmp_path / "one", train)
    (tmp_path / "one" / "high").mkdir()
    assert "class 'high' is empty" in refused(capsys, "train", tmp_path / "one", train)
    table = tmp_path / "table.csv"
    table.write_text("file,label,split,group\na,x,train,ann\nb,y,train,bob\nc,y,test,ann\n")
    assert "divides the group 'ann'" in refused(capsys, "train", table, train)
    table.write_text("file,label,split\na,x,train\nb,y,test\n")
    assert "'y' has no recording in the train split" in refused(capsys, "train", table, train)
    table.write_text("file,label,fold\na,x,1\nb,y,2\n")
    assert "with --fold: 1, 2." in refused(capsys, "train", table, train)
    assert "has no fold '3'" in refused(capsys, "train", table, train, "--fold 3")
    assert "does not exist" in refused(capsys, "train", tmp_path / "none", train)
    assert not (tmp_path / "model").exists() and not (tmp_path / "model.run").exists()


# evaluate


def test_evaluation_prints_the_numbers_that_it_writes(
    trained, sounds, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "80")
    output = tmp_path / "new" / "out"
    assert call("evaluate", trained, sounds, "-o", output) == 0
    said = capsys.readouterr()
    assert said.err == "" and max(map(len, said.out.splitlines())) <= 80
    scores = json.loads((output / "scores.json").read_text())
    assert scores["labels"] == list(LABELS)
    # The recordings that neither trained the model nor selected weights: a fifth of each class.
    decided = scores["all"]["mean_probability"]
    assert decided["n_examples"] == 6 and decided["accuracy"]["value"] == 1.0
    assert 0.5 < decided["accuracy"]["low"] < decided["accuracy"]["high"] == 1.0
    assert np.diag(decided["confusion"]).tolist() == [2, 2, 2]
    assert scores["all"]["segments"]["n_examples"] > 6
    for name in ("accuracy", "macro F1", "MACC", "sensitivity", "specificity", "precision"):
        (line,) = (line for line in said.out.splitlines() if line.startswith(f"  {name} "))
        assert "100.0 [" in line
    matrix = [line.split() for line in said.out.splitlines() if line.split()[:1] in (["1"], ["3"])]
    assert matrix == [["1", LABELS[0], "2", ".", "."], ["3", LABELS[2], ".", ".", "2"]]
    assert scores["groups"] == {"segments": {}, "majority": {}, "mean_probability": {}}
    with open(output / "predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    recordings = io.labelled_recordings(sounds)
    assert {row["file"] for row in rows} == {r.name for r in recordings if r.split == "test"}
    for row in rows:
        shares = [float(row[label]) for label in LABELS]
        assert row["predicted"] == row["label"] == LABELS[int(np.argmax(shares))]
    assert (output / "confusion.png").read_bytes().startswith(b"\x89PNG")


def test_groups_and_a_positive_label_are_reported(trained, tmp_path, capsys):
    lines = []
    for i, label in enumerate(("low", "low", "high", "high")):
        path = tmp_path / f"{i}.wav"
        io.write_audio(path, sound(label, 100 + i), sample_rate=RATE)
        # The last label is wrong, and its group therefore less than perfect.
        lines.append(f"{path.name},{'low' if i == 3 else label},{('[a]', 'b')[i // 2]}")
    table = tmp_path / "table.csv"
    table.write_text("\n".join(["file,label,group", *lines]) + "\n")
    assert call("evaluate", trained, table, "-o", tmp_path / "out", "--positive low") == 0
    said = capsys.readouterr().out
    assert "each group" in said and "\n  [a] " in said
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    groups = scores["groups"]["mean_probability"]
    assert [groups[name]["accuracy"]["value"] for name in ("[a]", "b")] == [1.0, 0.5]
    decided = scores["all"]["mean_probability"]
    assert decided["sensitivity"]["value"] == pytest.approx(2 / 3)
    # There is no noise among them: nothing is known of it.
    assert decided["classes"][LABELS.index("noise")]["sensitivity"]["value"] is None
    line = refused(capsys, "evaluate", trained, table, "--positive dog")
    assert "`positive` must be one of" in line and "'dog'" in line


def test_other_recordings_with_the_same_names_can_be_evaluated(trained, tmp_path):
    others = write_sounds(tmp_path / "others", each=2, seed=7)
    assert call("evaluate", trained, others, "-o", tmp_path / "out") == 0
    with open(tmp_path / "out" / "predictions.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == 2 * len(LABELS)


def test_the_chosen_fold_is_evaluated(trained, tmp_path, capsys):
    lines = []
    for i in range(6):
        path = tmp_path / f"{i}.wav"
        io.write_audio(path, sound(LABELS[i % 3], 200 + i), sample_rate=RATE)
        lines.append(f"{path.name},{LABELS[i % 3]},{i // 3}")
    table = tmp_path / "table.csv"
    table.write_text("\n".join(["file,label,fold", *lines]) + "\n")
    options = f"--part test --fold 1 -o {tmp_path / 'out'}"
    assert call("evaluate", trained, table, options) == 0
    with open(tmp_path / "out" / "predictions.csv", newline="") as file:
        assert [row["file"] for row in csv.DictReader(file)] == ["3.wav", "4.wav", "5.wav"]
    assert "has no fold '7'; its" in refused(
        capsys, "evaluate", trained, table, "--part test --fold 7"
    )


def test_recordings_of_the_training_are_not_evaluated(trained, sounds, tmp_path, capsys):
    recordings = [r for r in io.labelled_recordings(sounds) if r.split == "train"]
    table = tmp_path / "table.csv"
    lines = [f"{recording.path},{recording.label},test" for recording in recordings]
    table.write_text("\n".join(["file,label,split", *lines]) + "\n")
    assert "There is no unheard recording" in refused(capsys, "evaluate", trained, table)
    line = refused(capsys, "evaluate", trained, table, "--part test")
    assert "is in the test split, but the model was trained on it" in line
    assert call("evaluate", trained, table, "--part all") == 0


def test_unknown_labels_are_refused(trained, tmp_path, capsys):
    table = tmp_path / "table.csv"
    table.write_text("file,label\na.wav,dog\n")
    line = refused(capsys, "evaluate", trained, table)
    assert "has the label 'dog', which is not one of the model's labels high, low, noise." in line


# predict


def test_predictions_are_lines_of_file_label_and_probability(trained, tmp_path, capsys):
    files = []
    for label in LABELS:
        path = tmp_path / f"{label}.wav"
        # Of another rate, and of several segments.
        audio = np.repeat(np.tile(sound(label, 50), 5), 4)
        io.write_audio(path, audio, sample_rate=4 * RATE)
        files.append(path)
    assert call("predict", trained, *files) == 0
    said = capsys.readouterr()
    assert said.err == ""
    for path, label, line in zip(files, LABELS, said.out.splitlines(), strict=True):
        name, called, share = line.split("\t")
        assert (name, called) == (str(path), label)
        assert 1 / 3 < float(share) <= 1
    assert call("predict", trained, files[0], "--all") == 0
    _, *cells = capsys.readouterr().out.strip().split("\t")
    assert sorted(cells[::2]) == sorted(LABELS) and cells[0] == "high"
    shares = [float(share) for share in cells[1::2]]
    assert shares == sorted(shares, reverse=True) and sum(shares) == pytest.approx(1, abs=2e-4)


def test_a_bad_file_among_good_ones_is_reported(trained, sounds, tmp_path, capsys):
    good, bad = sounds / "low" / "0.flac", tmp_path / "bad.wav"
    bad.write_text("no sound")
    assert call("predict", trained, bad, good, tmp_path / "none.wav") == 1
    said = capsys.readouterr()
    assert said.out.split("\t")[:2] == [str(good), "low"] and said.out.count("\n") == 1
    first, second, end = said.err.splitlines()
    assert "bad.wav cannot be read" in first and "none.wav does not exist" in second
    assert end == "ddspx classify predict: left out 2 of 3 recordings."
    assert call("predict", trained, bad) == 1
    assert capsys.readouterr().out == ""


def test_finished_predictions_are_printed_after_an_interruption(
    trained, sounds, monkeypatch, capsys
):
    def one_and_no_more(network, audio, **options):
        next(audio)
        yield np.zeros((1, 3))
        raise KeyboardInterrupt

    monkeypatch.setattr("ddspx.models.spectnet.inference.segment_logits", one_and_no_more)
    good = sounds / "low" / "0.flac"
    assert call("predict", trained, good, good) == 130
    assert capsys.readouterr().out == f"{good}\thigh\t0.3333\n"


def test_finished_predictions_are_printed_if_a_later_file_fails(
    trained, sounds, monkeypatch, capsys
):
    good, read = sounds / "low" / "0.flac", io.read_audio

    def reader(path, **rate):
        if path.name == "broken.wav":
            raise RuntimeError("lost")
        return read(path, **rate)

    monkeypatch.setattr(io, "read_audio", reader)
    assert call("predict", trained, good, good, sounds / "broken.wav", good) == 1
    said = capsys.readouterr()
    assert said.out.count(f"{good}\tlow") == 3 and "RuntimeError (lost)" in said.err


def test_a_label_cannot_steer_the_terminal(trained, sounds, tmp_path, capsys):
    model = tmp_path / "stranger"
    shutil.copytree(trained, model)
    (model / "sha256.json").unlink()
    config = json.loads((model / "config.json").read_text())
    config["labels"] = ["\x1b[31mhigh\x07", "low", "no\tise"]
    (model / "config.json").write_text(json.dumps(config))
    assert call("predict", model, sounds / "high" / "0.flac", "--all") == 0
    _, *cells = capsys.readouterr().out.strip().split("\t")
    assert set(cells[::2]) == {"\\x1b[31mhigh\\x07", "low", "no\\tise"}
    table = tmp_path / "table.csv"
    table.write_text(f"file,label\n{sounds / 'low' / '0.flac'},low\n")
    assert call("evaluate", model, table, "--part all") == 0
    said = capsys.readouterr().out
    assert "\x1b" not in said and "\\x1b[31mhigh" in said


def test_a_missing_file_and_a_missing_model_are_refused(trained, tmp_path, capsys):
    assert "name at least one FILE" in refused(capsys, "predict", trained)
    line = refused(capsys, "predict", tmp_path / "none", "a.wav")
    assert "There is no model folder" in line


# the command itself


def test_the_three_commands_are_listed(capsys):
    assert main(["classify"]) == 2
    listed = capsys.readouterr().out
    assert main(["classify", "--help"]) == 0
    assert capsys.readouterr().out == listed
    for name in ("train DATA -o MODEL", "evaluate MODEL DATA", "predict MODEL FILE..."):
        assert f"\n  classify {name}" in listed
    assert "pitch" not in listed
    assert main(["classify", "tell"]) == 2
    said = capsys.readouterr().err
    assert "there is no command 'classify tell'; use classify train, classify evaluate" in said


@pytest.mark.parametrize("name", ["train", "evaluate", "predict"])
def test_the_help_shows_no_python_types(name, capsys):
    assert main(["classify", name, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"usage: ddspx classify {name}" in text
    assert "{None" not in text and "`" not in text
