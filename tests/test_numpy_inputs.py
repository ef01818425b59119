"""NumPy's arrays are arrays: to modules and streams, and to the type checker of who calls them."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx
from helpers import noise
from toy_instrument import toy_config
from toy_tracker import toy_tracker

import ddspx
from ddspx import nn
from ddspx.models.autoencoder import Autoencoder
from ddspx.models.crepe import Crepe, CrepeConfig, crepe_pitch
from ddspx.models.spectnet import SpectNet, SpectNetConfig

CALLS = """
from typing import Any

import numpy as np
from flax import nnx

from ddspx import core, features, nn
from ddspx.models.autoencoder import Autoencoder, AutoencoderConfig

rates: dict[str, Any] = {"hop_length": 64, "sample_rate": 16000}
audio = np.zeros((2, 16000), np.float32)
f0_hz = np.full((2, 251), 440.0, np.float32)
frames = np.ones((2, 251, 8), np.float32)
taps, level = np.ones(9), np.float32(0.5)

core.loudness_db(audio, hop_length=64, sample_rate=16000)
core.rms(audio, hop_length=64, win_length=128)
core.stft(audio, n_fft=512, hop_length=64)
core.istft(np.ones((5, 9), np.complex64), hop_length=4)
core.mel_spectrogram(audio, n_fft=512, n_mels=20, **rates)
core.mfcc(audio, n_fft=512, n_mels=20, n_mfcc=5, **rates)
core.pcen(frames, 0.1, gain=np.full(8, 0.9))
core.yin(audio, fmin=60.0, fmax=900.0, **rates)
core.viterbi(frames, core.pitch_transition(7, reach=2), n_valid=np.int32(9))
core.spectral_centroid(frames, sample_rate=16000)
core.gammatone_response(taps, taps, taps, sample_rate=16000)
core.safe_divide(f0_hz, 2.0)
core.exp_sigmoid(frames)
core.frequencies_softmax(frames, depth=4, fmin=20.0, fmax=8000.0)
core.hz_to_midi(np.arange(100, 200))
core.hz_to_midi(440)
core.hz_to_midi(level)
core.power_to_db(audio, ref_db=level)
core.upsample(f0_hz, hop_length=64, method="linear")
core.resample(audio, orig_rate=2, target_rate=1)
core.fft_convolve(audio, taps, mode="same")
core.sinc_lowpass(np.array([100.0]), sample_rate=16000)
core.sos_filter(audio, core.biquad(np.array(500.0), kind="peak", sample_rate=16000))
core.allpole(audio, taps)
state, wet = core.convolution_reverb_step(core.convolution_reverb_init(taps), audio, taps)
core.convolution_reverb(wet, taps)
core.compressor(
    audio, threshold_db=level, ratio=2, attack_s=0.01, release_s=np.array(0.1), sample_rate=16000
)
core.adsr(
    0.1, taps, attack_s=0.1, decay_s=0.1, sustain=level, release_s=0.1, n_frames=9, **rates
)
core.harmonic_synthesis(f0_hz, f0_hz, frames, initial_phase=np.zeros(2), **rates)
core.sinusoidal_synthesis(frames, frames, **rates)
core.sawtooth(f0_hz, f0_hz, **rates)
core.exponential_basis(np.ones(3, np.complex64), n_samples=9)
core.advance_phase(f0_hz, **rates)
core.multi_scale_spectral_loss(audio, audio)
core.control_loss(f0_hz, f0_hz, weights=f0_hz > 0)
core.kde_consistency_loss(taps, taps, taps, taps)

features.conditioning_features(audio[0], **rates)
rngs = nnx.Rngs(0)
states, carry = nn.Gru(8, 4, rngs=rngs)(frames, np.zeros((2, 4)))
nn.FcStack(12, 4, 2, rngs=rngs)(frames, np.asarray(states))
nn.TapReverb(nn.TapReverbConfig(9), rngs=rngs)(audio)
Autoencoder(AutoencoderConfig.tiny(), rngs=rngs).controls(f0_hz, f0_hz)

loudness = core.loudness_db(audio, hop_length=64, sample_rate=16000)
print(loudness.at[0].set(0.0), loudness.shape)
"""
WRONG = 'core.loudness_db("a.wav", hop_length=64, sample_rate=16000)\n'


@pytest.mark.slow
def test_the_file_of_a_user_passes_pyright(tmp_path):
    """And a word in the place of an array does not, so that something was looked at."""
    pyright = shutil.which("pyright")
    if pyright is None:
        pytest.skip("pyright is not installed")
    (tmp_path / "pyrightconfig.json").write_text(
        json.dumps({"extraPaths": [str(Path(ddspx.__file__).parents[1])]})
    )
    (tmp_path / "calls.py").write_text(CALLS + WRONG)
    command = [pyright, "--outputjson", "--pythonpath", sys.executable, "calls.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    found = [
        (message["range"]["start"]["line"], message["message"])
        for message in json.loads(done.stdout)["generalDiagnostics"]
        if message["severity"] == "error"
    ]
    assert [line for line, _ in found] == [len(CALLS.splitlines())], found


EAR = nn.FrontendConfig(sample_rate=16000, n_bands=6, n_fft=64, win_length=64, hop_length=64)
AUDIO, F0 = noise(2, 640), np.full((2, 11), 440.0)
MODULES = {
    "autoencoder": lambda rngs: Autoencoder(
        toy_config(encoder=nn.ZEncoderConfig(EAR, 3, 2)), rngs=rngs
    )(rngs(), F0, -F0, z=noise(2, 11, 2)),
    "crepe": lambda rngs: crepe_pitch(
        Crepe(CrepeConfig(1), rngs=rngs).network(), AUDIO, hop_length=100
    ),
    "decoder": lambda rngs: nn.RnnFcDecoder(
        (2, 3), 4, rnn_channels=5, fc_channels=6, fc_layers=1, rngs=rngs
    ).step(noise(2, 5), (noise(2, 9, 2), noise(2, 9, 3))),
    "decoder of convolutions": lambda rngs: nn.DilatedConvDecoderConfig(3, 3, 1, 2).build(
        (2, 3), 4, rngs=rngs
    )((noise(2, 9, 2), noise(2, 9, 3))),
    "encoder": lambda rngs: nn.ZEncoder(nn.ZEncoderConfig(EAR, 3, 2), rngs=rngs)(AUDIO),
    "fc stack": lambda rngs: nn.FcStack(5, 3, 2, rngs=rngs)(noise(2, 9, 2), noise(2, 9, 3)),
    "front-end": lambda rngs: nn.SpectralFrontend(EAR, rngs=rngs)(AUDIO),
    "front-end by parts": lambda rngs: nn.SpectralFrontend(EAR, rngs=rngs).features(
        noise(2, 9, 6) ** 2
    ),
    "gru": lambda rngs: nn.Gru(2, 3, rngs=rngs)(noise(2, 9, 2), noise(2, 3)),
    "minimal gru": lambda rngs: nn.MinGru(2, 3, rngs=rngs)(noise(2, 9, 2), noise(2, 3)),
    "images": lambda rngs: nn.compat.kapre_filterbank(
        4, True, sr=8000, n_dft=64, image_data_format="channels_first", rngs=rngs
    )(noise(2, 1, 33, 5)),
    "pitch tracker": lambda _: toy_tracker().track(noise(2, 1000)),
    "reverb": lambda rngs: nn.TapReverb(nn.TapReverbConfig(9), rngs=rngs)(AUDIO),
    "spectnet": lambda rngs: SpectNet(
        SpectNetConfig(EAR, ("a", "b"), segment_frames=11, n_blocks=1, channels=2, hidden=3),
        rngs=rngs,
    )(AUDIO),
}


def test_modules_take_numpy():
    """Traced only: nothing is compiled, or computed."""
    toy_tracker()  # It is kept for other tests, so it must not be made in a trace.
    for make in MODULES.values():
        outputs = jax.eval_shape(lambda make=make: make(nnx.Rngs(0)))
        assert all(leaf.size for leaf in jax.tree.leaves(outputs))
