"""One training step of `solo_instrument` at 16 x 4 s, 250 frames per second: time and memory.

Run: ``python tests/benchmarks/bench_train_step.py``. ``DDSPX_BENCH_TF`` names an interpreter with
ddsp 3.7. Both train in a process of their own and take turns; memory is the most that either
held at once, interpreter, libraries and compilation included. The clock has the whole step:
forward, gradient, clipping and Adam.
"""

import os
import sys
from pathlib import Path

from harness import Rival, report

REPEATS = 4


def main() -> None:
    os.environ["DDSPX_BENCH_SELF"] = sys.executable
    here = Path(__file__)
    ours = Rival("DDSPX_BENCH_SELF", here.with_name("rival_ddspx_train_step.py"))
    rival = Rival("DDSPX_BENCH_TF", here.with_name("rival_ddsp_train_step.py"))
    cases = {"ddspx": ours.case("step")}
    if rival.reason:
        print(f"DDSP skipped: {rival.reason}")
    else:
        cases["DDSP 3.7"] = rival.case("step")
    title = "Training step, solo_instrument, 16 x 4 s, hop 64"
    report(title, cases, repeats=REPEATS, baseline="ddspx")


if __name__ == "__main__":
    main()
