"""Suite-wide strictness: float64 on (off with DDSPX_TEST_X64=0), no silent rank promotion."""

import os
from pathlib import Path

import jax
import numpy as np
import pytest

# Compiling is most of the time that tests take, and they compile for one small call each. What
# optimisation could change is run by the pass without x64 and by the examples, which have it. The
# emitters of fusions take as long again to compile one operation as all the rest.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    " --xla_cpu_use_fusion_emitters=false",
)
# A place where nothing is and nothing can be put: no test sees the developer's own instruments, or
# adds to them. Set here, as tests copy the environment when they are imported.
os.environ["DDSPX_INSTRUMENTS"] = os.path.join(os.devnull, "instruments")
jax.config.update("jax_enable_x64", os.environ.get("DDSPX_TEST_X64", "1") != "0")
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(autouse=True, scope="module")
def forgotten_programs():
    """Frees what a file compiled, of which the next one needs little: gigabytes by the end."""
    yield
    jax.clear_caches()


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
