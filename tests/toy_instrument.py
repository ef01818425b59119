"""An untrained instrument, small but with every part, for tests that need some model folder."""

from pathlib import Path

import numpy as np
from flax import nnx
from modules import drawn

from ddspx.features import feature_version
from ddspx.models.autoencoder import (
    Autoencoder,
    AutoencoderConfig,
    InstrumentStatistics,
    save_autoencoder,
)
from ddspx.nn import (
    FrontendConfig,
    HarmonicNoiseConfig,
    RnnFcDecoderConfig,
    SpectralFrontend,
    TapReverbConfig,
    TimbreEncoderConfig,
    ZEncoderConfig,
)

SAMPLE_RATE, HOP = 16_000, 64


def toy_config(
    *,
    sample_rate: int = SAMPLE_RATE,
    hop_length: int = HOP,
    encoder: ZEncoderConfig | TimbreEncoderConfig | None = None,
) -> AutoencoderConfig:
    """The sizes of the instrument."""
    return AutoencoderConfig(
        sample_rate=sample_rate,
        hop_length=hop_length,
        synthesizer=HarmonicNoiseConfig(n_harmonics=12, n_magnitudes=9),
        decoder=RnnFcDecoderConfig(rnn_channels=16, fc_channels=16, fc_layers=1),
        reverb=TapReverbConfig(1200),
        loss_n_ffts=(256,),
        encoder=encoder,
    )


def z_config() -> AutoencoderConfig:
    """Its sizes with an encoder whose front-end learns."""
    listening = FrontendConfig(sample_rate=SAMPLE_RATE, hop_length=HOP, n_bands=10)
    return toy_config(encoder=ZEncoderConfig(listening, rnn_channels=8, z_size=4))


def toy_model(config: AutoencoderConfig, kind: type[Autoencoder] = Autoencoder) -> Autoencoder:
    """An instrument with random weights of about the size of its own first ones."""
    rng = np.random.default_rng(0)

    def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
        if name in ("bias", "shift"):
            return np.zeros(shape)
        if name == "scale":
            return np.ones(shape)
        size = 0.02 if name == "taps" else (2 / sum(shape)) ** 0.5
        return size * rng.standard_normal(shape)

    model = drawn(lambda: kind(config, rngs=nnx.Rngs(0)), draw)
    if config.encoder is not None:
        model.encoder.frontend = SpectralFrontend(config.encoder.frontend, rngs=nnx.Rngs(0))
    return model


def save_toy_instrument(
    folder: Path,
    *,
    sample_rate: int = SAMPLE_RATE,
    hop_length: int = HOP,
    config: AutoencoderConfig | None = None,
) -> Path:
    """Writes the model folder; its pitch is around A4, its loudness from -45 to -10 dB."""
    config = config or toy_config(sample_rate=sample_rate, hop_length=hop_length)
    sample_rate, hop_length = config.sample_rate, config.hop_length
    statistics = InstrumentStatistics(
        sample_rate=sample_rate,
        hop_length=hop_length,
        loudness_quantiles=tuple(np.linspace(-45.0, -10.0, 101).tolist()),
        pitch_midi_min=60.0,
        pitch_midi_mean=69.0,
        pitch_midi_max=80.0,
        duration_s=10.0,
        feature_version=feature_version("ddspx"),
    )
    save_autoencoder(
        folder, toy_model(config), statistics=statistics, provenance={"licence": "CC0-1.0"}
    )
    return folder


def tone(seconds: float, *, f0_hz: float = 220.0, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    """Three harmonics with a swell: a pitch that no tracker misses, and some dynamics."""
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    swell = 0.02 + 0.2 * np.sin(np.pi * time / seconds) ** 2
    return swell * sum(np.sin(2 * np.pi * k * f0_hz * time) / k for k in (1, 2, 3))
