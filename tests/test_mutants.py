"""The faults by which the quick tests are judged can be written into the package as it is."""

import shlex
from pathlib import Path

from mutants.faults import FAULTS

import ddspx

TESTS = Path(__file__).parent


def test_every_fault_changes_one_line_and_names_existing_tests():
    package = Path(ddspx.__file__).parent
    for fault in FAULTS:
        compile(fault.faulty(package), fault.file, "exec")
        file, *_ = shlex.split(fault.tests)
        assert (TESTS / file).is_file(), file


def test_the_faults_are_spread_over_the_package():
    places = [fault.file.split("/")[0] for fault in FAULTS]
    assert len(FAULTS) >= 40
    for place in ("core", "nn", "io", "training", "transfer", "cli"):
        assert places.count(place) >= 4, place
