"""Compare pitch trackers on recordings that ours never heard."""

import argparse
import csv
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
from flax import nnx
from sounds import SAMPLE_RATE, Measured, measure, perform
from train_pitch import read

from ddspx.models.pitch import load_pitch_tracker
from ddspx.models.pitch.track import at_times, track

HOP = 160
RIVALS = ("swift_f0", "crepe_tiny", "crepe_full", "pyin")
PHRASES = {
    "singing": [
        ("sources/vocadito_1.flac", 80, 400),
        ("sources/sms_singing-female.flac", 180, 700),
        ("sources/sms_vignesh.flac", 100, 500),
    ],
    "violin": [("violin_bach/john-garner_bwv1002_mov8.flac", 180, 1500)],
    "saxophones": [
        ("sources/sms_sax-phrase.flac", 180, 1000),
        ("sources/mtg_tenor_sax_e_major.flac", 100, 600),
        ("sources/mtg_tenor_sax_d_minor.flac", 100, 600),
    ],
    "cello": [("sources/sms_cello-phrase.flac", 150, 700)],
    "flute": [("sources/sms_flute-A4.flac", 300, 700)],
}
SNRS = ("clean", "20", "10", "0")


def test_set(folder, data):
    jobs = {}
    for group, files in PHRASES.items():
        for file, fmin, fmax in files:
            audio = read(data / file)
            if "mov8" in file:
                audio = audio[20 * SAMPLE_RATE : 50 * SAMPLE_RATE]
            jobs[f"{group}-{Path(file).stem}"] = (audio, fmin, fmax)
    rows = list(csv.DictReader(open(data / "solo_notes/metadata.csv")))
    for instrument in ("flute", "cello"):
        notes = [r for r in rows if r["instrument"] == instrument and r["split"] == "test"][:7]
        for r in notes:
            hz = 440 * 2 ** ((float(r["midi"]) - 69) / 12)
            jobs[f"{instrument}-note-{Path(r['file']).stem}"] = (
                read(data / "solo_notes" / r["file"])[: 3 * SAMPLE_RATE],
                hz / 1.3,
                hz * 1.3,
            )
    for r in rows:
        if (
            r["library"] == "mtg"
            and r["instrument"].endswith("sax")
            and round(float(r["midi"])) % 3 == 0
            and r["split"] == "test"
        ):
            hz = 440 * 2 ** ((float(r["midi"]) - 69) / 12)
            jobs[f"saxnote-{r['instrument']}-{float(r['midi']):.3f}"] = (
                read(data / "solo_notes" / r["file"])[: 3 * SAMPLE_RATE],
                hz / 1.3,
                hz * 1.3,
            )
    for name, (audio, fmin, fmax) in jobs.items():
        measured = measure(audio, fmin=fmin, fmax=fmax)
        again, labels = perform(jax.random.key(0), measured, hop_length=HOP)
        np.savez(folder / f"{name}.labels.npz", **labels._asdict())
        for kind, sound in (("again", np.asarray(again)), ("real", audio)):
            rng = np.random.default_rng(len(sound))
            for snr in SNRS:
                x = sound
                if snr != "clean":
                    x = sound + rng.standard_normal(len(sound)) * np.sqrt(
                        np.mean(sound**2) / 10 ** (float(snr) / 10)
                    )
                np.save(folder / f"{name}.{kind}.{snr}.npy", x.astype(np.float32))
    print(len(jobs), "recordings", sum(len(a) for a, *_ in jobs.values()) / SAMPLE_RATE, "s")


def ours(folder, model_folder):
    import time

    model = load_pitch_tracker(folder=model_folder)
    graph, params = nnx.split(model)
    run = jax.jit(lambda p, x: track(nnx.merge(graph, p), x, fmin=32.703, fmax=2093.0))
    out = folder / "ddspx"
    out.mkdir(exist_ok=True)
    step = SAMPLE_RATE * 8
    for path in sorted(folder.glob("*.npy")):
        audio = np.load(path)
        size = -(-len(audio) // step) * step
        f0, c = jax.device_get(run(params, np.pad(audio, (0, size - len(audio)))))
        t = np.arange(1 + len(audio) // HOP) * HOP / 256
        f0, c = at_times(f0, c, t)
        np.savez(
            out / f"{path.stem}.npz",
            time_s=t * 256 / SAMPLE_RATE,
            f0_hz=f0,
            confidence=c,
            seconds=0,
        )


def score(folder, names, kind="again"):
    thresholds = {"swift_f0": 0.9, "crepe_tiny": 0.5, "crepe_full": 0.5, "pyin": 0.5, "ddspx": 0.5}
    print(
        f"{'group':12s} snr   "
        + "".join(f"{n:>34s}" for n in names)
        + "   (RPA, octave %, recall %, false alarm %, median cents)"
    )
    labels = {
        p.name.removesuffix(".labels.npz"): np.load(p) for p in sorted(folder.glob("*.labels.npz"))
    }
    for group in ("singing", "violin", "saxophones", "cello", "flute", "saxnote", ""):
        for snr in SNRS:
            line = f"{group or 'all':12s} {snr:5s} "
            for name in names:
                counts = []
                for key, l in labels.items():
                    if not key.startswith(group):
                        continue
                    path = folder / name / f"{key}.{kind}.{snr}.npz"
                    if not path.exists():
                        continue
                    t = np.load(path)
                    n = len(l["f0_hz"])
                    idx = np.clip(
                        np.searchsorted(
                            t["time_s"],
                            np.arange(n) * HOP / SAMPLE_RATE
                            - 1e-9
                            - 0.5 * np.median(np.diff(t["time_s"])),
                        ),
                        0,
                        len(t["time_s"]) - 1,
                    )
                    cents = 1200 * np.log2(np.maximum(t["f0_hz"][idx], 1e-3) / l["f0_hz"])
                    said = t["confidence"][idx] > thresholds[name]
                    v = l["is_voiced"]
                    w = l["voicing_weight"] > 0
                    pv = v & (l["pitch_weight"] > 0)
                    counts.append(
                        (
                            (np.abs(cents) < 50)[pv].sum(),
                            (
                                (np.abs(np.abs(cents) - 1200) < 50)
                                | (np.abs(np.abs(cents) - 2400) < 50)
                            )[pv].sum(),
                            pv.sum(),
                            said[v & w].sum(),
                            (v & w).sum(),
                            said[~v & w].sum(),
                            (~v & w).sum(),
                            np.abs(cents[pv & (np.abs(cents) < 50)]),
                        )
                    )
                if not counts:
                    line += f"{'-':>34s}"
                    continue
                s = [sum(c[i] for c in counts) for i in range(7)]
                med = np.median(np.concatenate([c[7] for c in counts]))
                line += f"{100 * s[0] / s[2]:10.2f}{100 * s[1] / s[2]:6.2f}{100 * s[3] / s[4]:7.2f}{100 * s[5] / max(1, s[6]):6.2f}{med:5.1f}"
            print(line, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--model", default=None)
    parser.add_argument("--rivals", default="")
    parser.add_argument("--kind", default="again")
    a = parser.parse_args()
    a.work.mkdir(exist_ok=True, parents=True)
    if not list(a.work.glob("*.labels.npz")):
        test_set(a.work, a.data)
    for r in filter(None, a.rivals.split(",")):
        subprocess.run(
            [os.environ["DDSPX_BENCH_TORCH"], Path(__file__).with_name("rivals.py"), r, a.work],
            check=True,
        )
    if a.model:
        ours(a.work, a.model)
    score(a.work, [n for n in ("ddspx", *RIVALS) if (a.work / n).exists()], a.kind)
