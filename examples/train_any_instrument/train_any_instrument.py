"""Trains the model of any instrument that ships with ddspx, from recordings of eleven and a voice.

    python train_any_instrument.py RECORDINGS -o results --teachers TONE_TRANSFER

The datasets are those of ../train_instruments and of what is too little for a model of its own:
two more saxophones, a double bass and a voice. With `--without NAME ...` the model does not hear
some of them, so that it can be measured on instruments that it does not know.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "train_instruments"))

import soundfile
from phrases import SAMPLE_RATE
from recipes import MORE_NOTES, NOTES, OTHER_NOTES, prepare_notes, prepare_violin

from ddspx.models.autoencoder import AutoencoderConfig
from ddspx.nn import DecayingReverbConfig, FrontendConfig
from ddspx.training import AnyInstrumentTrainConfig, load_frontend, prepare, train_any_instrument

INSTRUMENTS = ("violin", *NOTES, *MORE_NOTES, "voice")
# Half a minute of singing would soon be known by heart.
SHARES = {"voice": 0.5}
ROOM = DecayingReverbConfig(length=SAMPLE_RATE, early_length=800, n_bands=7)


def prepare_voice(data: Path, dataset: Path) -> None:
    """The dataset of two singers; the end of the first one is held out."""
    audio, rate = soundfile.read(data / "sources" / "vocadito_1.flac")
    parts = {"train": audio[: round(0.8 * len(audio))], "valid": audio[round(0.8 * len(audio)) :]}
    for name, part in parts.items():
        soundfile.write(dataset.with_name(f"{name}.flac"), part, rate)
    prepare(
        [dataset.with_name("train.flac"), data / "sources" / "sms_singing-female.flac"],
        dataset,
        valid=[dataset.with_name("valid.flac")],
        hop_length=128,
        fmin=80.0,
        licence="CC BY 4.0",
        attribution="vocadito (Bittner et al.), singer 1; singing-female of MTG's sms-tools",
    )


def prepared(data: Path, output: Path, name: str, teachers: Path | None) -> Path:
    """The dataset of an instrument, which is made if it is missing."""
    dataset = output / name / "dataset"
    if not dataset.exists():
        dataset.parent.mkdir(parents=True, exist_ok=True)
        if name == "violin":
            prepare_violin(data, dataset)
        elif name == "voice":
            prepare_voice(data, dataset)
        else:
            prepare_notes(data, (NOTES | MORE_NOTES | OTHER_NOTES)[name], dataset, teachers)
    return dataset


def main(arguments: argparse.Namespace) -> None:
    """Makes the datasets and trains; after an interruption the same command continues."""
    datasets = {
        name: prepared(arguments.recordings, arguments.output, name, arguments.teachers)
        for name in INSTRUMENTS
        if name not in arguments.without
    }
    model, heard = AutoencoderConfig.any_instrument(sample_rate=SAMPLE_RATE, hop_length=128), None
    if arguments.front_end:
        heard = load_frontend(arguments.front_end)
        model = model.with_frontend(heard.config)
    elif arguments.log_mel:
        model = model.with_frontend(FrontendConfig.log_mel(sample_rate=SAMPLE_RATE))
    result = train_any_instrument(
        datasets,
        arguments.output / arguments.name,
        model=model,
        room=ROOM,
        weights={name: share for name, share in SHARES.items() if name in datasets},
        front_end=heard,
        config=AnyInstrumentTrainConfig(
            steps=arguments.steps,
            batch_size=8,
            learning_rate=1e-3,
            decay_rate=0.96,
            decay_steps=max(1, arguments.steps // 60),
            evaluate_every=max(1, arguments.steps // 10),
            loudness_weight=0.2,
            contrast_weight=arguments.contrast_weight,
            equalization_db=arguments.equalization_db,
            frontend_rate=arguments.frontend_rate,
            seed=arguments.seed,
        ),
    )
    print(f"ended at step {result.step}; kept are the weights of {result.best}")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recordings", type=Path)
    parser.add_argument("-o", "--output", required=True, type=Path, help="folder for all results")
    parser.add_argument("--name", default="any_instrument", help="the model's folder in it")
    parser.add_argument("--without", nargs="+", default=[], choices=INSTRUMENTS, metavar="NAME")
    parser.add_argument("--teachers", type=Path, help="a folder of Google's Tone Transfer models")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--front-end", type=Path, help="a classifier whose front-end it begins with"
    )
    parser.add_argument("--frontend-rate", type=float, default=1.0, help="0 freezes the front-end")
    parser.add_argument("--log-mel", action="store_true", help="hear fixed mel bands instead")
    parser.add_argument("--contrast-weight", type=float, default=0.3)
    parser.add_argument("--equalization-db", type=float, default=6.0)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main(parse())
