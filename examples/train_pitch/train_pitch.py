"""Train the pitch tracker that ships with ddspx.

    python train_pitch.py RECORDINGS -o results

RECORDINGS holds `violin_bach`, `solo_notes`, `sources` and `esc10`, each with its `metadata.csv`;
README.md says where they are from. The sounds are rendered during training: invented melodies and
voices, and recordings of the training split that are synthesized again from their measured pitch,
so that every label is exact. Around them are rooms, hum, other sounds and recorded noise. The
singing, the violin's movement 8, every third semitone of each saxophone, the phrases of saxophone
and cello, the notes of the test split and the fourth fold of the noises are not used.
"""

import argparse
import collections
import csv
import json
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.optimize
import soundfile
from flax import nnx
from inventions import SAMPLE_RATE, invent
from sounds import Labels, Measured, measure, render, replay, stack

from ddspx.models.pitch import PitchConfig, PitchTracker, load_pitch_tracker, save_pitch_tracker

BATCH, REPLAYED = 10, 4
WARM_UP = 0.03
# Width of the target around a pitch, in bins of half a semitone.
TARGET_WIDTH = 0.6
PHRASES = {
    "violin_bach": ["john-garner_bwv1002_mov6.flac"],
    "sources": [
        "sms_speech-female.flac",
        "sms_speech-male.flac",
        "sms_violin-B3.flac",
        "sms_trumpet-A4.flac",
        "sms_oboe-A4.flac",
        "librosa_solo-trumpet-06.flac",
        "librosa_libri1.flac",
        "librosa_libri2.flac",
    ],
}
NOTE_SECONDS = 2.5
# What has no pitch: these classes of recorded noise, and several voices at once.
NOISES = ("rain", "sea_waves", "fire_crackling", "clock_tick", "helicopter", "chainsaw")
NOISE_FOLDS = {"train": ("1", "2"), "valid": ("3",)}
SPEECH = [file for file in PHRASES["sources"] if "speech" in file or "libri" in file]
BABBLES, BABBLE_SECONDS = 24, 8


def recordings(folder: Path, split: str) -> dict[str, Measured]:
    """The measured controls of each recording of a split, without those kept for testing."""
    found = {}
    if split == "train":
        for name, files in PHRASES.items():
            for file in files:
                fmin = 180.0 if "violin" in file else 60.0
                found[f"{name}/{file}"] = measure(
                    read(folder / name / file), fmin=fmin, fmax=1500.0
                )
    with open(folder / "solo_notes" / "metadata.csv") as file:
        notes = [row for row in csv.DictReader(file) if row["split"] == split]
    for row in notes:
        midi = float(row["midi"])
        if row["instrument"].endswith("sax") and round(midi) % 3 == 0:
            continue
        audio = read(folder / "solo_notes" / row["file"])[: int(NOTE_SECONDS * SAMPLE_RATE)]
        lowest, highest = note_range(midi)
        measured = measure(audio, fmin=lowest, fmax=highest)
        sounding = measured.harmonics.sum(1) > 0.1 * measured.harmonics.sum(1).max()
        played = 69 + 12 * np.log2(np.median(measured.f0_hz[sounding]) / 440)
        if sounding.any() and abs(played - midi) < 0.5 and len(measured.f0_hz) > 60:
            found[f"solo_notes/{row['file']}"] = measured
    return found


def noises(folder: Path, split: str) -> dict[str, np.ndarray]:
    """Recorded noises of a split, and babble: four to eight excerpts of the training's speech."""
    found = {}
    with open(folder / "esc10" / "metadata.csv") as file:
        for row in csv.DictReader(file):
            if row["label"] in NOISES and row["fold"] in NOISE_FOLDS[split]:
                found[f"esc10/{row['file']}"] = read(folder / "esc10" / row["file"])
    rng = np.random.default_rng(0 if split == "train" else 1)
    voices = [read(folder / "sources" / file) for file in SPEECH]
    size = BABBLE_SECONDS * SAMPLE_RATE
    for i in range(BABBLES if voices else 0):
        babble = np.zeros(size)
        for _ in range(rng.integers(4, 9)):
            voice = np.resize(np.roll(voices[rng.integers(len(voices))], rng.integers(10**6)), size)
            babble += voice / (np.std(voice) + 1e-9) * 10 ** (rng.uniform(-6, 0) / 20)
        found[f"babble {i}"] = babble
    return found


def sources(folder: Path, files: list[str]) -> dict:
    """The origin of these recordings, from `metadata.csv` and `LICENCES.md` in their folders."""
    columns, rows, notices = ("licence", "source_repo", "commit"), {}, {}
    for name in sorted({file.split("/")[0] for file in files}):
        table, notice = folder / name / "metadata.csv", folder / name / "LICENCES.md"
        if table.is_file():
            with open(table) as lines:
                rows |= {f"{name}/{row['file']}": row for row in csv.DictReader(lines)}
        if notice.is_file():
            notices[name] = notice.read_text()
    counts = collections.Counter(
        (file.rpartition("/")[0], *(rows.get(file, {}).get(x) or "not stated" for x in columns))
        for file in files
    )
    listed = [
        dict(zip(("folder", *columns), key, strict=True)) | {"recordings": count}
        for key, count in sorted(counts.items())
    ]
    return {"sources": listed, "notices": notices}


def note_range(midi: float) -> tuple[float, float]:
    """An octave and a half around a note, on a coarse grid: a few compilations serve all notes."""
    lowest = 32.703 * 2 ** (np.floor((midi - 24 - 4) / 6) / 2)
    return max(lowest, 30.0), min(lowest * 3, 2093.0)


def read(path: Path) -> np.ndarray:
    """Samples at 16 kHz, the rate of all of these recordings."""
    audio, sample_rate = soundfile.read(path, dtype="float32")
    if sample_rate != SAMPLE_RATE or audio.ndim != 1:
        raise SystemExit(f"{path} must be mono at {SAMPLE_RATE} Hz, but has {sample_rate} Hz.")
    return audio


def draw(rng: np.random.Generator, played: list[Measured], noises: list[np.ndarray]):
    """The controls of a batch."""
    clips = [replay(rng, played, noises) for _ in range(REPLAYED)]
    return stack(clips + [invent(rng, noises) for _ in range(BATCH - REPLAYED)])


def within_range(labels: Labels, config: PitchConfig) -> Labels:
    """Calls a pitch outside of the tracker's range unvoiced, and does not score it."""
    half = 2 ** (0.5 / config.bins_per_octave)
    inside = (labels.f0_hz > config.fmin / half) & (labels.f0_hz < config.fmax * half)
    return Labels(
        jnp.clip(labels.f0_hz, config.fmin, config.fmax),
        labels.is_voiced & inside,
        labels.pitch_weight * inside,
        labels.voicing_weight,
    )


def loss(model: PitchTracker, audio: jax.Array, labels: Labels) -> tuple[jax.Array, dict]:
    """Cross-entropy of the pitch, in frames that have one, plus cross-entropy of the voicing."""
    config = model.config
    estimate = model(audio)
    true_bin = config.bins_per_octave * jnp.log2(labels.f0_hz / config.fmin)
    offset = jnp.arange(config.n_bins)[None, None] - true_bin[..., None]
    target = jax.nn.softmax(-0.5 * (offset / TARGET_WIDTH) ** 2, axis=-1)
    pitch = -jnp.sum(target * jax.nn.log_softmax(estimate.logits), axis=-1)
    pitch = pitch + jnp.sum(target * jnp.log(target + 1e-9), axis=-1)
    # The decoder averages over the neighbourhood of the peak, so this loss trains the average.
    near = jnp.where(jnp.abs(offset) < 2.5, estimate.logits, -1e9)
    cents = 1200 / config.bins_per_octave * jnp.sum(jax.nn.softmax(near) * offset, axis=-1)
    fine = optax.losses.huber_loss(cents, delta=5.0) / 100
    voicing = optax.losses.sigmoid_binary_cross_entropy(
        estimate.voicing, labels.is_voiced.astype(estimate.voicing.dtype)
    )
    of_pitch, of_voicing = labels.pitch_weight, labels.voicing_weight
    parts = {
        "pitch": jnp.sum(of_pitch * pitch) / jnp.sum(of_pitch),
        "fine": jnp.sum(of_pitch * fine) / jnp.sum(of_pitch),
        "voicing": jnp.sum(of_voicing * voicing) / jnp.sum(of_voicing),
    }
    best_cents = (jnp.argmax(estimate.logits, axis=-1) - true_bin) * 1200 / config.bins_per_octave
    scored = (of_pitch > 0) & labels.is_voiced
    right = jnp.abs(best_cents) < 50
    is_voiced = estimate.voicing > 0
    share = lambda x, of: jnp.sum(x & of) / jnp.sum(of)  # noqa: E731
    scores = {
        "accuracy": share(right, scored),
        "recall": share(is_voiced, labels.is_voiced & (of_voicing > 0)),
        "false_alarm": share(is_voiced, ~labels.is_voiced & (of_voicing > 0)),
    }
    return parts["pitch"] + parts["fine"] + 2 * parts["voicing"], parts | scores


def calibrate(model: PitchTracker, sounds: list[tuple[jax.Array, Labels]]) -> tuple[float, float]:
    """Scales and shifts the voicing to the greatest likelihood on the valid sounds."""
    graph, state = nnx.split(model)
    voicing = jax.jit(lambda state, audio: nnx.merge(graph, state)(audio).voicing)
    logits = np.concatenate([np.asarray(voicing(state, audio)) for audio, _ in sounds])
    voiced = np.concatenate([np.asarray(labels.is_voiced) for _, labels in sounds])
    scored = np.concatenate([np.asarray(labels.voicing_weight) for _, labels in sounds]) > 0
    logits, signs = logits[scored], np.where(voiced, 1.0, -1.0)[scored]

    def unlikelihood(line):
        return np.mean(np.logaddexp(0, -signs * (line[0] * logits + line[1])))

    found = scipy.optimize.minimize(unlikelihood, (1.0, 0.0), method="Nelder-Mead")
    scale, shift = map(float, found.x)
    model.voicing.kernel[...] = model.voicing.kernel[...] * scale
    model.voicing.bias[...] = model.voicing.bias[...] * scale + shift
    return scale, shift


def main(arguments: argparse.Namespace) -> None:
    """Measures the recordings, trains, and writes the model and its learning curve."""
    out = Path(arguments.output)
    out.mkdir(parents=True, exist_ok=True)
    begun = arguments.start and json.loads((arguments.start / "provenance.json").read_text())
    played = {split: recordings(arguments.recordings, split) for split in ("train", "valid")}
    around = {split: noises(arguments.recordings, split) for split in ("train", "valid")}
    print({split: len(found) for split, found in played.items()}, flush=True)
    files = {file for found in (*played.values(), *around.values()) for file in found}
    origins = sources(arguments.recordings, sorted(file for file in files if "/" in file))
    played, around = (
        {split: list(found.values()) for split, found in x.items()} for x in (played, around)
    )

    if arguments.start is None:
        config = PitchConfig.live() if arguments.live else PitchConfig()
        model = PitchTracker(config, rngs=nnx.Rngs(arguments.seed))
    else:
        model = load_pitch_tracker(folder=arguments.start)
    config = model.config

    def render_labelled(key, controls):
        audio, labels = render(key, controls, hop_length=config.hop_length)
        return audio, within_range(labels, config)

    graph, params = nnx.split(model, nnx.Param)
    schedule = optax.schedules.warmup_cosine_decay_schedule(
        0.0, arguments.learning_rate, int(WARM_UP * arguments.steps), max(1, arguments.steps), 1e-5
    )
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule, b2=0.98))
    state = optimizer.init(params)

    def objective(params, audio, labels):
        return loss(nnx.merge(graph, params), audio, labels)

    @jax.jit
    def step(params, state, key, controls):
        audio, labels = render_labelled(key, controls)
        (_, scores), gradient = jax.value_and_grad(objective, has_aux=True)(params, audio, labels)
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, scores

    @jax.jit
    def score(params, key, controls):
        return objective(params, *render_labelled(key, controls))[1]

    def save():
        model = nnx.merge(graph, params)
        play = jax.jit(render_labelled)
        sounds = [play(jax.random.key(i), held_out[i]) for i in range(len(held_out))]
        provenance = {
            "trained_by": "examples/train_pitch",
            "steps": done,
            "learning_rate": arguments.learning_rate,
            "seed": arguments.seed,
            "voicing_scale_and_shift": calibrate(model, sounds),
            "started_from": begun,
            **origins,
        }
        save_pitch_tracker(out / "model", model, provenance=provenance)

    rng, valid_rng = np.random.default_rng(arguments.seed), np.random.default_rng(10**6)
    held_out = [draw(valid_rng, played["valid"], around["valid"]) for _ in range(6)]
    mean = lambda rows: {k: round(float(np.mean([r[k] for r in rows])), 4) for k in rows[0]}  # noqa: E731
    started, rows, done = time.time(), [], 0
    clips = draw(rng, played["train"], around["train"])
    for done in range(1, arguments.steps + 1):
        key = jax.random.fold_in(jax.random.key(arguments.seed), done)
        params, state, scores = step(params, state, key, clips)
        # The next batch is drawn while the step is computed.
        clips = draw(rng, played["train"], around["train"])
        rows.append(jax.tree.map(float, scores))
        if done % 100 == 0 or done == arguments.steps:
            checks = [score(params, jax.random.key(i), held_out[i]) for i in range(len(held_out))]
            line = f"{done} {time.time() - started:.0f} s train {mean(rows)} valid {mean(checks)}"
            print(line, flush=True)
            with open(out / "curve.txt", "a") as file:
                file.write(line + "\n")
            rows = []
        if done % 250 == 0:
            save()
    save()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("recordings", type=Path)
    parser.add_argument("-o", "--output", default="results")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument(
        "--start",
        type=Path,
        help="a model folder to go on from; with --steps 0 its voicing is set anew",
    )
    parser.add_argument("--live", action="store_true", help="train the live tracker")
    parser.add_argument("--seed", type=int, default=0)
    main(parser.parse_args())
