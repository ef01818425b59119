"""All benchmarks, one after the other, into ``results.md`` beside this file.

Run: ``python tests/benchmarks``, with ``DDSPX_BENCH_TF`` and ``DDSPX_BENCH_TORCH`` naming
interpreters with the rivals; without them their rows are missing. Names of benchmarks as arguments
(``stft gru``) run those only, and print without writing.
"""

import datetime
import os
import platform
import subprocess
import sys
from pathlib import Path

import jax

HERE = Path(__file__).parent
HEAD = """# Benchmarks

Made by `python tests/benchmarks` on {date}: {cores} cores ({processor}), Python {python}, JAX {jax}
on {device}. Cases of a table take turns in one run. Memory is what the compiled program holds
beside its inputs and outputs, or, of a rival's process, the most that was resident. Times of shared
machines are good for ratios only.

"""


def main() -> None:
    names = sys.argv[1:] or sorted(p.stem.removeprefix("bench_") for p in HERE.glob("bench_*.py"))
    tables = []
    for name in names:
        script = HERE / f"bench_{name}.py"
        print(f"--- {name}", file=sys.stderr, flush=True)
        done = subprocess.run([sys.executable, script], stdout=subprocess.PIPE, text=True)
        tables.append(done.stdout if done.returncode == 0 else f"### {name}\n\nfailed\n")
        print(tables[-1], flush=True)
    if len(sys.argv) == 1:
        head = HEAD.format(
            date=datetime.date.today(),
            cores=os.cpu_count(),
            processor=platform.machine(),
            python=platform.python_version(),
            jax=jax.__version__,
            device=jax.devices()[0].device_kind,
        )
        (HERE / "results.md").write_text(head + "\n".join(tables), encoding="utf-8")


if __name__ == "__main__":
    main()
