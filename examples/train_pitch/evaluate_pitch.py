"""Compare pitch trackers on sounds that were not used to train the tracker of ddspx.

    python evaluate_pitch.py RECORDINGS -o results
    python evaluate_pitch.py RECORDINGS -o results --model MODEL --before results/scores.json

Three tables: recordings whose pitch others have measured, and sounds that are made to be hard
("real" and "stress", scored by mir_eval); and recordings that are synthesized again, in noise
("played again"). The trackers of ddspx run as its users run them. Others run in a separate
environment, named by RIVAL_PYTHON; see rivals.py.
"""

import argparse
import json
import os
import subprocess
import time
from pathlib import Path
from typing import get_args

import numpy as np
import played_again
import soundfile
import stress
import truth
from scores import best_lag, read_track, score, table

from ddspx import features
from ddspx.features import PitchMethod
from ddspx.models.pitch import serialization

# What a column shows: the folder of the tracks, and the confidence that means voiced.
COLUMNS = {
    "ddspx": ("ddspx", 0.5),
    "ddspx-live": ("ddspx-live", 0.5),
    "ddspx yin": ("yin", 0.5),
    "ddspx pyin": ("pyin.ddspx", 0.5),
    "CREPE tiny": ("crepe_tiny_argmax", 0.5),
    "swift-f0 (0.9)": ("swift_f0", 0.9),
    "swift-f0 (0.5)": ("swift_f0", 0.5),
    "pYIN": ("pyin", 0.5),
}
# The folder of each method of ddspx whose name a rival has too.
FOLDERS = {"pyin": "pyin.ddspx"}
METHODS = tuple(m for m in ("ddspx", "ddspx-live", "yin") if m in get_args(PitchMethod))
RIVALS = ("swift_f0", "crepe_tiny_argmax", "pyin")
PARTS = ("real", "stress", "played again")
MAKERS = {
    "real": (truth.singing, truth.speech, truth.saxophone_notes),
    "stress": (stress.sounds,),
}
REPEATS = 9


def use_model(folder: Path) -> None:
    """Lets ddspx track with another model than the one that ships with it."""
    serialization._SHIPPED = folder


def make_sounds(part: str, data: Path, folder: Path) -> None:
    """Writes the sounds of a part, and their references, unless they are there."""
    if any(folder.glob("*.wav")):
        return
    folder.mkdir(parents=True, exist_ok=True)
    if part == "played again":
        played_again.make_sounds(data, folder)
    else:
        for maker in MAKERS[part]:
            for set_name, sound in maker(data):
                truth.store(folder, set_name, sound)


def track_all(folder: Path, method: str) -> None:
    """Tracks every sound of a folder by a method of ddspx, every 10 ms."""
    out = folder / FOLDERS.get(method, method)
    out.mkdir(exist_ok=True)
    for path in sorted(folder.glob("*.wav")):
        audio, sample_rate = soundfile.read(path, dtype="float32")
        hop_length = sample_rate // 100
        started = time.perf_counter()
        f0_hz, confidence = features.track_pitch(
            audio, sample_rate=sample_rate, hop_length=hop_length, method=method
        )
        np.savez(
            out / f"{path.stem}.npz",
            time_s=np.arange(len(f0_hz)) * hop_length / sample_rate,
            f0_hz=f0_hz,
            confidence=confidence,
            seconds=time.perf_counter() - started,
        )


def track_rivals(folder: Path, rivals: list[str]) -> None:
    """Lets the other trackers track the sounds for which they have no track yet."""
    if python := os.environ.get("RIVAL_PYTHON"):
        script = Path(__file__).with_name("rivals.py")
        for rival in rivals:
            subprocess.run([python, script, rival, folder], check=True)


def references(folder: Path) -> dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """The references of a part: by set, then by name of the file."""
    found = {}
    for path in sorted(folder.glob("*.truth.npz")):
        name = path.name.removesuffix(".truth.npz")
        stored = np.load(path)
        found.setdefault(name.split(".")[0], {})[name] = (stored["time_s"], stored["f0_hz"])
    return found


def lags(folder: Path) -> dict[str, float]:
    """How much later the laryngograph is than each tracker, in seconds, in the first half."""
    chosen_on = references(folder).get(truth.CHOSEN, {})
    found = {}
    for tracks in dict.fromkeys(tracks for tracks, _ in COLUMNS.values()):
        paths = [folder / tracks / f"{name}.npz" for name in chosen_on]
        if paths and all(path.exists() for path in paths):
            found[tracks] = best_lag(list(chosen_on.values()), paths)
    return found


def scores_of(folder: Path) -> dict[str, dict[str, list[dict[str, float]]]]:
    """The scores of every file: by set and by column."""
    lag_of, results = lags(folder), {}
    for set_name, truths in references(folder).items():
        is_speech = set_name in (truth.CHOSEN, truth.HELD_OUT)
        for column, (tracks, voiced) in COLUMNS.items():
            paths = [folder / tracks / f"{name}.npz" for name in truths]
            if not all(path.exists() for path in paths):
                continue
            lag = lag_of.get(tracks, 0.0) if is_speech else 0.0
            results.setdefault(set_name, {})[column] = [
                score(reference, read_track(path, lag), voiced)
                for reference, path in zip(truths.values(), paths, strict=True)
            ]
    return results


def with_earlier(found: dict, before: dict) -> dict:
    """The scores of a part, with those of the trackers of ddspx in an earlier run."""
    shown = {}
    for set_name, by_column in found.items():
        earlier = {
            f"{column} before": rows
            for column, rows in before.get(set_name, {}).items()
            if column in METHODS
        }
        shown[set_name] = earlier | by_column
    return shown


def speed(sound: Path, methods: list[str], rivals: list[str]) -> str:
    """Seconds of processor time for one sound: all trackers in turn, many times."""
    audio, sample_rate = soundfile.read(sound, dtype="float32")
    script, python = Path(__file__).with_name("rivals.py"), os.environ.get("RIVAL_PYTHON")
    running = {
        rival: subprocess.Popen(
            [python, script, rival, "--time", sound],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for rival in (rivals if python else ())
    }

    def once(name):
        if name in running:
            print(file=running[name].stdin, flush=True)
            return float(running[name].stdout.readline())
        started = time.process_time()
        features.track_pitch(
            audio, sample_rate=sample_rate, hop_length=sample_rate // 100, method=name
        )
        return time.process_time() - started

    spent = {name: [] for name in (*methods, *running)}
    for _ in range(1 + REPEATS):
        for name, values in spent.items():
            values.append(once(name))
    for process in running.values():
        process.communicate()
    seconds = len(audio) / sample_rate
    return "\n".join(
        f"{name}: {np.median(values[1:]):.3f} s of processor time for {seconds:.0f} s of sound"
        for name, values in spent.items()
    )


def main(arguments: argparse.Namespace) -> None:
    """Makes the sounds once, runs the trackers, and prints the tables."""
    if arguments.model:
        use_model(arguments.model)
    before = json.loads(arguments.before.read_text()) if arguments.before else {}
    results = {}
    for part in arguments.parts:
        folder = arguments.output / part.replace(" ", "_")
        make_sounds(part, arguments.recordings, folder)
        for method in arguments.methods:
            track_all(folder, method)
        track_rivals(folder, arguments.rivals)
        print(f"\n## {part}\n")
        if part == "played again":
            trackers = ("ddspx", *played_again.RIVALS)
            print(played_again.report(folder, [t for t in trackers if (folder / t).exists()]))
            continue
        found = scores_of(folder)
        results |= found
        print("pitch [95 %] / recall / false alarms / overall [95 %]\n")
        print(table(with_earlier(found, before)))
        for tracks, lag in lags(folder).items():
            print(f"{tracks}: {1000 * lag:+.1f} ms in speech")
    (arguments.output / "scores.json").write_text(json.dumps(results, indent=1))
    if arguments.speed:
        print(speed(arguments.speed, arguments.methods, arguments.rivals))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("recordings", type=Path)
    parser.add_argument("-o", "--output", type=Path, default="results")
    parser.add_argument("--model", type=Path, help="a model folder; by default what ships")
    parser.add_argument("--methods", nargs="*", default=METHODS)
    parser.add_argument("--rivals", nargs="*", default=RIVALS)
    parser.add_argument("--parts", nargs="*", default=PARTS, choices=PARTS)
    parser.add_argument("--before", type=Path, help="scores.json of an earlier run, to compare")
    parser.add_argument("--speed", type=Path, help="a sound on which the trackers are timed")
    main(parser.parse_args())
