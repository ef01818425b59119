"""Compare front-ends of one small classifier on five collections of recordings.

Seven front-ends are compared with the same residual network, the same budget and the same splits:
a log-mel spectrogram, one with PCEN, the filters of SincNet, LEAF and SpectNet as published, and
those of `ddspx.nn.SpectralFrontend`. Each run is one call of `ddspx.training.train_classifier`, as
`ddspx classify train` makes it; the weights after the last step are tested, once. Results are a
line of JSON for each run; runs with a stored result are skipped.
"""

import argparse
import dataclasses
import json
import tempfile
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from flax import nnx
from rich.console import Console
from tasks import TASKS, Task

from ddspx import io
from ddspx.models.spectnet import SpectNet, SpectNetConfig, load_spectnet
from ddspx.nn import (
    FrontendConfig,
    Log1pCompression,
    PcenCompression,
    SpectralFrontend,
    StftPath,
    displacement_erb,
)
from ddspx.plot import Filterbank, plot_filterbanks
from ddspx.training import evaluate_classifier, train_classifier

N_BANDS, CHANNELS = 24, 8
# The energy that counts as silence: 40 dB below a recording with an RMS of 0.1.
FLOOR = 1e-6


def front_ends(task: Task) -> dict[str, FrontendConfig]:
    """The front-ends, all on the bins of the same spectrum; logarithms are log(1 + E / floor)."""
    hop_length = task.hop_ms * task.sample_rate // 1000
    sizes = {
        "sample_rate": task.sample_rate,
        "hop_length": hop_length,
        "win_length": 2 * hop_length,
        "n_bands": N_BANDS,
        "fmin": task.fmin,
    }
    log = {"compression": Log1pCompression(FLOOR)}
    pcen = {"compression": PcenCompression(FLOOR, trainable=True)}
    # The power gain of SpectNet's filters, by which the floor is scaled.
    gain = (1.925e-4 * task.sample_rate / 1000) ** 2
    quiet = {"compression": Log1pCompression(FLOOR * gain), "fmin": 0.0}
    spectnet = on_stft(FrontendConfig.spectnet(**sizes | quiet))
    return {
        "log-mel": FrontendConfig.log_mel(**sizes | log),
        "mel, PCEN": FrontendConfig.pcen_mel(**sizes | pcen),
        "SincNet": on_stft(FrontendConfig.sincnet(**sizes | log | {"fmin": 30.0})),
        "LEAF": on_stft(FrontendConfig.leaf(**sizes)),
        "SpectNet, static": spectnet.fixed(),
        "SpectNet, learnable": spectnet,
        "ours": FrontendConfig.learnable(**sizes | pcen),
    }


def on_stft(config: FrontendConfig) -> FrontendConfig:
    """The same filters on the bins of a short-time spectrum."""
    filters = dataclasses.replace(config.filters, path=StftPath())
    return dataclasses.replace(config, filters=filters)


def run(
    task: Task, division: str, frontend: FrontendConfig, *, seed: int, channels: int = CHANNELS
) -> tuple[dict, SpectNet]:
    """Trains once, and returns the predicted label of each test recording."""
    recordings = task.divisions[division]
    labels = io.training_labels(recordings)
    model = SpectNetConfig(
        frontend,
        labels,
        segment_frames=task.segment_frames,
        n_blocks=3,
        channels=channels,
        dropout=0.05,
    )
    config = dataclasses.replace(
        task.training,
        batch_size=32,
        learning_rate=4e-3,
        decay_rate=0.05,
        decay_steps=task.training.steps,
        evaluate_every=task.training.steps,
        keep_checkpoints=1,
        seed=seed,
    )
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "model")
        train_classifier(
            recordings, output, model=model, config=config, console=Console(quiet=True)
        )
        network, _ = load_spectnet(output)
    test = [recording for recording in recordings if recording.split == "test"]
    evaluation = evaluate_classifier(network, test, report=print)
    found = {
        "predicted": evaluation.probabilities.argmax(-1).tolist(),
        "target": [labels.index(recording.label) for recording in evaluation.recordings],
        # The database or library of each recording; None where each recording is its own group.
        "group": [recording.named_group for recording in evaluation.recordings],
        "labels": list(labels),
        "moved_erb": moved_erb(network.frontend),
        "seconds": round(time.perf_counter() - start, 1),
    }
    return found, network


def moved_erb(frontend: SpectralFrontend) -> float:
    """Median distance of the centres from their initial positions, in ERB."""
    first = SpectralFrontend(frontend.config, rngs=nnx.Rngs(0))
    limit = frontend.config.sample_rate / 2
    before, after = (jnp.clip(f.centers_hz(), 0, limit) for f in (first, frontend))
    return float(jnp.median(displacement_erb(before, after)))


def draw(frontend: SpectralFrontend, picture: Path) -> None:
    """Plots the filter bank before and after training."""
    banks = {"before": SpectralFrontend(frontend.config, rngs=nnx.Rngs(0)), "after": frontend}
    drawn = [
        Filterbank(title, np.asarray(f.power_response(n_fft=4096)), np.asarray(f.centers_hz()))
        for title, f in banks.items()
    ]
    plot_filterbanks(drawn, sample_rate=frontend.config.sample_rate).savefig(picture)


def main(arguments: argparse.Namespace) -> None:
    """Makes the runs without stored results: all runs of the first seed, then of the next."""
    results, channels, done = arguments.results, arguments.channels, set()
    if results.exists():
        found = map(json.loads, results.read_text(encoding="utf-8").splitlines())
        done = {(run["task"], run["division"], run["front_end"], run["seed"]) for run in found}
    for seed in range(arguments.seeds):
        for name in arguments.tasks:
            task = TASKS[name](arguments.data, choosing=arguments.choosing)
            for division in arguments.divisions or task.divisions:
                for front_end, config in front_ends(task).items():
                    width = "" if channels == CHANNELS else f", {channels} channels"
                    key = (name, division, front_end + width, seed)
                    if key in done or front_end not in (arguments.front_ends or [front_end]):
                        continue
                    found, network = run(task, division, config, seed=seed, channels=channels)
                    facts = dict(zip(("task", "division", "front_end", "seed"), key, strict=True))
                    right = np.mean(np.equal(found["predicted"], found["target"]))
                    print(*key, f"{100 * right:.1f} %, {found['seconds']} s", flush=True)
                    with open(results, "a", encoding="utf-8") as file:
                        file.write(json.dumps(facts | found, separators=(",", ":")) + "\n")
                    if arguments.plot:
                        arguments.plot.mkdir(exist_ok=True)
                        picture = f"{', '.join(map(str, key))}.png"
                        draw(network.frontend, arguments.plot / picture)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, help="folder of the collections")
    parser.add_argument("--results", type=Path, default=Path("results.jsonl"))
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--plot", type=Path, help="folder for pictures of the banks")
    parser.add_argument("--divisions", nargs="+", help="of the tasks; by default all")
    parser.add_argument("--front-ends", nargs="+", help="by default all")
    parser.add_argument(
        "--channels", type=int, default=CHANNELS, help="of the network before its first block"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--choosing", action="store_true", help="test what is valid, and leave the test out"
    )
    main(parser.parse_args())
