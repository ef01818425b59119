"""An untrained model of any instrument that knows three timbres, for tests of its use."""

import dataclasses
from pathlib import Path

import numpy as np
from flax import nnx
from toy_instrument import toy_config, toy_model

from ddspx.features import feature_version
from ddspx.instruments import _library, _timbres
from ddspx.models.autoencoder import InstrumentStatistics, Timbre, save_any_instrument
from ddspx.nn import DecayingReverbConfig, FrontendConfig, TapReverbConfig, TimbreEncoderConfig

ROOMS = {
    "violin": DecayingReverbConfig(length=900, early_length=50, n_bands=3),
    "flute": TapReverbConfig(300),
    "voice": None,
}
PROVENANCE = {
    "instruments": {
        name: {"licence": licence, "attribution": f"Who played the {name}"}
        for name, licence in zip(ROOMS, ("CC0-1.0", "CC BY 4.0", "CC BY 3.0"), strict=True)
    }
}


def toy_timbres(sample_rate: int, hop_length: int) -> dict[str, Timbre]:
    rng, timbres = np.random.default_rng(0), {}
    for index, (name, room) in enumerate(ROOMS.items()):
        z = rng.standard_normal(3).astype(np.float32)
        statistics = InstrumentStatistics(
            sample_rate=sample_rate,
            hop_length=hop_length,
            loudness_quantiles=tuple(np.sort(rng.uniform(-50 + 5 * index, -5, 101)).tolist()),
            pitch_midi_min=50.0 + 3 * index,
            pitch_midi_mean=60.0 + 3 * index,
            pitch_midi_max=70.0 + 6 * index,
            duration_s=10.0 * (1 + index),
            feature_version=feature_version("ddspx"),
            fmin=60.0 * (1 + index),
            fmax=2000.0,
        )
        reverb = room and room.build(sample_rate=sample_rate, rngs=nnx.Rngs(index))
        timbres[name] = Timbre(z / np.sqrt(np.mean(z**2)), reverb, statistics)
    return timbres


def save_toy_any_instrument(folder: Path) -> Path:
    config = toy_config()
    listening = FrontendConfig.learnable(sample_rate=config.sample_rate, n_bands=8)
    encoder = TimbreEncoderConfig(listening, config.hop_length, channels=4, z_size=3)
    model = toy_model(dataclasses.replace(config, encoder=encoder, reverb=None))
    timbres = toy_timbres(config.sample_rate, config.hop_length)
    save_any_instrument(folder, model, timbres, provenance=PROVENANCE)
    return folder


def ship(monkeypatch, folder: Path) -> None:
    """Puts a folder in the place of the model of any instrument that ships."""
    for module in (_library, _timbres):
        monkeypatch.setattr(module, "ANY_INSTRUMENT", folder)
