"""What programs need at real sizes, 16 sounds of 4 s: kernels and memory on an H200, bytes on v5e.

The limits are a little above what was measured; `tests/benchmarks/results.md` has all figures.
"""

from functools import partial

import compilers
import numpy as np
import pytest
from test_compiling import as_users_have_it as as_users_have_it
from workloads import BATCH, FRAMES, HOP, SAMPLES, Workload, gradient, training, workloads

from ddspx import core

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def operations():
    with compilers.without_x64():
        return workloads()


def compile_both(platform, operation):
    """The programs of the value and of the gradient."""
    try:
        compilers.devices(platform)
    except RuntimeError as error:
        pytest.skip(str(error))
    arguments = operation.arguments
    return [
        compilers.compile_for(platform, f, *arguments)
        for f in (operation.ours, gradient(operation.ours, len(arguments)))
    ]


@pytest.mark.parametrize(
    ("name", "launches", "megabytes"),
    [
        # The textbook's sum of sines has 53 MB.
        ("harmonic_synthesis, 100", (12, 40), (53, 100)),
        ("filtered_noise, 65", (12, 20), (40, 80)),
        ("convolution_reverb, 48,000", (12, 20), (20, 40)),
        ("sos_filter, 4", (60, 150), (15, 20)),
        ("multi_scale_spectral_loss, 6 sizes", (45, 70), (60, 240)),
    ],
)
def test_kernels_and_memory_on_a_gpu(operations, name, launches, megabytes):
    for program, most, mb in zip(
        compile_both("cuda", operations[name]), launches, megabytes, strict=True
    ):
        assert program.launches is not None and program.launches <= most
        assert program.temporaries <= mb * 1e6


def test_kernels_and_memory_of_sections_that_move_on_a_gpu():
    """Two kernels for two of sixteen rounds in each of four sections, and one that counts."""
    audio, frames = (
        np.zeros(shape, np.float32) for shape in ((BATCH, SAMPLES), (BATCH, FRAMES, 4, 6))
    )
    moving = partial(core.sos_filter, hop_length=HOP)
    for program, most in zip(
        compile_both("cuda", Workload(moving, moving, (audio, frames))), (180, 650), strict=True
    ):
        assert program.launches is not None and program.launches <= most
        assert program.temporaries <= 90e6


def test_kernels_and_memory_of_a_training_step_on_a_gpu():
    try:
        compilers.devices("cuda")
    except RuntimeError as error:
        pytest.skip(str(error))
    program = compilers.compile_for("cuda", *training("small"))
    assert program.launches is not None and program.launches <= 5500
    assert program.temporaries <= 500e6


@pytest.mark.parametrize(
    ("name", "moved", "megabytes"),
    [
        ("harmonic_synthesis, 100", (100, 200), (5, 5)),
        ("convolution_reverb, 48,000", (300, 600), (100, 100)),
        ("filtered_noise, 65", (80, 120), (5, 5)),
        ("wavetable_synthesis, 2,048", (300, 500), (5, 5)),
        ("variable_delay, 400", (200, 450), (5, 5)),
    ],
)
def test_bytes_and_memory_on_a_tpu(operations, name, moved, megabytes):
    for program, most, mb in zip(
        compile_both("tpu", operations[name]), moved, megabytes, strict=True
    ):
        assert program.bytes_moved <= most * 1e6
        assert program.temporaries <= mb * 1e6
