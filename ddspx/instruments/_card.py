"""The card of an instrument: what its files say about it, read without loading the model."""

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
    json_facts,
    json_field,
    json_object,
    list_of,
    number_below,
)
from ddspx.models._config import CONFIG, PROVENANCE, STATISTICS, read_json
from ddspx.models.autoencoder.config import AutoencoderConfig, InstrumentStatistics

_NOTES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
_LONGEST_LINE = 400
_MOST_ORIGINS, _MOST_INSTRUMENTS = 8, 64
_MEASURE = number_below(1e6)
_TIMES = list_of(Kind("null or a number", lambda value: value is None or _MEASURE.allows(value)))


class InstrumentScores(NamedTuple):
    """How an instrument was measured on recordings that it was not trained on; lower is better.

    Attributes:
      split: the part of the dataset; "test" was used neither to train nor to choose the weights.
      n_examples: number of examples over which the scores are averaged.
      spectral_loss: multi-scale spectral loss.
      loudness_l1_db: mean absolute error of loudness, in dB.
      f0_l1_semitones: mean absolute error of pitch, in semitones, of frames with a detected pitch.
      f0_outlier_share: share of the frames with no detected pitch, or one that is far off.
    """

    split: str | None
    n_examples: int | None
    spectral_loss: float | None
    loudness_l1_db: float | None
    f0_l1_semitones: float | None
    f0_outlier_share: float | None


class InstrumentCard(NamedTuple):
    """The description of an instrument; a field is None if the folder does not say it.

    Attributes:
      name: name of the instrument.
      is_shipped: whether it ships with ddspx; otherwise the user installed it.
      licence: licence of the recordings that it was trained on, in one line of printable
        characters. If the training began with the weights of another model, the licence of that
        model's recordings is included.
      attribution: whom to credit for these recordings, in the same form.
      sample_rate: sample rate of the audio, in Hz.
      hop_length: samples between frames.
      notes: names of the lowest and highest note of the recordings (1st and 99th percentile).
      range_hz: the pitch of these two notes, in Hz.
      n_recordings: number of recordings that it was trained on.
      duration_s: total duration of these recordings, in seconds; 0 if it is not known.
      scores: the scores of its evaluation, if they were stored.
      room_t60_s: how long its trained reverb rings: for the centre of each octave, in Hz, the time
        in seconds in which it falls by 60 dB, or None where it does not fall evenly.
      n_bytes: size of its folder, in bytes.
      adapted_from: the name of the model of any instrument that was adapted to the recordings, with
        the first 12 digits of the SHA-256 of its weights; None for another instrument.
      made_with: the same of the model of any instrument that plays the timbre of a recording, or
        a mixture of several, with its own weights; None for another instrument.
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
    room_t60_s: dict[float, float | None] | None
    n_bytes: int
    adapted_from: str | None
    made_with: str | None


def describe_instrument(source: str | Path) -> InstrumentCard:
    """Reads the description of an instrument from its folder, without reading its weights.

    Args:
      source: a name from `instrument_names`, or the path of a model folder.

    Returns:
      The card of the instrument.

    Raises:
      FileNotFoundError: there is no such folder or instrument, or one of its files is missing.
      ValueError: one of its files is damaged.

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
    origin = read_json(folder / PROVENANCE, _origin)
    return InstrumentCard(
        name=folder.resolve().name,
        is_shipped=folder.parent == SHIPPED,
        licence=origin.licence,
        attribution=origin.attribution,
        sample_rate=config.sample_rate,
        hop_length=config.hop_length,
        notes=(note_name(midi[0]), note_name(midi[1])),
        range_hz=(midi_to_hz(midi[0]), midi_to_hz(midi[1])),
        n_recordings=origin.n_recordings,
        duration_s=statistics.duration_s,
        scores=origin.scores,
        room_t60_s=origin.room_t60_s,
        n_bytes=sum(file.stat().st_size for file in folder.iterdir() if file.is_file()),
        adapted_from=origin.adapted_from,
        made_with=origin.made_with,
    )


def store_scores(source: str | Path, scores: InstrumentScores) -> Path | None:
    """Writes the scores of an instrument into its folder, for `describe_instrument`.

    Args:
      source: a model folder, or the name of an instrument.
      scores: the scores; they replace earlier ones.

    Returns:
      The folder; None for an instrument that ships with ddspx, which is not changed.

    Raises:
      FileNotFoundError: there is no such folder or instrument, or one of its files is missing.
      ValueError: `provenance.json` is damaged.
      OSError: `provenance.json` cannot be written.
    """
    from ddspx.io import replacing_file

    folder = find_instrument(source)
    if folder.resolve().parent == SHIPPED.resolve():
        return None
    provenance = read_json(folder / PROVENANCE, json_facts)
    measures = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in scores._asdict().items()
    }
    with replacing_file(folder / PROVENANCE) as temporary:
        text = json.dumps(provenance | {"scores": measures}, indent=2, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")
    return folder


def note_name(midi: float) -> str:
    """The name of the nearest note of a MIDI number, with sharps: 69 is A4, 60 is C4 (middle C)."""
    octave, note = divmod(round(midi), 12)
    return f"{_NOTES[note]}{octave - 1}"


class _Origin(NamedTuple):
    licence: str | None
    attribution: str | None
    n_recordings: int | None
    scores: InstrumentScores | None
    room_t60_s: dict[float, float | None] | None
    adapted_from: str | None
    made_with: str | None


def _origin(provenance: Any) -> _Origin:
    """What the provenance of a model says for its card."""
    data = _value(provenance, "data", OBJECT) or {}
    sources = _value(data, "sources", LIST)
    scores = _value(provenance, "scores", OBJECT)
    if scores is not None:
        measures = (_value(scores, name, _MEASURE) for name in InstrumentScores._fields[2:])
        n_examples = _value(scores, "n_examples", COUNT_OR_0)
        scores = InstrumentScores(_line(scores, "split"), n_examples, *measures)
    n_recordings = None if sources is None else len(sources)
    licence, attribution = (_joined(provenance, name) for name in ("licence", "attribution"))
    room, base = _room(provenance), _any_instrument(provenance)
    # Without a training of its own, it has the weights of that model.
    used = (base, None) if "training" in provenance else (None, base)
    return _Origin(licence, attribution, n_recordings, scores, room, *used)


def _any_instrument(provenance: Any) -> str | None:
    base = _value(provenance, "started_from", OBJECT) or {}
    name, digest = (_line(base, field) for field in ("name", "weights_sha256"))
    return None if name is None else f"{name} {(digest or '')[:12]}".strip()


def _room(provenance: Any) -> dict[float, float | None] | None:
    """The reverberation time of each octave."""
    room = _value(provenance, "room", OBJECT)
    if room is None:
        return None
    bands_hz = _value(room, "bands_hz", list_of(_MEASURE)) or []
    t60_s = _value(room, "t60_s", _TIMES) or []
    if len(bands_hz) != len(t60_s):
        raise ValueError("`t60_s` must hold a time for each of `bands_hz`.")
    return dict(zip(bands_hz, t60_s, strict=True))


def _joined(provenance: Any, name: str) -> str | None:
    """The licence or attribution of a model and of all models that its training began with."""
    found: list[str] = []
    for _ in range(_MOST_ORIGINS):
        if provenance is None:
            break
        # A model of many instruments has the recordings of each.
        instruments = _value(provenance, "instruments", OBJECT) or {}
        parts = (json_object(part) for part in list(instruments.values())[:_MOST_INSTRUMENTS])
        data = _value(provenance, "data", OBJECT)
        for part in (*([] if data is None else [data]), *parts):
            text = _line(part, name) or "not stated"
            if text not in found:
                found.append(text)
        provenance = _value(provenance, "started_from", OBJECT)
    # Licences require that everybody is credited, so no text is left out. The result stays short,
    # because the length and the number of the texts are limited.
    return "; ".join(found) if any(text != "not stated" for text in found) else None


def _value(fields: Any, name: str, kind: Kind) -> Any:
    """The value of a field of a provenance; None if it is missing or null."""
    return json_field(
        {k: v for k, v in json_object(fields).items() if v is not None}, name, kind, default=None
    )


def _line(fields: Mapping[str, Any], name: str) -> str | None:
    """The text of a field as one short line, without characters that could control a terminal."""
    text = _value(fields, name, TEXT)
    if text is None:
        return None
    shown = "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))
    return shown if len(shown) <= _LONGEST_LINE else shown[: _LONGEST_LINE - 3] + "..."
