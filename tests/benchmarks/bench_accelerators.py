"""What XLA makes of operations and training steps for a TPU v5e and an H200, 16 x 4 s at 16 kHz.

Run: ``JAX_PLATFORMS=cpu python tests/benchmarks/bench_accelerators.py``, with the extras `tpu` and
`cuda12`. Nothing runs on a chip, so there are no times here but those of compiling, in CPU seconds.
"""

import math
import sys
from collections.abc import Callable
from typing import Any

import jax
from workloads import PRESETS, gradient, training, workloads

import compilers  # isort: skip, in a folder that `workloads` adds

# Bytes a second of a TPU v5e, a T4 and an H200, and flops in float32 (of a TPU: six passes of its
# matrix unit in bfloat16), by their data sheets.
CHIPS = {"v5e": (819e9, 197e12 / 6), "T4": (320e9, 8.1e12), "H200": (4800e9, 67e12)}


def sizes(f: Callable, arguments: Any) -> float:
    """Bytes that must be moved at least: the arguments and the results."""
    leaves = jax.tree.leaves((arguments, jax.eval_shape(f, *arguments)))
    return sum(
        math.prod(x.shape) * x.dtype.itemsize for x in leaves if hasattr(x.dtype, "itemsize")
    )


def megabytes(n: float) -> str:
    return f"{n / 1e6:,.0f}"


def shown(platform: str, f: Callable, arguments: Any, **options: Any) -> tuple[str, str, str]:
    """CPU seconds of compiling, MB of temporaries, and MB moved or kernels started."""
    try:
        program = compilers.compile_for(platform, f, *arguments, **options)
    except jax.errors.JaxRuntimeError as error:
        return "none", str(error).splitlines()[0][:80], ""
    moved = program.bytes_moved
    last = f"{program.launches:,}" if moved is None else megabytes(moved)
    return f"{program.compile_s:.0f}", megabytes(program.temporaries), last


def row(*cells: str) -> None:
    print("|", " | ".join(cells), "|", flush=True)


def main() -> None:
    # An argument limits the rows to names that contain it.
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    platforms = [p for p in compilers.PLATFORMS if _has(p)]
    heads = {"tpu": "v5e: compile s | temporaries MB | MB moved",
             "cuda": "H200: compile s | temporaries MB | launches"}  # fmt: skip
    print("### Operations and training steps, beside the textbook\n")
    limits = " | ".join(f"least on {chip}, us" for chip in CHIPS)
    row("program", "least MB", limits, *(heads[p] for p in platforms))
    row(*["---"] * (2 + len(CHIPS) + 3 * len(platforms)))
    for name, f, arguments in programs():
        if wanted not in name:
            continue
        least = sizes(f, arguments)
        work = flops(jax.make_jaxpr(f)(*arguments).jaxpr)
        times = [f"{1e6 * max(least / b, work / c):.0f}" for b, c in CHIPS.values()]
        cells = [cell for p in platforms for cell in shown(p, f, arguments)]
        row(name, megabytes(least), *times, *cells)
    print("\n### The training step of `small`, 16 x 4 s, on one and on four chips of a v5e\n")
    row("chips", "compile s", "temporaries MB a chip", "MB moved a chip", "collectives")
    row(*["---"] * 5)
    for n_chips in (1, 4) if "tpu" in platforms and wanted in "chips" else ():
        program = compilers.compile_for("tpu", *training("small"), n_chips=n_chips)
        collectives = sum(program.text.count(f" {op}(") for op in ("all-reduce", "all-gather"))
        figures = program.temporaries, program.bytes_moved
        row(str(n_chips), f"{program.compile_s:.0f}", *map(megabytes, figures), str(collectives))


def programs():
    """Name, function and arguments: values and gradients, ours and the textbook's, and steps."""
    for name, (ours, textbook, arguments) in workloads().items():
        for kind, f in (("", ours), (", textbook", textbook)):
            yield f"{name}{kind}", f, arguments
            yield f"{name}, gradient{kind}", gradient(f, len(arguments)), arguments
    for preset in (*PRESETS, "any_instrument"):
        step, *arguments = training(preset)
        yield f"training step of `{preset}`", step, tuple(arguments)


def flops(jaxpr: Any) -> float:
    """Of a traced program: an FFT has 5 N log2 N, anything else one for each of its results.

    A loop counts as often as it runs, once where that depends on the data; of the branches of a
    condition, as of the programs for several platforms, the smallest counts.
    """
    total = 0.0
    for eqn in jaxpr.eqns:
        inner = [flops(getattr(p, "jaxpr", p)) for p in _programs_in(eqn.params)]
        size = sum(math.prod(getattr(x.aval, "shape", ())) for x in eqn.outvars)
        name = eqn.primitive.name
        if name == "cond":
            total += min(inner)
        elif inner:
            total += eqn.params.get("length", 1) * sum(inner)
        elif name == "dot_general":
            (contracted, _), _ = eqn.params["dimension_numbers"]
            total += 2 * size * math.prod(eqn.invars[0].aval.shape[axis] for axis in contracted)
        elif name == "fft":
            (n,) = eqn.params["fft_lengths"]
            total += 2.5 * max(size, math.prod(eqn.invars[0].aval.shape)) * math.log2(n)
        else:
            total += size
    return total


def _programs_in(params: dict[str, Any]) -> list[Any]:
    values = [x for p in params.values() for x in (p if isinstance(p, tuple | list) else [p])]
    return [x for x in values if hasattr(x, "eqns") or hasattr(x, "jaxpr")]


def _has(platform: str) -> bool:
    try:
        return bool(compilers.devices(platform))
    except RuntimeError as error:
        print(f"{platform} skipped: {error}")
        return False


if __name__ == "__main__":
    main()
