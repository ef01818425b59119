"""What is to be known of an instrument before it is played."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ddspx._notes import midi_to_hz
from ddspx.instruments._library import (
    SHIPPED,
    find_instrument,
    named_instrument,
)
from ddspx.io._json import (
    COUNT_OR_0,
    LIST,
    OBJECT,
    TEXT,
    Kind,
    json_field,
    json_object,
    number_below,
)
from ddspx.models._config import CONFIG, PROVENANCE, STATISTICS, read_json
from ddspx.models.autoencoder.config import AutoencoderConfig, InstrumentStatistics

_NOTES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
_LONGEST_LINE = 400
_MOST_ORIGINS = 8
_MEASURE = number_below(1e6)


class InstrumentScores(NamedTuple):
    """How an instrument was measured on recordings that it was not trained on; lower is better.

    Attributes:
      split: of its dataset; "test" is what neither trained it nor chose its weights.
      n_examples: that the numbers are means over.
      spectral_loss: multi-scale spectral loss.
      loudness_l1_db: mean absolute error of loudness, in dB.
      f0_l1_semitones: mean absolute error of pitch, in semitones, where one was heard.
      f0_outlier_share: of the frames, in which no pitch was heard or one that is far off.
    """

    split: str | None
    n_examples: int | None
    spectral_loss: float | None
    loudness_l1_db: float | None
    f0_l1_semitones: float | None
    f0_outlier_share: float | None


class InstrumentCard(NamedTuple):
    """What is to be known of an instrument; what its folder does not say is None.

    Attributes:
      name: of the instrument.
      is_shipped: whether it came with ddspx; else it is the user's own.
      licence: of the recordings that it was trained on, in one line of printable characters; where
        the training began with another model's weights, that of its recordings too.
      attribution: whom to credit for them, likewise.
      sample_rate: samples per second that it plays.
      hop_length: samples between its frames.
      notes: names of the notes that its recordings reach from and to (first and 99th percentile).
      range_hz: their pitch in Hz.
      n_recordings: that it was trained on.
      duration_s: seconds that it was trained on.
      scores: its measures, where they were stored.
      n_bytes: size of its folder.
    """

    name: str
    is_shipped: bool
    licence: str | None
    attribution: str | None
    sample_rate: int
    hop_length: int
    notes: tuple[str, str]
    range_hz: tuple[float, float]
    n_recordings: int | None
    duration_s: float
    scores: InstrumentScores | None
    n_bytes: int


def describe_instrument(source: str | Path) -> InstrumentCard:
    """Reads what an instrument's folder says of it; its weights are not read.

    Args:
      source: a name from `instrument_names`, or else the path of a model folder.

    Returns:
      Its card.

    Raises:
      FileNotFoundError: there is no such folder or instrument, or a file of it is missing.
      ValueError: a file of it is damaged.

    Example:
      >>> from ddspx.instruments import describe_instrument
      >>> card = describe_instrument("violin")
      >>> card.is_shipped, card.licence.startswith("CC BY"), card.notes[0]
      (True, True, 'G3')
    """
    folder = named_instrument(str(source)) or find_instrument(source)
    config = read_json(folder / CONFIG, AutoencoderConfig.from_json)
    statistics = read_json(folder / STATISTICS, InstrumentStatistics.from_json)
    midi = statistics.pitch_midi_min, statistics.pitch_midi_max
    licence, attribution, n_recordings, scores = read_json(folder / PROVENANCE, _origin)
    return InstrumentCard(
        name=folder.resolve().name,
        is_shipped=folder.parent == SHIPPED,
        licence=licence,
        attribution=attribution,
        sample_rate=config.sample_rate,
        hop_length=config.hop_length,
        notes=(note_name(midi[0]), note_name(midi[1])),
        range_hz=(midi_to_hz(midi[0]), midi_to_hz(midi[1])),
        n_recordings=n_recordings,
        duration_s=statistics.duration_s,
        scores=scores,
        n_bytes=sum(file.stat().st_size for file in folder.iterdir() if file.is_file()),
    )


def store_scores(source: str | Path, scores: InstrumentScores) -> Path | None:
    """Writes how an instrument was measured into its folder, for `describe_instrument`.

    Args:
      source: a model folder, or an instrument's name.
      scores: its measures; they replace those that are there.

    Returns:
      The folder; None for an instrument that ships with ddspx, which stays as it is.

    Raises:
      FileNotFoundError: there is no such folder or instrument, or a file of it is missing.
      ValueError: its provenance is damaged.
      OSError: it cannot be written.
    """
    from ddspx.io import replacing_file

    folder = find_instrument(source)
    if folder.resolve().parent == SHIPPED.resolve():
        return None
    provenance = read_json(folder / PROVENANCE, json_object)
    measures = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in scores._asdict().items()
    }
    with replacing_file(folder / PROVENANCE) as temporary:
        text = json.dumps(provenance | {"scores": measures}, indent=2, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")
    return folder


def note_name(midi: float) -> str:
    """The nearest note of a MIDI number: 69 is A4, 60 the middle C, C4; all between are sharps."""
    octave, note = divmod(round(midi), 12)
    return f"{_NOTES[note]}{octave - 1}"


def _origin(
    provenance: Any,
) -> tuple[str | None, str | None, int | None, InstrumentScores | None]:
    """Licence, attribution, number of recordings and scores, as a provenance has them."""
    data = _value(provenance, "data", OBJECT) or {}
    sources = _value(data, "sources", LIST)
    scores = _value(provenance, "scores", OBJECT)
    if scores is not None:
        measures = (_value(scores, name, _MEASURE) for name in InstrumentScores._fields[2:])
        n_examples = _value(scores, "n_examples", COUNT_OR_0)
        scores = InstrumentScores(_line(scores, "split"), n_examples, *measures)
    n_recordings = None if sources is None else len(sources)
    licence, attribution = (_joined(provenance, name) for name in ("licence", "attribution"))
    return licence, attribution, n_recordings, scores


def _joined(provenance: Any, name: str) -> str | None:
    """A text about the recordings, and about those of the models that the training began with."""
    found: list[str] = []
    while provenance is not None and len(found) < _MOST_ORIGINS:
        data = _value(provenance, "data", OBJECT)
        text = None if data is None else _line(data, name) or "not stated"
        if text is not None and text not in found:
            found.append(text)
        provenance = _value(provenance, "started_from", OBJECT)
    # Each text is of bounded length, and none is left out: whoever is named has to be.
    return "; ".join(found) if any(text != "not stated" for text in found) else None


def _value(fields: Any, name: str, kind: Kind) -> Any:
    """A field of a provenance; None where it is missing or null."""
    return json_field(
        {k: v for k, v in json_object(fields).items() if v is not None}, name, kind, default=None
    )


def _line(fields: Mapping[str, Any], name: str) -> str | None:
    """A text as one line that may be shown: no character of it can steer a terminal."""
    text = _value(fields, name, TEXT)
    if text is None:
        return None
    shown = "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))
    return shown if len(shown) <= _LONGEST_LINE else shown[: _LONGEST_LINE - 3] + "..."
