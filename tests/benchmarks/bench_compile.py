"""How long the signal operations take to compile, and then to run, 4 x 2 s at 16 kHz.

Run: ``python tests/benchmarks/bench_compile.py``. No rivals: the rows are here to find an operation
that compiles in more than three seconds. The gradient is that of the sum of squares, in all arrays.
"""

import statistics
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from harness import compiled

from ddspx import core

BATCH, RATE, HOP = 4, 16000, 64
SAMPLES = 2 * RATE
FRAMES = 1 + SAMPLES // HOP
RATES = {"hop_length": HOP, "sample_rate": RATE}
RNG = np.random.default_rng(0)


def uniform(low, high, *shape):
    return jnp.asarray(RNG.uniform(low, high, (BATCH, *shape)), jnp.float32)


def operations():
    """Name, function and arrays."""
    audio, other = uniform(-1, 1, SAMPLES), uniform(-1, 1, SAMPLES)
    f0, gains, lfo = uniform(100, 900, FRAMES), uniform(0, 1, FRAMES), uniform(-1, 1, SAMPLES)
    bank, bands = uniform(0, 1, FRAMES, 60), uniform(0, 1, FRAMES, 65)
    partials = uniform(100, 4000, FRAMES, 20), uniform(0, 1, FRAMES, 20)
    room = uniform(-1, 1, 8000)
    sections = core.biquad(uniform(200, 3000, 4), kind="peak", sample_rate=RATE, gain_db=6.0)
    moving = core.biquad(uniform(200, 3000, FRAMES, 4), kind="peak", sample_rate=RATE, gain_db=6.0)
    dynamics = {"threshold_db": -20.0, "release_s": 0.05, "sample_rate": RATE}
    poles = uniform(-0.6, 0.6, 8)
    few = uniform(100, 4000, 50, 12), uniform(0, 1, 50, 12)
    yield "upsample, hann", partial(core.upsample, hop_length=HOP, method="hann"), (f0,)
    yield "resample 2 to 3", partial(core.resample, orig_rate=2, target_rate=3), (audio,)
    yield (
        "oscillator_bank",
        partial(core.oscillator_bank, sample_rate=RATE),
        (
            uniform(100, 4000, SAMPLES, 4),
            uniform(0, 1, SAMPLES, 4),
        ),
    )
    for method in ("linear", "hann", "cubic"):
        synthesize = partial(core.harmonic_synthesis, **RATES, amplitude_upsampling=method)
        yield f"harmonic_synthesis, 60, {method}", synthesize, (f0, gains, bank)
    yield "sinusoidal_synthesis, 20", partial(core.sinusoidal_synthesis, **RATES), partials
    for name in ("sawtooth", "square", "triangle"):
        yield name, partial(getattr(core, name), **RATES), (f0, gains)
    yield "pulse", partial(core.pulse, **RATES), (f0, gains, uniform(0.2, 0.8, FRAMES))
    table = uniform(-1, 1, 2048)
    yield "wavetable_synthesis", partial(core.wavetable_synthesis, **RATES), (f0, gains, table)
    noise = partial(core.filtered_noise, jax.random.key(0), hop_length=HOP)
    yield "filtered_noise, 65", noise, (bands,)
    yield (
        "exponential_bank, 8",
        lambda r, g: core.exponential_bank(r + 0.5j, g + 0j, n_samples=4096),
        (poles, poles),
    )
    yield "fft_convolve", partial(core.fft_convolve, mode="same"), (audio, room)
    yield "frequency_filter, moving", partial(core.frequency_filter, hop_length=HOP), (audio, bands)
    yield "sos_filter, 4", core.sos_filter, (audio, sections)
    yield "sos_filter, 4, moving", partial(core.sos_filter, hop_length=HOP), (audio, moving)
    yield "allpole, 16", core.allpole, (audio, uniform(-0.05, 0.05, 16))
    yield "compressor", partial(core.compressor, **dynamics, ratio=4.0, attack_s=0.005), (audio,)
    yield "limiter", partial(core.limiter, **dynamics, lookahead_s=0.002), (audio,)
    delay = partial(core.variable_delay, max_delay=400)
    yield "variable_delay", delay, (audio, uniform(0, 400, SAMPLES))
    chorus = partial(core.modulated_delay, sample_rate=RATE, center_ms=7.0, depth_ms=4.0)
    yield "modulated_delay", chorus, (audio, lfo)
    yield "convolution_reverb", core.convolution_reverb, (audio, room)
    yield "stft", lambda x: jnp.abs(core.stft(x, n_fft=1024, hop_length=256)), (audio,)
    yield "loudness_db", partial(core.loudness_db, **RATES), (audio,)
    yield "mfcc", partial(core.mfcc, **RATES, n_fft=1024), (audio,)
    yield "pcen, 65", core.pcen, (bands, uniform(0.02, 0.1, 65))
    yield "yin", partial(core.yin, **RATES, fmin=80.0, fmax=1000.0), (audio,)
    yield "multi_scale_spectral_loss", core.multi_scale_spectral_loss, (audio, other)
    for name in ("spectral_convergence_loss", "complex_spectral_loss", "phase_loss"):
        yield name, getattr(core, name), (audio, other)
    yield "mel_spectral_loss", partial(core.mel_spectral_loss, sample_rate=RATE), (audio, other)
    each = jnp.vectorize(core.kde_consistency_loss, signature="(n),(n),(m),(m)->()")
    yield "kde_consistency_loss, 600", each, tuple(x.reshape(BATCH, -1) for x in (*few, *few))


def gradient(f, n_arrays):
    def total(*arrays):
        return sum(jnp.sum(jnp.abs(x) ** 2) for x in jax.tree.leaves(f(*arrays)))

    return jax.grad(total, argnums=tuple(range(n_arrays)))


def main() -> None:
    print(f"### Compile time of each operation, {BATCH} x 2 s\n")
    columns = ("compile s", "median ms", "memory MB")
    print("| operation |", " | ".join(f"{column} | with gradient" for column in columns), "|")
    print("|" + " --- |" * (1 + 2 * len(columns)))
    for name, f, arrays in operations():
        cases = [compiled(g, *arrays) for g in (f, gradient(f, len(arrays)))]
        for case in cases:
            case.run()
        times = [statistics.median(case.run() for _ in range(5)) for case in cases]
        columns = (
            *(f"{case.compile_s:.1f}" for case in cases),
            *(f"{ms:.1f}" for ms in times),
            *(f"{case.memory_mb:.0f}" for case in cases),
        )
        print(f"| {name} | {' | '.join(columns)} |", flush=True)


if __name__ == "__main__":
    main()
