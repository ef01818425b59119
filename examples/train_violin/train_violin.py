"""Trains the violin that ships with ddspx, from its recordings to the numbers in the README.

python train_violin.py RECORDING RECORDING -o OUTPUT
"""

import argparse
import json
from pathlib import Path

from ddspx.models.autoencoder import AutoencoderConfig, load_autoencoder
from ddspx.training import TrainConfig, evaluate, prepare, train

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("recordings", nargs="+", type=Path, help="the files named in provenance.json")
parser.add_argument("-o", "--output", required=True, type=Path, help="folder for all results")
parser.add_argument("--steps", type=int, default=2500, help="2500 for the violin that ships")
arguments = parser.parse_args()

# The lowest note of a violin is 196 Hz. What is below is not looked for, so that the tracker cannot
# hear a note an octave too low in the ringing of the room.
dataset, violin = arguments.output / "dataset", arguments.output / "violin"
if not dataset.exists():
    prepare(
        arguments.recordings,
        dataset,
        sample_rate=16_000,
        hop_length=128,
        example_s=4.0,
        fmin=185.0,
        licence="CC BY 3.0",
        attribution="John Garner (violin), J. S. Bach, BWV 1002, via Musopen and the Bach Violin "
        "Dataset",
    )

# The rate is high and falls fast (to a third by step 2250), because four minutes of music are soon
# known by heart; the valid split says which weights to keep. Interrupted, the same command goes on.
result = train(
    dataset,
    violin,
    model=AutoencoderConfig.small(sample_rate=16_000, hop_length=128),
    config=TrainConfig(
        steps=arguments.steps,
        batch_size=8,
        learning_rate=1e-3,
        decay_rate=0.98,
        decay_steps=40,
        evaluate_every=250,
    ),
)
print(f"ended at step {result.step}; the best weights are those of {result.best}")

# On the test split, which training never reads, beside what needs no training.
model, _, provenance = load_autoencoder(violin)
for row in evaluate(model, dataset, split="test", baselines=True):
    print(row.name, *(f"{name} {getattr(row, name).mean:.2f}" for name in row._fields[2:]))
print(json.dumps(provenance["selected"], indent=2))
