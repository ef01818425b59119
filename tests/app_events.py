"""The events of the page as tests call them, and recordings that it refuses."""

import numpy as np
from bad_recordings import SPOILT, write_cut_short, write_samples, write_text
from toy_instrument import tone

from ddspx._progress import no_progress
from ddspx.app._controls import CONTROLS, default_of
from ddspx.app._job import LONGEST_S

DEFAULTS = [default_of(control) for control in CONTROLS]


def values_with(**changes):
    return [
        changes.get(control.field, value) for control, value in zip(CONTROLS, DEFAULTS, strict=True)
    ]


def result_of(
    sessions, recording, instrument="toy", values=DEFAULTS, *, session="page", progress=no_progress
):
    """All that a recording and a click on Play lead to: the message, the result and the report."""
    sessions.receive(None if recording is None else str(recording), session=session)
    sessions.begin(session=session)
    outcome = sessions.play(
        None if recording is None else str(recording),
        str(instrument),
        values,
        session=session,
        progress=progress,
    )
    judged = sessions.report(session=session, progress=progress)
    assert sessions.state(session=session) == "idle"
    return [late or early for late, early in zip(judged, outcome, strict=True)]


def names(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


# How each is made, and what is said of it.
UNUSABLE = {
    "missing": (lambda path: None, "does not exist"),
    "text": (write_text, "cannot be read as audio"),
    "cut-short": (write_cut_short, "cannot be read as audio"),
    "no-samples": (write_samples(np.zeros(0)), "holds no samples"),
    "too-short": (write_samples(tone(0.05)), "is too short"),
    "nan": (write_samples(SPOILT), "NaN or infinite"),
    "silence": (write_samples(np.zeros(20_000)), "silent from end to end"),
    "too-long": (
        write_samples(np.tile(tone(1.0), round(LONGEST_S) + 1), "PCM_16"),
        "than 5 minutes",
    ),
}
