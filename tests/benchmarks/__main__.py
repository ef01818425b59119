"""All benchmarks, one after the other, into ``results.md`` beside this file.

Run: ``python tests/benchmarks``, with ``DDSPX_BENCH_TF``, ``DDSPX_BENCH_TORCH`` and
``DDSPX_BENCH_LIBROSAX`` naming interpreters with the rivals; without them their rows are missing.
Names of benchmarks as arguments (``stft gru``) measure those only, and leave the other sections as
they are. ``--device`` measures on the device at hand, a GPU above all, in under 8 minutes;
``accelerators`` compiles for chips that are not there.
"""

import datetime
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import jax

HERE = Path(__file__).parent
RESULTS = HERE / "results.md"
HEAD = """# Benchmarks

Made by `python tests/benchmarks`, a section for each `bench_*.py`. Cases of a table take turns in
one run. Memory is what the compiled program holds beside its inputs and outputs, or, of a rival's
process, the most that was resident. Times of shared machines are good for ratios only.
"""


def sections() -> dict[str, str]:
    """The sections that stand in the results, by the name of their benchmark."""
    text = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else ""
    parts = re.split(r"^## (\w+)$", text, flags=re.MULTILINE)[1:]
    return {name: body.strip() for name, body in zip(parts[::2], parts[1::2], strict=True)}


def measured(name: str) -> str:
    """Runs a benchmark: where and when, and its tables."""
    script = HERE / ("device.py" if name == "device" else f"bench_{name}.py")
    print(f"--- {name}", file=sys.stderr, flush=True)
    done = subprocess.run([sys.executable, script], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{script.name} ended with status {done.returncode}.")
    place = (
        f"{datetime.date.today()}: {os.cpu_count()} cores ({platform.machine()}), "
        f"Python {platform.python_version()}, JAX {jax.__version__} on "
        f"{jax.devices()[0].device_kind}."
    )
    return f"{place}\n\n{done.stdout.strip()}"


def main() -> None:
    benches = sorted(p.stem.removeprefix("bench_") for p in HERE.glob("bench_*.py"))
    found, every = sections(), [*benches, "device"]
    for name in [name.removeprefix("--") for name in sys.argv[1:]] or benches:
        if name not in every:
            raise SystemExit(f"{name!r} is none of the benchmarks: {', '.join(every)}.")
        found[name] = measured(name)
        print(found[name], flush=True)
        texts = [f"\n## {name}\n\n{found[name]}\n" for name in every if name in found]
        RESULTS.write_text(HEAD + "".join(texts), encoding="utf-8")


if __name__ == "__main__":
    main()
