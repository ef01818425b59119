"""`ddspx adapt`."""

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from ddspx import instruments, training
from ddspx.cli._batch import writable_place
from ddspx.cli._errors import say
from ddspx.cli._progress import print_ending
from ddspx.training import AdaptationConfig

# Three minutes in all, with listening and compiling. The steps take half of that on two cores; on
# a slower machine the time ends them, and the weights are those of the best evaluation until then.
_DEFAULTS = AdaptationConfig(max_minutes=2.5, evaluate_every=25)


def adapt(
    recordings: Annotated[
        Positional[tuple[Path, ...]], arg(metavar="RECORDING", help_behavior_hint="(required)")
    ],
    output: Annotated[Path, arg(aliases=["-o"], metavar="MODEL")],
    *,
    start: Annotated[Path | None, arg(metavar="FOLDER", help_behavior_hint="")] = None,
    licence: str = "not stated",
    attribution: str = "not stated",
    config: Annotated[AdaptationConfig, arg(name="")] = _DEFAULTS,
) -> None:
    """Makes an instrument of a few seconds of recordings; 20 s are a good start.

    The model of any instrument is adapted to them: first its timbre and the room, then a few
    numbers of its decoder. The same command resumes it after an interruption.

    Args:
      recordings: audio files of one instrument, and folders to search for them.
      output: the model folder to make.
      start: the folder of a model of any instrument; without it, or as any_instrument, the one that
        ships with ddspx.
      licence: the licence of the recordings; it is stored with the model.
      attribution: the authors of the recordings to credit.
      config: settings of the training.
    """
    writable_place(output.parent)
    base = instruments.load_any_instrument(folder=start)
    result = training.adapt(
        recordings,
        output,
        model=base.model,
        room=base.room,
        config=config,
        licence=licence,
        attribution=attribution,
        origin=base.origin,
    )
    print_ending(result, output)
    if result.best.step:
        card = instruments.describe_instrument(output)
        say(f"It heard {card.duration_s:.1f} s, and is played with --to {output}")
