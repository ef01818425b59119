"""Calls that do not fit are answered with the name that is meant, and NumPy's sizes are sizes."""

import inspect
import pickle
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import ddspx
from ddspx import _names, core, features, io, metrics, nn
from ddspx.models.spectnet import SpectNetConfig

AUDIO = jnp.zeros(64, jnp.float32)
F0, AMPLITUDES = jnp.full(5, 220.0, jnp.float32), jnp.ones(5, jnp.float32)
HARMONICS = jnp.ones((5, 3), jnp.float32)
KEY = jax.random.key(0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: core.loudness_db(AUDIO, sr=16000, hop_length=16), r"no argument `sr` .*`sample_r"),
        (
            lambda: core.mfcc(y=AUDIO, sr=16000, n_mfcc=13),
            r"`y` \(here it is `audio`\) and `sr` \(.*it needs `n_fft` and `hop_length` too",
        ),
        (lambda: core.stft(AUDIO, frame_size=8, frame_step=4), r"`n_fft`.*`hop_length`"),
        (lambda: core.stft(AUDIO, nfft=8, hop_length=4), r"`nfft` \(here it is `n_fft`\)"),
        (lambda: core.stft(AUDIO, n_fft=8, hop_lenght=4), r"`hop_lenght` \(here it is `hop_length"),
        (lambda: core.hann_window(8, blue=1), r"`blue`; its arguments are `win_length` and"),
        (lambda: core.stft(AUDIO), r"core.stft needs `n_fft` and `hop_length`; pass n_fft=\.\.\."),
        (
            lambda: core.harmonic_synthesis(F0, AMPLITUDES, HARMONICS, 160, 16000),
            r"by position.*hop_length=\.\.\., sample_rate=\.\.\.\.$",
        ),
        (lambda: core.resample(F0, 16000), r"orig_rate=.*`core.upsample`"),
        (
            lambda: core.filtered_noise(HARMONICS, hop_length=4),
            r"`magnitudes`, and .* `key`, a JAX",
        ),
        (lambda: core.stft(AUDIO, audio=AUDIO, n_fft=8, hop_length=4), "`audio` twice"),
        (lambda: io.read_audio("x.wav", sr=16000), r"io.read_audio has no .*`sample_rate`"),
        (lambda: features.track_pitch(AUDIO, sr=16000), r"features.track_pitch .*`sample_rate`"),
        (lambda: metrics.click_times(AUDIO, sr=16000), r"metrics.click_times .*`sample_rate`"),
        (lambda: nn.FrontendConfig(n_mels=64), r"nn.FrontendConfig .*`n_bands`"),
        (lambda: nn.SpectralFrontend(nn.FrontendConfig()), r"nn.SpectralFrontend needs `rngs`"),
        (
            lambda: nn.TapReverb(nn.TapReverbConfig(100), rngs=0),
            r"`rngs` must be flax.nnx.Rngs, got 0; .*Rngs\(0\)",
        ),
        (lambda: SpectNetConfig(sr=8000), r"models.spectnet.SpectNetConfig .*`sr`"),
    ],
)
def test_a_call_with_wrong_arguments_is_explained(call, message):
    with pytest.raises(TypeError, match=message) as caught:
        call()
    assert caught.value.__cause__ is None and caught.value.__context__ is None


def test_an_error_inside_the_function_is_not_changed():
    with pytest.raises(TypeError, match=r"`hop_length` must be a Python int, got 4.0"):
        inspect.unwrap(core.n_frames)(8, hop_length=4.0)
    with pytest.raises(ValueError, match="`hop_length` must be at least 1, got 0"):
        core.n_frames(8, hop_length=0)


def test_the_error_for_a_traced_size_names_static_argnames():
    with pytest.raises(TypeError, match=r"`frames` .*static_argnames"):
        jax.jit(lambda n: ddspx._checks.positive_int("frames", n))(4)


def test_wrapped_functions_keep_their_names_and_signatures():
    for f in (core.harmonic_synthesis, core.hann_window, features.track_pitch):
        inner = inspect.unwrap(f)
        assert f is not inner and f.__doc__ == inner.__doc__ and f.__name__ == inner.__name__
        assert inspect.signature(f) == inspect.signature(inner)
        assert pickle.loads(pickle.dumps(f)) is f
    assert core.stft.__module__ == "ddspx.core" and core.stft.__qualname__ == "stft"


# Names of other libraries


@pytest.mark.parametrize(
    ("package", "name", "here"),
    [
        (core, "compute_loudness", "core.loudness_db"),
        (core, "melspectrogram", "core.mel_spectrogram"),
        (core, "angular_cumsum", "core.cumulative_phase"),
        (core, "SpectralLoss", "core.multi_scale_spectral_loss"),
        (nn, "Rnn", "nn.Gru"),
        (io, "load", "io.read_audio"),
    ],
)
def test_a_name_of_another_library_is_translated(package, name, here):
    with pytest.raises(AttributeError, match=rf"has no '{name}': it is `{here}`"):
        getattr(package, name)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"ddspx.core has no 'loudnes_db'"):
        _ = core.loudnes_db
    assert not hasattr(core, "anything")


def test_the_suggested_names_exist():
    tables = {"core": _names.CORE_NAMES, "nn": _names.NN_NAMES, "io": _names.IO_NAMES}
    for package, table in tables.items():
        for name, text in table.items():
            assert not hasattr(getattr(ddspx, package, None) or io, name), name
            for place, found in re.findall(r"`(core|nn|io|features)\.(\w+)", text):
                home = {"core": core, "nn": nn, "io": io, "features": features}[place]
                assert hasattr(home, found), text


def test_every_name_of_ddsp_in_the_conventions_is_found():
    text = (Path(ddspx.__file__).parent / "CONVENTIONS.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.*?) \| .*? \|", text.partition("## From DDSP")[2], re.M)
    names = set()
    for cell in rows:
        here = False
        for module, name in re.findall(r"`(?:(\w+)\.)?(\w+)[^`]*`", cell):
            # A name without a module goes with the one before it.
            here = module in ("core", "spectral_ops", "losses") if module else here
            if here:
                names.add(name)
    assert len(names) > 80
    unknown = {n for n in names if not hasattr(core, n) and n not in _names.CORE_NAMES}
    assert unknown == set()


# NumPy's sizes


@pytest.mark.parametrize("size", [np.int64, np.int32, np.uint16, np.array])
def test_numpy_integers_are_accepted_as_sizes(size):
    hop, rate = size(16), size(8000)
    outputs = [
        core.harmonic_synthesis(F0, AMPLITUDES, HARMONICS, hop_length=hop, sample_rate=rate),
        core.filtered_noise(KEY, HARMONICS, hop_length=hop),
        core.loudness_db(AUDIO, sample_rate=rate, hop_length=hop, n_fft=size(32)),
    ]
    expected = [
        core.harmonic_synthesis(F0, AMPLITUDES, HARMONICS, hop_length=16, sample_rate=8000),
        core.filtered_noise(KEY, HARMONICS, hop_length=16),
        core.loudness_db(AUDIO, sample_rate=8000, hop_length=16, n_fft=32),
    ]
    for output, plain in zip(outputs, expected, strict=True):
        assert output.dtype == jnp.float32
        np.testing.assert_array_equal(output, plain)
    assert type(core.n_frames(64, hop_length=hop)) is int
    config = nn.FrontendConfig(sample_rate=rate, hop_length=hop, fmax=np.float32(3000))
    assert type(config.sample_rate) is int and type(config.fmax) is float


def test_numpy_sizes_in_tuples():
    assert core.white_noise(KEY, (np.int64(2), 3)).shape == (2, 3)
    state = core.compressor_init(batch_shape=(np.int64(2),))
    assert state.released_db.shape == (2,)
    loss = core.mel_spectral_loss(
        AUDIO, AUDIO, sample_rate=np.int64(8000), n_ffts=(np.int64(64),), n_mels=np.int32(4)
    )
    assert loss == 0 and loss.dtype == jnp.float32


def test_numpy_numbers_do_not_widen_the_dtype():
    low, high = np.float64(20), np.float64(8000)
    assert core.unit_to_hz(AUDIO, fmin=low, fmax=high).dtype == jnp.float32
    assert core.pcen(HARMONICS, 0.5, gain=np.float64(0.9)).dtype == jnp.float32
    assert core.soft_limit(AUDIO, width=np.float64(2)).dtype == jnp.float32


def test_modules_accept_numpy_sizes():
    assert nn.TapReverb(nn.TapReverbConfig(np.int64(4)), rngs=nnx.Rngs(0)).taps.shape == (4,)


def test_the_last_frame_of_many_voices_is_not_taken_for_a_trailing_axis():
    """A stream may end in a block of one frame, which is held."""
    f0_hz, amplitudes = jnp.full((6, 1), 220.0, jnp.float32), jnp.ones((6, 1), jnp.float32)
    rates = {"hop_length": 16, "sample_rate": 8000}
    state = core.harmonic_synthesis_init(batch_shape=(6,))
    harmonics = jnp.ones((6, 1, 2), jnp.float32)
    _, audio = core.harmonic_synthesis_step(
        state, f0_hz, amplitudes, harmonics, n_samples=9, **rates
    )
    assert audio.shape == (6, 9)
    with pytest.raises(ValueError, match=r"`f0_hz` must have shape .*`f0_hz\[..., 0\]`"):
        core.harmonic_synthesis(f0_hz, amplitudes, harmonics, n_samples=9, **rates)
