"""librosax 0.1.2, mel and MFCC of 8 x 4 s; run by bench_features.py."""

from functools import partial

import jax
import jax.numpy as jnp
import librosax.feature
import numpy as np
from rival import serve

AUDIO = jnp.asarray(0.1 * np.random.default_rng(0).standard_normal((8, 64000)), jnp.float32)
FEATURES = {"mel": librosax.feature.melspectrogram, "mfcc": librosax.feature.mfcc}
SIZES = {"2048": (2048, 512, 128), "512": (512, 160, 80)}


def cases():
    for feature, function in FEATURES.items():
        for name, (n_fft, hop_length, n_mels) in SIZES.items():
            f = partial(function, sr=16000, n_fft=n_fft, hop_length=hop_length, n_mels=n_mels)
            forward = jax.jit(lambda x, f=f: f(y=x))
            gradient = jax.jit(jax.grad(lambda x, f=f: jnp.sum(f(y=x) ** 2)))
            for kind, program in (("forward", forward), ("gradient", gradient)):
                yield f"{feature} {kind} {name}", lambda p=program: jax.block_until_ready(p(AUDIO))


serve(dict(cases()))
