"""ddspx: differentiable audio synthesis and analysis in JAX.

``core`` holds pure functions, ``nn`` Flax modules, ``models`` the complete models built from them,
and ``metrics`` the evaluation measures. ``features`` extracts what the models take as input, ``io``
reads and writes files, and ``instruments`` finds, installs and describes trained instruments.
``training`` and ``transfer`` train and apply the models. ``plot`` draws figures, ``app`` is the
local web page and ``cli`` the command. Each is imported at its first use: ``import ddspx`` alone
loads neither jax nor NumPy.
"""

from typing import TYPE_CHECKING

from ddspx._exports import lazy

if TYPE_CHECKING:
    from ddspx import (
        app as app,
        cli as cli,
        core as core,
        features as features,
        instruments as instruments,
        io as io,
        metrics as metrics,
        models as models,
        nn as nn,
        plot as plot,
        training as training,
        transfer as transfer,
    )
else:
    __getattr__, __dir__, __all__ = lazy(
        __name__,
        "app",
        "cli",
        "core",
        "features",
        "instruments",
        "io",
        "metrics",
        "models",
        "nn",
        "plot",
        "training",
        "transfer",
        # Names of DDSP's modules, and where their contents are in ddspx.
        elsewhere={
            "synths": "the synthesizers are functions, `core.harmonic_synthesis`, "
            "`core.filtered_noise`, `core.wavetable_synthesis` and `core.sinusoidal_synthesis`",
            "spectral_ops": "spectra and features are functions of `core` (`core.stft`, "
            "`core.mel_spectrogram`, `core.loudness_db`), and pitch is `features.track_pitch`",
            "losses": "losses are functions of `core`, such as `core.multi_scale_spectral_loss`",
            "effects": "effects are functions of `core` (`core.convolution_reverb`, "
            "`core.modulated_delay`, `core.frequency_filter`), and `nn.Reverb` is one that learns",
            "processors": "there are no processors, as functions compose: `Add` is +, and `Mix` is "
            "`core.crossfade`",
            "dags": "there are no graphs of processors, as functions compose",
            "colab": "the notebooks call `transfer.transfer`, `features.track_pitch` and `plot`",
        },
    )

__version__ = "0.1.0"
