"""Learnable front-ends on 32 x 1 s at 16 kHz, 40 bands: beside LEAF's convolution, and a log-mel.

Run: ``python tests/benchmarks/bench_frontend.py``. The rivals filter in the time domain, as LEAF
does, with the same Gabor filters, low-pass and PCEN, in JAX: by its convolution, whose gradient
XLA computes slowly on a CPU, and by products of matrices, whose gradient it computes fast. A
gradient is that of all numbers that learn; the log-mel has none, so its row is its forward pass.
Errors are the largest of the energies against the convolution's in float64, over its largest; on
the bins of a spectrum the window takes the low-pass' place, so that row has none.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from harness import Case, compiled, report

from ddspx.nn import (
    FftPath,
    FrontendConfig,
    GaborFilters,
    GammatoneFilters,
    LeafFilters,
    PcenCompression,
    SpectralFrontend,
)

RATE, BATCH, HOP, TAPS = 16_000, 32, 160, 401
LEARNED = ("centers", "bandwidths", "gains")


def filters(model: SpectralFrontend, dtype) -> tuple[jax.Array, jax.Array]:
    """Taps of the real and imaginary filters, and those of the low-pass of each band."""
    lags = jnp.arange(-(TAPS // 2), TAPS // 2 + 1, dtype=dtype)
    mu, sigma = (x[...].astype(dtype)[:, None] for x in (model.bank.centers_rad, model.bank.widths))
    envelope = jnp.exp(-0.5 * jnp.square(lags / sigma)) / (np.sqrt(2 * np.pi) * sigma)
    taps = jnp.concatenate([envelope * jnp.cos(mu * lags), envelope * jnp.sin(mu * lags)])
    return taps, model.pooling.kernel().astype(dtype)


def convolution(model: SpectralFrontend, audio: jax.Array) -> jax.Array:
    """Energies of LEAF's filters and low-pass by two convolutions."""
    taps, kernel = filters(model, audio.dtype)
    # As a convolution of networks, which correlates; the filters are symmetric in modulus.
    shapes = {"padding": [(TAPS // 2, TAPS // 2)], "dimension_numbers": ("NCH", "OIH", "NCH")}
    bands = jax.lax.conv_general_dilated(audio[:, None], taps[:, None], (1,), **shapes)
    real, imaginary = jnp.split(bands, 2, axis=1)
    energies = jax.lax.conv_general_dilated(
        real**2 + imaginary**2,
        kernel[:, None],
        (HOP,),
        feature_group_count=len(kernel),
        **shapes,
    )
    return jnp.moveaxis(energies, 1, 2)


def matrix_product(model: SpectralFrontend, audio: jax.Array) -> jax.Array:
    """The same as products of matrices, one example at a time, in the memory of one.

    The stretch of audio under the filter at each sample is gathered, and again for the gradient.
    """
    taps, kernel = filters(model, audio.dtype)
    reach = jnp.arange(TAPS)
    every_sample = jnp.arange(audio.shape[-1])[:, None] + reach
    every_hop = jnp.arange(0, audio.shape[-1], HOP)[:, None] + reach

    @jax.checkpoint
    def example(audio: jax.Array) -> jax.Array:
        bands = jnp.pad(audio, TAPS // 2)[every_sample] @ taps.T
        real, imaginary = jnp.split(bands, 2, axis=1)
        energies = jnp.pad(real**2 + imaginary**2, [(TAPS // 2, TAPS // 2), (0, 0)])
        return jnp.einsum("ftb,bt->fb", energies[every_hop], kernel)

    return jax.lax.map(example, audio)


def programs(model: SpectralFrontend, energies):
    """The forward pass, and the gradient of all that learns, as functions of numbers and audio."""
    graph, params, rest = nnx.split(model, nnx.Param, ...)

    def forward(params, audio):
        model = nnx.merge(graph, params, rest)
        return model.features(energies(model, audio))

    def loss(params, audio):
        return jnp.mean(jnp.square(forward(params, audio)))

    return params, {"forward": forward, "forward and gradient": jax.value_and_grad(loss)}


def main() -> None:
    audio = 0.1 * np.random.default_rng(0).standard_normal((BATCH, RATE))
    pcen = PcenCompression(trainable=True)
    configs = {
        "ddspx, stft": FrontendConfig(filters=GaborFilters(LEARNED), compression=pcen),
        "ddspx, stft, gammatone": FrontendConfig(
            filters=GammatoneFilters(LEARNED), compression=pcen
        ),
        "ddspx, fft": FrontendConfig(
            filters=GaborFilters(LEARNED, path=FftPath(trainable=True)), compression=pcen
        ),
        "ddspx, fft, as LEAF": FrontendConfig.leaf(win_length=TAPS),
        "matrix product in time": FrontendConfig.leaf(win_length=TAPS),
        "convolution in time": FrontendConfig.leaf(win_length=TAPS),
    }
    rivals = {"matrix product in time": matrix_product, "convolution in time": convolution}
    exact = None
    cases: dict[str, dict[str, Case]] = {"forward": {}, "forward and gradient": {}}
    for name, config in reversed(configs.items()):
        model = SpectralFrontend(config, rngs=nnx.Rngs(0))
        energies = rivals.get(name, SpectralFrontend.energies)
        if name == "convolution in time":
            with jax.enable_x64(True):
                exact = np.asarray(convolution(model, jnp.asarray(audio)))
        inner = slice(3, -3)
        error = ""
        if isinstance(config.filters, LeafFilters):
            found = np.asarray(energies(model, jnp.asarray(audio, jnp.float32)))
            error = f"{np.abs(found[:, :100] - exact)[:, inner].max() / exact.max():.0e}"
        params, functions = programs(model, energies)
        for kind, function in functions.items():
            cases[kind][name] = compiled(
                function, params, jnp.asarray(audio, jnp.float32), error=error
            )
    log_mel = SpectralFrontend(FrontendConfig.log_mel(), rngs=nnx.Rngs(0))
    params, functions = programs(log_mel, SpectralFrontend.energies)
    for kind, rows in cases.items():
        rows["log-mel, forward"] = compiled(
            functions["forward"], params, jnp.asarray(audio, jnp.float32)
        )
        ordered = {name: rows[name] for name in (*configs, "log-mel, forward")}
        report(f"front-end, {kind}", ordered, repeats=5, baseline="convolution in time")


if __name__ == "__main__":
    main()
