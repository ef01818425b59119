"""The script to copy: its synthesizer plays in blocks as at once, and the script runs."""

import importlib.util
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers import quick_jit

from ddspx.nn import Synthesizer, SynthesizerConfig

SCRIPT = Path(__file__).parents[2] / "examples/custom_synthesizer/custom_synthesizer.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("custom_synthesizer", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    # A dataclass looks for its module there.
    sys.modules["custom_synthesizer"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["custom_synthesizer"]


def test_blocks_of_a_stiff_string_equal_the_whole(script, rng, key):
    config = script.StiffStringConfig(n_sinusoids=4, n_magnitudes=3)
    string = config.build(sample_rate=8000, hop_length=40, rngs=nnx.Rngs(0))
    assert isinstance(config, SynthesizerConfig) and isinstance(string, Synthesizer)
    outputs = jnp.asarray(rng.normal(0, 1, (7, config.n_outputs)), jnp.float32)
    f0_hz = jnp.asarray([300, 700, 1200, 0, np.nan, 240, 260], jnp.float32)

    @quick_jit
    def both(outputs):
        controls = string.controls(outputs, f0_hz)
        state, blocks = string.init(key), []
        for first, last in ((0, 1), (1, 4), (4, 6)):
            block, after = (
                jax.tree.map(lambda x, s=s: x[s], controls)
                for s in (slice(first, last + 1), slice(last + 1, last + 2))
            )
            following = None if last == 6 else after
            state, audio = string.step(state, block, next_controls=following)
            blocks.append(audio)
        return controls, jnp.concatenate(blocks), string(key, controls)

    controls, streamed, whole = both(outputs)
    stiffness = 1e-3 / (1 + np.exp(-np.asarray(outputs[0, 1], np.float64)))
    k = np.arange(1, 5)
    np.testing.assert_allclose(
        controls.frequencies_hz[0], 300 * k * np.sqrt(1 + stiffness * k**2), rtol=1e-5
    )
    assert np.abs(whole).max() > 0.01
    np.testing.assert_allclose(streamed, whole, atol=2e-5)


@pytest.mark.slow
def test_the_script_trains_saves_loads_and_plays(script, monkeypatch, tmp_path, capsys):
    output = tmp_path / "string"
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--steps", "60", "-o", str(output)])
    script.main()
    losses, played = capsys.readouterr().out.splitlines()
    first, last = (float(word.strip(",")) for word in losses.split() if "." in word)
    assert last < 0.8 * first
    assert output.with_suffix(".wav").is_file() and "8.2 s" in played
