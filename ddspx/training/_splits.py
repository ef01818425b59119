"""How recordings are divided among the splits: as wholes, or each of them in time."""

from collections.abc import Mapping, Sequence
from itertools import accumulate

from ddspx.training._recordings import Usable

# With at least this many recordings, whole recordings make up the valid and test splits. With
# fewer, the end of each recording does, so that every recording is also trained on.
_WHOLE_RECORDINGS = 10


def checked_shares(valid: float, test: float) -> dict[str, float]:
    """The share of the sound in each split that is held out."""
    for name, share in (("valid_share", valid), ("test_share", test)):
        if not 0 <= share < 1:
            raise ValueError(f"`{name}` must be at least 0 and less than 1, got {share}.")
    if valid + test >= 1:
        raise ValueError(
            "`valid_share` and `test_share` must leave something for the train split, got "
            f"{valid} and {test}."
        )
    return {"valid": valid, "test": test}


def held_out(
    usable: Sequence[Usable], shares: Mapping[str, float], divisible: int
) -> dict[str, str]:
    """Returns the split of each recording by SHA-256; empty if recordings are divided in time.

    Recordings of less than `divisible` samples are too short to be divided.
    """
    if any(recording.file.split for recording in usable):
        return {r.outcome.sha256: r.file.split for r in usable if r.file.split}
    too_short = len(usable) >= 3 and all(r.outcome.n_samples < divisible for r in usable)
    if len(usable) < _WHOLE_RECORDINGS and not too_short:
        return {}
    ranked = sorted(recording.outcome.sha256 for recording in usable)
    names = []
    for name in ("test", "valid"):
        if share := shares[name]:
            names += [name] * max(1, round(share * len(ranked)))
    names += ["train"] * (len(ranked) - len(names))
    return dict(zip(ranked, names, strict=True))


def divided(
    stretches: Sequence[tuple[int, int]], shares: Mapping[str, float], example: int
) -> list[tuple[str, int, int]]:
    """Divides stretches of sound into train, then valid, then test; too little is train alone.

    Hops are counted as if the stretches were joined, so that the shares are shares of sound.
    """
    edges = list(accumulate((last - first for first, last in stretches), initial=0))

    def cut(end: int, share: float) -> int:
        if not share:
            return end
        # If the edge of a stretch is nearer than the length of an example, the cut is moved there,
        # so that no part is shorter than an example.
        place = end - max(round(share * edges[-1]), example)
        nearest = min(edges, key=lambda edge: abs(edge - place))
        return nearest if abs(nearest - place) < example else place

    test_from = cut(edges[-1], shares["test"])
    valid_from = cut(test_from, shares["valid"])
    bounds = {
        "train": (0, valid_from),
        "valid": (valid_from, test_from),
        "test": (test_from, edges[-1]),
    }
    if valid_from < 2 * example:
        bounds = {"train": (0, edges[-1])}
    parts = []
    for edge, (first, last) in zip(edges, stretches, strict=False):
        for name, (start, stop) in bounds.items():
            begin, end = max(first, first + start - edge), min(last, first + stop - edge)
            if begin < end:
                parts.append((name, begin, end))
    return parts
