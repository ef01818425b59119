"""Suite-wide strictness: float64 on (off with DDSPX_TEST_X64=0), no silent rank promotion."""

import gc
import os
from pathlib import Path

# Of matrices as small as here, threads cost tens of times what they save, and more where another
# worker has the cores. Set before NumPy is imported; the workers inherit it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import jax
import numpy as np
import pytest

# Most tests compile for one small call each: there the compiler hardly optimizes. In these places
# it does, a little, as what it compiles runs for seconds. Parts for several threads disturb the
# other workers. Every jaxlib from the floor on knows these flags: an unknown one ends the process.
# What optimization could change is run by the pass without x64.
_FLAGS = [
    "--xla_backend_optimization_level=1",
    "--xla_llvm_disable_expensive_passes=true",
    "--xla_cpu_parallel_codegen_split_count=1",
]
if jax.version.__version_info__ < (0, 11):
    # Its emitters of fusions take as long to compile one operation as all the rest. From 0.11 on
    # there is no other way to compile, and no such flag.
    _FLAGS.append("--xla_cpu_use_fusion_emitters=false")
# The workers inherit what was set before them.
_IS_QUICK = os.environ.setdefault("XLA_FLAGS", " ".join(_FLAGS)) == " ".join(_FLAGS)
_LONG_RUNS = {"app", "features", "transfer", "test_autoencoder_evaluation.py"}
# Elsewhere only the program of a CPU is traced, not those of all platforms beside it, which takes
# up to a third of the time. The pass without x64 traces all of them.
_EVERY_PLATFORM = {
    *("accelerators", "test_fourier.py", "test_lookup.py", "test_platforms.py", "test_programs.py"),
    # It compares with what processes of its own compute.
    "test_prepare_everywhere.py",
}
# Their cases are the functions of the core, so all of them are run.
_FAMILIES = {"test_contracts.py", "test_programs.py"}
# A place where nothing is and nothing can be put: no test sees the developer's own instruments, or
# adds to them. Set here, as tests copy the environment when they are imported.
os.environ["DDSPX_INSTRUMENTS"] = os.path.join(os.devnull, "instruments")
jax.config.update("jax_enable_x64", os.environ.get("DDSPX_TEST_X64", "1") != "0")
jax.config.update("jax_numpy_rank_promotion", "raise")
# Where each operation was written, with ten callers, is a twentieth of the time of compiling it.
jax.config.update("jax_traceback_in_locations_limit", 0)


def pytest_addoption(parser):
    parser.addoption(
        "--first-case", action="store_true", help="of each parametrized test run one case alone"
    )


# After those that a marker deselects, so that a quick case is left of each quick test.
@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    if not config.getoption("first_case"):
        return
    first, chosen, others = {}, [], []
    for item in items:
        is_first = first.setdefault(item.nodeid.partition("[")[0], item) is item
        is_chosen = is_first or item.path.name in _FAMILIES
        (chosen if is_chosen else others).append(item)
    config.hook.pytest_deselected(items=others)
    items[:] = chosen


def pytest_collection_finish():
    """Spares the garbage collector what was imported and collected, which it would walk often."""
    gc.collect()
    gc.freeze()


def _for_a_cpu(*arguments, default=None, **programs):
    """The program that a CPU runs, in place of `jax.lax.platform_dependent`."""
    return programs.get("cpu", default)(*arguments)


@pytest.fixture(autouse=True, scope="module")
def programs(request):
    """How a file's programs are compiled; frees them at its end, which would be gigabytes."""
    where = request.path.relative_to(Path(__file__).parent).parts
    is_unoptimised = _IS_QUICK and _LONG_RUNS.isdisjoint(where)
    jax.config.update("jax_disable_most_optimizations", is_unoptimised)
    with pytest.MonkeyPatch.context() as patch:
        if _IS_QUICK and _EVERY_PLATFORM.isdisjoint(where) and jax.default_backend() == "cpu":
            patch.setattr(jax.lax, "platform_dependent", _for_a_cpu)
        yield
    jax.clear_caches()


# No test outlives a loss of power, and a model would wait for the disk for a tenth of a second.
os.fsync = lambda file: None

SHARED_DATA = Path(os.environ.get("DDSPX_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture
def key() -> jax.Array:
    return jax.random.key(0)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real recordings; tests that need it are skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no recordings at {SHARED_DATA}; set DDSPX_TEST_DATA to their folder")
    return SHARED_DATA


@pytest.fixture
def homeless(monkeypatch):
    """No home folder, as in some containers."""
    pwd = pytest.importorskip("pwd", reason="there is a home everywhere on Windows")

    def nobody(_):
        raise KeyError("nobody")

    for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    # A relative home is none either.
    monkeypatch.setenv("HOME", "nowhere")
    monkeypatch.setattr(pwd, "getpwuid", nobody)
