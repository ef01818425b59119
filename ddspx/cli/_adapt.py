"""`ddspx adapt`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from ddspx import instruments, io, training
from ddspx.cli._batch import writable_place
from ddspx.cli._errors import say
from ddspx.cli._progress import print_ending
from ddspx.training import AdaptationConfig

if TYPE_CHECKING:
    from ddspx.training import TrainResult

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
        _say_what_was_heard(output)
        _say_if_unchanged(result, config.decoder_after)


def _say_what_was_heard(output: Path) -> None:
    """Prints what was given, and what was trained on."""
    heard = io.read_manifest(output.with_name(f"{output.name}.run") / "dataset")
    given = sum(source.duration_s for source in heard.sources)
    train, valid = (heard.splits[name].duration_s for name in ("train", "valid"))
    chosen = f", and {valid:.1f} s chose the step" if valid else ""
    say(f"Of {given:.1f} s, {train:.1f} s were trained on{chosen}. Play it with --to {output}")


def _say_if_unchanged(result: "TrainResult", after: int) -> None:
    """Says why the decoder of the saved weights is not adapted, if it is not."""
    if result.best.step > after:
        return
    why = "the weights after it did not fit the recordings better"
    if result.step <= after:
        why = "take more --steps" if result.finished else "the run has not come that far"
    say(f"Only the timbre and the room are adapted: the decoder is from step {after} on; {why}.")
