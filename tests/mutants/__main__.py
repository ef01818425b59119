"""How good the quick tests are: which of them finds each of the faults in `faults.py`.

    python tests/mutants [PLACE ...] [--checkout FOLDER] [--json FILE]

Every fault is written into a copy of the checkout, where the tests that it names must fail and,
once it is taken out again, pass. Takes a quarter of an hour, and ends with status 1 if a fault
survives.
"""

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from faults import FAULTS, Fault

_TIMEOUT_S = 600
# A passed run, one with failures, and one whose tests could not even be imported.
_PASSED, _FAILED, _BROKEN = 0, 1, 2


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    checkout = Path(__file__).parents[2]
    parser.add_argument("places", nargs="*", help="beginnings of files, like training/_loop")
    parser.add_argument("--checkout", type=Path, default=checkout, help="whose tests are asked")
    parser.add_argument("--json", type=Path, help="where to write the table as well")
    options = parser.parse_args()
    faults = [f for f in FAULTS if f.file.startswith(tuple(options.places) or "")]
    for fault in faults:
        fault.faulty(options.checkout / "ddspx")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "ddspx")
        left_out = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "benchmarks")
        shutil.copytree(options.checkout, copy, ignore=left_out)
        killers = {}
        for fault in faults:
            killers[fault] = _killer(copy, fault)
            print(f"{fault.file}: {_shown(fault)}\n    {killers[fault] or 'SURVIVED'}", flush=True)
        found = sorted({test for test in killers.values() if test and "::" in test})
        code, output = _pytest(copy, found)
        if code != _PASSED:
            raise SystemExit(f"These fail without any fault:\n{output}")
    if options.json:
        rows = [fault._asdict() | {"killed_by": test} for fault, test in killers.items()]
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    survivors = sum(test is None for test in killers.values())
    print(f"{len(faults) - survivors} of {len(faults)} faults are found")
    return 1 if survivors else 0


def _killer(copy: Path, fault: Fault) -> str | None:
    """The test that fails with the fault in the copy, if there is one."""
    path = copy / "ddspx" / fault.file
    source = path.read_text(encoding="utf-8")
    path.write_text(fault.faulty(copy / "ddspx"), encoding="utf-8")
    try:
        file, *options = shlex.split(fault.tests)
        code, output = _pytest(copy, [f"tests/{file}", *options])
    except subprocess.TimeoutExpired:
        return f"{fault.tests}, which ran for more than {_TIMEOUT_S} s"
    finally:
        path.write_text(source, encoding="utf-8")
    if code == _PASSED:
        return None
    named = re.search(r"^(?:FAILED|ERROR) (tests/.+?)(?: - |$)", output, re.MULTILINE)
    if code not in (_FAILED, _BROKEN) or named is None:
        raise SystemExit(f"The tests {fault.tests!r} could not be run:\n{output}")
    return named[1]


def _pytest(copy: Path, arguments: list[str]) -> tuple[int, str]:
    """The status and the output of quick tests of the copy, up to the first that fails."""
    options = ["-n", "0", "-x", "-q", "--tb=no", "-rfE", "-p", "no:cacheprovider"]
    finished = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *arguments],
        cwd=copy,
        env=os.environ | {"PYTHONPATH": str(copy)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_TIMEOUT_S,
    )
    return finished.returncode, finished.stdout


def _shown(fault: Fault) -> str:
    """The fault in a line."""
    return " -> ".join(" ".join(text.split()) for text in (fault.old, fault.new))


if __name__ == "__main__":
    sys.exit(main())
