"""Compare pitch trackers on sounds that were not used to train the tracker of ddspx.

    python evaluate_pitch.py RECORDINGS -o results
    python evaluate_pitch.py RECORDINGS -o results --model MODEL --before earlier_results

Three tables: recordings whose pitch others have measured, and sounds that are made to be hard
("real" and "stress", scored by mir_eval); and recordings that are synthesized again, in noise
("played again"). The trackers of ddspx run as its users run them. Others run in a separate
environment, named by RIVAL_PYTHON; see rivals.py.
"""

import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import played_again
import soundfile
import stress
import truth
from scores import best_lag, read_track, score, table

from ddspx import features
from ddspx.models.pitch import load_pitch_tracker, serialization

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
METHODS = ("ddspx", "ddspx-live", "yin", "pyin")
RIVALS = ("swift_f0", "crepe_tiny_argmax", "pyin")
LAGS, SCORES = "lags.json", "scores.json"
PARTS = ("real", "stress", "played again")
MAKERS = {
    "real": (truth.singing, truth.speech, truth.saxophone_notes, stress.by_telephone),
    "stress": (stress.sounds,),
}


def use_model(folder: Path) -> None:
    """Lets ddspx track with another model than that of its two that looks ahead like this one."""
    is_live = load_pitch_tracker(folder=folder).config.is_live
    setattr(serialization, "_SHIPPED_LIVE" if is_live else "_SHIPPED", folder)


def make_sounds(part: str, data: Path, folder: Path) -> None:
    """Writes the sounds of a part, and their references, unless they are there.

    The folder gets its name when it is complete.
    """
    if any(folder.glob("*.wav")):
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        made = Path(temporary) / folder.name
        made.mkdir()
        if part == "played again":
            played_again.make_sounds(data, made)
        else:
            for maker in MAKERS[part]:
                for set_name, sound in maker(data):
                    truth.store(made, set_name, sound)
        made.rename(folder)


def track_all(folder: Path, method: str) -> None:
    """Tracks every sound of a folder by a method of ddspx, every 10 ms."""
    out = folder / FOLDERS.get(method, method)
    out.mkdir(exist_ok=True)
    for path in sorted(folder.glob("*.wav")):
        audio, sample_rate = soundfile.read(path, dtype="float32")
        hop_length = sample_rate // 100
        f0_hz, confidence = features.track_pitch(
            audio, sample_rate=sample_rate, hop_length=hop_length, method=method
        )
        np.savez(
            out / f"{path.stem}.npz",
            time_s=np.arange(len(f0_hz)) * hop_length / sample_rate,
            f0_hz=f0_hz,
            confidence=confidence,
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


def find_lags(folder: Path) -> None:
    """Writes how much later the laryngograph is than each tracker, in seconds.

    It is found in the first half of the sentences.
    """
    chosen_on = references(folder).get(truth.CHOSEN, {})
    found = {}
    for tracks in dict.fromkeys(tracks for tracks, _ in COLUMNS.values()):
        paths = [folder / tracks / f"{name}.npz" for name in chosen_on]
        if paths and all(path.exists() for path in paths):
            found[tracks] = best_lag(list(chosen_on.values()), paths)
    (folder / LAGS).write_text(json.dumps(found))


def lag_of(folder: Path, set_name: str, tracks: str) -> float:
    """How much later a set's references are than a tracker, in seconds."""
    if not set_name.startswith("speech"):
        return 0.0
    return json.loads((folder / LAGS).read_text())[tracks]


def scores_of(folder: Path) -> dict[str, dict[str, list[dict[str, float]]]]:
    """The scores of every file: by set and by column."""
    results = {}
    for set_name, truths in references(folder).items():
        for column, (tracks, voiced) in COLUMNS.items():
            paths = [folder / tracks / f"{name}.npz" for name in truths]
            if not all(path.exists() for path in paths):
                continue
            lag = lag_of(folder, set_name, tracks)
            results.setdefault(set_name, {})[column] = [
                score(reference, read_track(path, lag), voiced)
                for reference, path in zip(truths.values(), paths, strict=True)
            ]
    return results


def with_earlier(found: dict, before: dict) -> dict:
    """The scores of a part, with those of the trackers of ddspx in an earlier run."""
    ours = {FOLDERS.get(method, method) for method in METHODS}
    shown = {}
    for set_name, by_column in found.items():
        columns = before.get(set_name, {}).items()
        earlier = {f"{name} before": rows for name, rows in columns if COLUMNS[name][0] in ours}
        shown[set_name] = earlier | by_column
    return shown


def report(folder: Path, before: Path | None) -> str:
    """Scores all tracks of a part, and gives them as a table, beside those of an earlier run."""
    find_lags(folder)
    found = scores_of(folder)
    (folder / SCORES).write_text(json.dumps(found, indent=1))
    earlier = json.loads((before / folder.name / SCORES).read_text()) if before else {}
    lines = ["pitch [95 %] / recall / false alarms / overall [95 %]\n"]
    lines.append(table(with_earlier(found, earlier)))
    if lags := json.loads((folder / LAGS).read_text()):
        shown = [f"{tracks} {1000 * lag_s:+.1f}" for tracks, lag_s in lags.items()]
        lines.append("\nMoved in speech, ms: " + ", ".join(shown))
    return "\n".join(lines)


def main(arguments: argparse.Namespace) -> None:
    """Makes the sounds once, runs the trackers, and prints the tables."""
    if arguments.model:
        use_model(arguments.model)
    for part in arguments.parts:
        folder = arguments.output / part.replace(" ", "_")
        make_sounds(part, arguments.recordings, folder)
        for method in arguments.methods:
            track_all(folder, method)
        is_again = part == "played again"
        rivals = played_again.RIVALS if is_again else RIVALS
        track_rivals(folder, rivals if arguments.rivals is None else arguments.rivals)
        print(f"\n## {part}\n")
        if is_again:
            trackers = ("ddspx", "ddspx-live", *played_again.RIVALS)
            print(played_again.report(folder, [t for t in trackers if (folder / t).exists()]))
        else:
            print(report(folder, arguments.before))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("recordings", type=Path)
    parser.add_argument("-o", "--output", type=Path, default="results")
    parser.add_argument(
        "--model", type=Path, help="a model folder, to put in the place of the one that ships"
    )
    parser.add_argument("--methods", nargs="*", default=METHODS)
    parser.add_argument("--rivals", nargs="*")
    parser.add_argument("--parts", nargs="*", default=PARTS, choices=PARTS)
    parser.add_argument("--before", type=Path, help="the results of an earlier run, to compare")
    main(parser.parse_args())
