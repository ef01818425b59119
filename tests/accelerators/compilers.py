"""XLA's compilers for TPU and CUDA on a machine that has neither, and what their programs need.

The chips are descriptions: nothing runs, so arguments are shapes. The extras `tpu` and `cuda12`
bring the compilers. Run with ``JAX_PLATFORMS=cpu``: otherwise JAX asks the driver of NVIDIA, which
is not there. The time of compiling is CPU time, as several compilations share the cores.
"""

import math
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

# What libtpu otherwise asks a server about, and that other processes may compile at the same time.
# It reads these when it is loaded.
os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v5litepod-4")
os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec

PLATFORMS = ("tpu", "cuda")
# An H200, as far as the compiler asks: NVIDIA's data sheet, in XLA's text form.
_H200 = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32
  shared_memory_per_block: 49152 shared_memory_per_core: 233472
  shared_memory_per_block_optin: 232448
  threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: 4800000000000 l2_cache_size: 52428800
  clock_rate_ghz: 1.98 device_memory_size: 150000000000
  cuda_compute_capability { major: 9 minor: 0 }
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 8 patch: 0 }
device_description_str: "NVIDIA H200"
"""


@contextmanager
def without_x64() -> Iterator[None]:
    """Makes float32 the widest type, as users have it; no TPU has another."""
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", False)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", before)


class Program(NamedTuple):
    """What a compiled program needs.

    Attributes:
      compile_s: CPU seconds of compiling, tracing included.
      temporaries: bytes beside arguments and results.
      bytes_moved: bytes read and written by all operations, by the compiler's count; None on CUDA,
        whose compiler does not count.
      launches: kernels that a run starts; None on TPU, where a program is one launch, and where
        the number of rounds of a loop depends on the data.
      text: the optimised program.
    """

    compile_s: float
    temporaries: int
    bytes_moved: float | None
    launches: int | None
    text: str


@cache
def devices(platform: str) -> tuple[jax.Device, ...]:
    """The chips of a description: four of a TPU v5e, one H200.

    Raises:
      RuntimeError: the compiler is not installed, with its reason.
    """
    try:
        if platform == "tpu":
            topology = topologies.get_topology_desc(platform="tpu", topology_name="v5e:2x2")
        else:
            topology = topologies.get_topology_desc(
                "h200", "cuda", topology="1x1x1", target_config=_H200
            )
    except Exception as error:  # Each jaxlib has another class for it.
        extra = {"tpu": "tpu", "cuda": "cuda12"}[platform]
        reason = str(error).splitlines()[0]
        raise RuntimeError(
            f"no compiler for {platform} ({reason}): install the extra `{extra}` and set "
            "JAX_PLATFORMS=cpu"
        ) from error
    return tuple(topology.devices)


def compile_for(platform: str, f: Callable, *arguments: Any, n_chips: int = 1) -> Program:
    """The program of a function for one chip, or for several that each have a part of the batch.

    Args:
      platform: ``tpu`` or ``cuda``.
      f: a function of arrays; it may be jitted already.
      arguments: arrays or shapes, in any pytree. With several chips, the first argument is on all,
        and the others are split along their first axes.
      n_chips: how many.
    """
    mesh = Mesh(np.array(devices(platform)[:n_chips]), ("data",))
    everywhere, parts = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in ((), ("data",)))

    def placed(index: int, tree: Any) -> Any:
        sharding = parts if n_chips > 1 and index > 0 else everywhere
        return jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree
        )

    start = time.process_time()
    jitted = f if hasattr(f, "lower") else jax.jit(f)
    compiled = _compile(jitted.lower(*(placed(*each) for each in enumerate(arguments))))
    compile_s = time.process_time() - start
    costs, text = compiled.cost_analysis(), compiled.as_text()
    return Program(
        compile_s,
        compiled.memory_analysis().temp_size_in_bytes,
        costs["bytes accessed"] if costs else None,
        None if costs else launches(text),
        text,
    )


def _compile(lowered: Any) -> Any:
    """Compiles; matrix products that XLA's own kernels cannot tile go to cuBLAS.

    With a chip, XLA tries several tilings and cuBLAS, and takes the fastest. Without one it takes
    the first tiling, even if that does not fit the sizes.
    """
    try:
        return lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        if "Couldn't find output tile sizes" not in str(error):
            raise
        return lowered.compile({"xla_gpu_enable_triton_gemm": False})


# What a CUDA program does without a kernel of its own.
_FREE = {
    "parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "partition-id",
    "opt-barrier", "add-dependency", "fusion-done", "copy-done", "async-done", "custom-call-done",
}  # fmt: skip
_COMPUTATION = re.compile(r"^(ENTRY )?%?(\S+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?\S+ = (?:\(.*?\)|\S+) ([\w-]+)\((.*)$")


def launches(text: str) -> int | None:
    """Kernels that a run of an optimised CUDA program starts.

    A loop counts as often as it is known to run, and None is returned if it is not known; of the
    branches of a condition, the longest one counts.
    """
    bodies, entry, name = {}, "", ""
    for line in text.splitlines():
        if started := _COMPUTATION.match(line):
            name = started[2]
            entry = name if started[1] else entry
            bodies[name] = []
        elif found := _INSTRUCTION.match(line):
            bodies[name].append((found[1], found[2]))
    total = _launches_in(entry, bodies)
    return None if math.isnan(total) else int(total)


def _launches_in(name: str, bodies: dict[str, list[tuple[str, str]]]) -> float:
    """Kernels of one computation; NaN if it has a loop of unknown length."""

    def inside(field: str, rest: str) -> list[float]:
        listed = re.search(field + r"=\{?([^={}]*?)(?:\}|, \w+=|$)", rest)
        names = listed[1].replace("%", "").split(", ") if listed else []
        return [_launches_in(name, bodies) for name in names]

    total = 0.0
    for operation, rest in bodies[name]:
        if operation == "while":
            trips = re.search(r'"known_trip_count":\{"n":"(\d+)"\}', rest)
            total += inside("body", rest)[0] * (int(trips[1]) if trips else math.nan)
        elif operation == "conditional":
            branches = inside("branch_computations", rest)
            branches += inside("true_computation", rest) + inside("false_computation", rest)
            total += max(branches)
        elif operation == "call":
            total += inside("to_apply", rest)[0]
        else:
            total += operation not in _FREE
    return total
