import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soxr
from flax import nnx
from helpers import DTYPES, noise, quick_jit
from modules import drawn, of_parts

from ddspx import core
from ddspx.models.spectnet import (
    ResidualClassifier,
    SpectNet,
    SpectNetConfig,
    classification_loss,
    segments,
    spectnet_embedding,
)
from ddspx.nn import (
    FreeFilters,
    FrontendConfig,
    GammatoneFilters,
    Log1pCompression,
    PcenCompression,
    SpectNetFilters,
    SpectralFrontend,
    copy_frontend,
)

LABELS = ("normal", "abnormal")
EAR = FrontendConfig(
    sample_rate=1000,
    hop_length=20,
    n_fft=64,
    win_length=50,
    n_bands=6,
    compression=Log1pCompression(),
)
SMALL = SpectNetConfig(EAR, ("a", "b", "c"), segment_frames=21, n_blocks=2, channels=4, hidden=8)


def count(tree) -> int:
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(tree))


def spectnet(config=SMALL, seed=0) -> SpectNet:
    return SpectNet(config, rngs=nnx.Rngs(seed))


def split(model):
    return nnx.split(model, nnx.Param, nnx.BatchStat, ...)


def batch(n=6, seed=1):
    return jnp.asarray(0.1 * noise(n, SMALL.segment_length, seed=seed), jnp.float32)


# Functions that are compiled once for each config and shape.
evaluate = of_parts(SpectNet.__call__)
embed = of_parts(SpectNet.embed)
classify = of_parts(ResidualClassifier.__call__)
train = of_parts(SpectNet.training_logits, static=("augment",))
hear = of_parts(SpectralFrontend.__call__)


def leaves(state) -> dict[str, np.ndarray]:
    flat, _ = jax.tree.flatten_with_path(nnx.to_pure_dict(state))
    return {".".join(str(key.key) for key in keys): np.asarray(leaf) for keys, leaf in flat}


# sizes


@pytest.mark.parametrize(
    ("preset", "filters", "classifier"),
    [
        ("spectnet_4", 12, 676_094),
        ("spectnet_8", 24, 676_094),
        ("spectnet_16", 48, 1_060_094),
        ("spectnet_32", 96, 1_828_094),
        ("spectnet_46", 138, 2_212_094),
        ("spectnet_64", 192, 1_895_166),
        ("spectnet_128", 384, 2_611_966),
        ("spectnet_149", 447, 2_791_166),
    ],
)
def test_presets_have_the_published_sizes(preset, filters, classifier):
    config = getattr(SpectNetConfig, preset)(LABELS)
    model = nnx.eval_shape(lambda: SpectNet(config, rngs=nnx.Rngs(0)))
    assert count(nnx.state(model.frontend, nnx.Param)) == filters
    assert count(nnx.state(model.classifier, nnx.Param)) == classifier
    assert core.n_frames(config.segment_length, hop_length=10) == config.segment_frames == 240
    static = getattr(SpectNetConfig, preset)(LABELS, learnable=False)
    model = nnx.eval_shape(lambda: SpectNet(static, rngs=nnx.Rngs(0)))
    assert count(nnx.state(model, nnx.Param)) == classifier


def test_the_parameters_are_those_of_the_published_layers():
    """Kernel, bias and norm of each convolution; what is flattened follows from the sizes."""
    layers = [1 * 16 * 6 + 3 * 16]
    for inputs in (16, 32, 64, 128):
        layers.append(inputs * 2 * inputs * 9 + (2 * inputs) ** 2 * 9 + 2 * 3 * 2 * inputs)

    def dense(flat):
        return 100 * flat + 100 + 2 * 100 + 2

    assert sum(layers[:4]) + dense(128 * 30 * 2) == 1_060_094
    assert sum(layers[:4]) + dense(128 * 30 * 4) == 1_828_094
    assert sum(layers) + dense(256 * 7 * 4) == 1_895_166
    assert sum(layers) + dense(256 * 7 * 8) == 2_611_966
    assert sum(layers) + dense(256 * 7 * 9) == 2_791_166


@pytest.mark.parametrize("rate", [1000, 2000, 8000, 16_000, 44_100])
def test_presets_fit_other_rates(rate):
    """Frames as long in time, no gap between filters, each of the gain that it has at 1 kHz."""
    config = SpectNetConfig.spectnet_16(LABELS, sample_rate=rate)
    frontend = config.frontend
    assert config.segment_length / rate == pytest.approx(2.39, abs=0.01)
    assert frontend.hop_length / rate == pytest.approx(0.01, rel=0.01)
    bank = SpectralFrontend(frontend, rngs=nnx.Rngs(0))
    centers_hz, widths_hz = (np.asarray(x) for x in (bank.centers_hz(), bank.bandwidths_hz()))
    assert (np.diff(centers_hz) < widths_hz[1:] + 1).all() and widths_hz.min() > 98
    if rate == 1000:
        np.testing.assert_allclose(widths_hz, 100 / 1.0186, rtol=1e-5)
    n_fft = 8 * (frontend.filters.n_taps - 1)
    power = np.asarray(bank.power_response(n_fft=n_fft))
    peak = 1e4 * 6 * 1000 / (2 * (2 * np.pi * 100) ** 4)
    at = np.arange(n_fft // 2 + 1) * rate / n_fft
    # Only bands that reach neither 0 Hz nor Nyquist.
    inner = (centers_hz > 3 * widths_hz) & (centers_hz < rate / 2 - 3 * widths_hz)
    for center_hz, response in zip(centers_hz[inner], power[inner], strict=True):
        assert np.interp(center_hz, at, response) == pytest.approx(2 * peak**2, rel=0.05)
    # No filter is cut off.
    taps = core.spectnet_impulse_response(
        *(jnp.asarray(x) for x in (centers_hz, widths_hz * 1.0186, np.ones(16, np.float32))),
        sample_rate=rate,
        n_taps=frontend.filters.n_taps,
    )
    assert np.abs(taps[:, -1]).max() < 1e-4 * np.abs(taps).max()


@pytest.mark.parametrize(("n_frames", "n_features"), [(1, 2), (7, 3), (61, 23), (50, 47)])
@pytest.mark.parametrize("n_blocks", [1, 4])
def test_every_size_of_image_is_classified(n_frames, n_features, n_blocks):

    def logits(features):
        sizes = {"n_blocks": n_blocks, "channels": 2}
        return ResidualClassifier(n_frames, n_features, 3, **sizes, rngs=nnx.Rngs(0))(features)

    features = jax.ShapeDtypeStruct((2, n_frames, n_features), jnp.float32)
    assert jax.eval_shape(logits, features).shape == (2, 3)


# values


def pool(x, by):
    """Maxima of neighbours, by loops."""
    (high, wide), (rows, columns) = by, x.shape[:2]
    out = np.zeros((rows // high, columns // wide, x.shape[2]))
    for i, j in np.ndindex(*out.shape[:2]):
        out[i, j] = x[i * high : (i + 1) * high, j * wide : (j + 1) * wide].max((0, 1))
    return out


def convolve(x, arrays, name, pad, stride=1, dilation=1):
    """The convolution as published, whose zeros are the same before and after, by loops."""
    kernel = arrays[f"{name}.kernel"].astype(np.float64)
    x = np.pad(x, ((pad[0], pad[0]), (pad[1], pad[1]), (0, 0)))
    reach = (kernel.shape[0] - 1) * dilation + 1, kernel.shape[1]
    shape = [(size - r) // stride + 1 for size, r in zip(x.shape, reach, strict=False)]
    out = np.zeros((*shape, kernel.shape[3]))
    for i, j in np.ndindex(*shape):
        rows = slice(i * stride, i * stride + reach[0], dilation)
        patch = x[rows, j * stride : j * stride + reach[1]]
        out[i, j] = np.einsum("abc,abco->o", patch, kernel)
    out += arrays[f"{name}.bias"]
    norm = [arrays[f"{name}_norm.{part}"] for part in ("scale", "mean", "variance", "shift")]
    return norm[0] * (out - norm[1]) / np.sqrt(norm[2] + 1e-5) + norm[3]


def relu(x):
    return np.maximum(x, 0)


def published(arrays, x):
    """Logits of one image by loops in float64, of a size that the published zeros fit."""
    x = relu(convolve(x[..., None].astype(np.float64), arrays, "first", (3, 1)))
    stages = [(0, 2, 1, 1), (1, 1, 2, 1), (1, 1, 2, 2), (1, 1, 2, 1)]
    for i in range(4):
        before, after, stride, dilation = stages[i]
        main = relu(convolve(x, arrays, f"blocks.{i}.first", (before, before)))
        main = convolve(
            main, arrays, f"blocks.{i}.second", (after, after), stride=stride, dilation=dilation
        )
        main = relu(pool(main, (2, 2)) if i == 0 else main)
        past = np.concatenate(
            [pool(x, (2, 2)), np.zeros((*pool(x, (2, 2)).shape[:2], x.shape[2]))], -1
        )
        x = main + past
    x = pool(x, (2, 1)).reshape(-1)
    hidden = relu(x @ arrays["hidden_kernel"] + arrays["hidden_bias"])
    return hidden @ arrays["kernel"] + arrays["bias"]


def test_logits_are_those_of_the_published_layers(rng):
    sizes = {"n_blocks": 4, "channels": 2, "hidden": 5}

    def draw(name, shape):
        # Random values, so that every bias and statistic influences the result.
        first = {"scale": 1, "variance": 1}.get(name, 0)
        if "kernel" in name:
            return rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[:-1]))
        return first + 0.1 * np.abs(rng.standard_normal(shape))

    model = drawn(lambda: ResidualClassifier(48, 16, 3, **sizes, rngs=nnx.Rngs(0)), draw)
    features = noise(48, 16)
    actual = classify(model, jnp.asarray(features, jnp.float32))
    np.testing.assert_allclose(actual, published(leaves(nnx.state(model)), features), rtol=2e-4)


def test_logits_keep_the_dtype_and_the_batch_axes():
    model, audio = spectnet(), batch(6)
    expected = evaluate(model, audio)
    two_axes = evaluate(model, audio.reshape(2, 3, -1)).reshape(6, 3)
    np.testing.assert_allclose(two_axes, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(evaluate(model, audio[0]), expected[0], rtol=1e-4, atol=1e-4)
    for dtype in DTYPES:
        assert jax.eval_shape(model, audio.astype(dtype)).dtype == dtype


def test_an_empty_batch_has_no_logits():
    model = SpectNet(SpectNetConfig.spectnet_4(("a", "b")), rngs=nnx.Rngs(0))
    audio = jax.ShapeDtypeStruct((2, 0, model.config.segment_length), jnp.float32)
    assert jax.eval_shape(model, audio).shape == (2, 0, 2)


def test_evaluation_is_deterministic_and_examples_are_independent():
    model, audio = spectnet(), batch()
    expected, changed = evaluate(model, audio), evaluate(model, audio.at[1:].set(0))
    assert np.array_equal(evaluate(model, audio), expected)
    np.testing.assert_allclose(changed[0], expected[0], rtol=1e-5, atol=1e-6)
    assert not np.allclose(changed[1:], expected[1:])


def test_the_embedding_is_what_the_logits_are_computed_from():
    model, audio = spectnet(), batch(3)
    hidden = np.asarray(embed(model, audio))
    kernel, bias = (np.asarray(x[...]) for x in (model.classifier.kernel, model.classifier.bias))
    np.testing.assert_allclose(hidden @ kernel + bias, evaluate(model, audio), atol=1e-5)
    assert hidden.shape == (3, SMALL.hidden) and hidden.min() == 0 < hidden.max()
    # Of a recording, it is that of its segments at the model's rate.
    sound = (0.1 * noise(1000)).astype(np.float32)
    found = spectnet_embedding(model, batch_size=4)(sound, sample_rate=1000)
    expected = embed(model, jnp.asarray(segments(sound, SMALL)))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * expected.max())
    faster = soxr.resample(sound, 1000, 2000)
    again = spectnet_embedding(model, batch_size=4)(faster, sample_rate=2000)
    assert np.linalg.norm(again - found) < 0.3 * np.linalg.norm(found)


@pytest.mark.parametrize("n_samples", [1, 3, 47])
def test_a_recording_of_any_length_and_rate_has_an_embedding(n_samples):
    """Less than half a sample at the model's rate too, of which resampling leaves nothing."""
    embedding = spectnet_embedding(spectnet(), batch_size=4)
    points = embedding(np.ones(n_samples, np.float32), sample_rate=96_000)
    assert points.shape == (1, SMALL.hidden) and np.isfinite(points).all()


def test_the_embedding_refuses_what_is_no_recording():
    embedding = spectnet_embedding(spectnet(), batch_size=4)
    for audio in (np.zeros(0), np.full(9, np.nan)):
        with pytest.raises(ValueError, match="`audio` must be"):
            embedding(audio, sample_rate=1000)
    with pytest.raises(ValueError, match="`sample_rate` must be"):
        embedding(np.ones(9), sample_rate=0)


# training


def test_training_normalizes_with_the_batch_and_updates_running_moments(key):
    config = dataclasses.replace(SMALL, dropout=0.0)
    model, audio = spectnet(config), batch()
    _, statistics = train(model, key, audio)
    new = leaves(statistics)["classifier.first_norm.mean"]

    def first_layer(model, audio):
        images = model.frontend(audio)[..., None]
        return model.classifier.first(images, padding=((3, 3), (1, 1)))

    inputs = np.asarray(of_parts(first_layer)(model, audio), np.float64)
    np.testing.assert_allclose(new, 0.1 * inputs.mean((0, 1, 2)), rtol=1e-4, atol=1e-6)
    variance = leaves(statistics)["classifier.first_norm.variance"]
    expected = 0.9 + 0.1 * inputs.var((0, 1, 2))
    np.testing.assert_allclose(variance, expected, rtol=1e-4)
    # The module has not changed, and its graph accepts the new state.
    assert not np.any(leaves(nnx.state(model, nnx.BatchStat))["classifier.first_norm.mean"])
    graph, params, old, rest = split(model)
    assert jax.tree.structure(statistics) == jax.tree.structure(old)
    changed = nnx.merge(graph, params, statistics, rest)
    assert not np.array_equal(evaluate(changed, audio), evaluate(model, audio))


def test_after_many_passes_evaluation_equals_training_without_dropout(key):
    model, audio = spectnet(dataclasses.replace(SMALL, dropout=0.0)), batch()
    graph, params, statistics, rest = split(model)

    def step(statistics, _):
        logits, statistics = nnx.merge(graph, params, statistics, rest).training_logits(key, audio)
        return statistics, logits

    statistics, logits = quick_jit(lambda s: jax.lax.scan(step, s, None, length=200))(statistics)
    evaluated = evaluate(nnx.merge(graph, params, statistics, rest), audio)
    np.testing.assert_allclose(evaluated, logits[-1], rtol=1e-3, atol=1e-3)


def test_dropout_drops_whole_channels_for_each_example(key):
    from ddspx.models.spectnet.classifier import _drop_channels

    images = jnp.ones((50, 3, 4, 40))
    dropped = np.asarray(_drop_channels(key, images, 0.25))
    np.testing.assert_allclose(dropped, np.where(dropped > 0, 1 / 0.75, 0), rtol=1e-6)
    np.testing.assert_array_equal(dropped, np.broadcast_to(dropped[:, :1, :1], dropped.shape))
    kept = dropped[:, 0, 0] > 0
    # The tolerance is five standard errors.
    assert abs(kept.mean() - 0.75) < 5 * np.sqrt(0.75 * 0.25 / kept.size)
    assert len(np.unique(kept, axis=0)) == 50


def test_each_key_drops_other_channels(key):
    model, audio = spectnet(), batch()
    one, _ = train(model, key, audio)
    again, _ = train(model, key, audio)
    other, _ = train(model, jax.random.key(9), audio)
    assert np.array_equal(one, again)
    assert not np.allclose(one, other)


def test_augmentation_changes_the_input_of_the_classifier(key):
    model, audio = spectnet(dataclasses.replace(SMALL, dropout=0.0)), batch()
    silent, _ = train(model, key, audio, augment=lambda key, x: jnp.zeros_like(x))
    plain, _ = train(model, key, audio)
    np.testing.assert_allclose(silent, jnp.broadcast_to(silent[:1], silent.shape), atol=1e-5)
    assert not np.allclose(plain, silent)


def test_gradients_reach_every_part_and_are_finite(key):
    labels = jax.nn.one_hot(jnp.arange(6) % 3, 3, dtype=jnp.float32)
    filters = GammatoneFilters(trainable=("centers", "bandwidths", "gains"))
    compression = Log1pCompression(trainable=True)
    ear = dataclasses.replace(EAR, filters=filters, compression=compression)
    graph, params, statistics, rest = split(spectnet(dataclasses.replace(SMALL, frontend=ear)))

    @quick_jit
    @jax.grad
    def gradient(params, audio):
        model = nnx.merge(graph, params, statistics, rest)
        return classification_loss(model.training_logits(key, audio)[0], labels, smoothing=0.1)

    in_noise, in_silence = (leaves(gradient(params, x)) for x in (batch(), 0 * batch()))
    for found in (in_noise, in_silence):
        assert not [name for name, array in found.items() if not np.isfinite(array).all()]
    still = {name for name, array in in_noise.items() if not np.any(np.abs(array) > 1e-6)}
    # A batch norm removes the bias of the convolution before it.
    assert still == {name for name in in_noise if name.endswith(("first.bias", "second.bias"))}
    assert len(still) == 5


def test_an_untrained_model_gives_similar_probabilities(key):
    config = dataclasses.replace(SMALL, labels=tuple("abcdefgh"), hidden=100, dropout=0.0)
    logits = [train(spectnet(config, seed), key, batch())[0] for seed in range(5)]
    assert 0 < np.abs(logits).max() < 0.5


def test_a_few_steps_learn_a_toy_problem(key):
    """Three tones; the loss is that of the logits, and the batch statistics go along."""
    time_s = np.arange(SMALL.segment_length) / 1000
    tones = np.stack([np.sin(2 * np.pi * f * time_s) for f in (60, 150, 350)] * 2)
    audio = jnp.asarray(tones + 0.1 * noise(*tones.shape), jnp.float32)
    labels = jax.nn.one_hot(jnp.arange(6) % 3, 3, dtype=jnp.float32)
    graph, params, statistics, rest = split(spectnet(dataclasses.replace(SMALL, dropout=0.1)))

    def loss(params, statistics, key):
        model = nnx.merge(graph, params, statistics, rest)
        logits, statistics = model.training_logits(key, audio)
        return classification_loss(logits, labels), statistics

    def step(carry, key):
        params, statistics = carry
        (value, statistics), gradient = jax.value_and_grad(loss, has_aux=True)(
            params, statistics, key
        )
        params = jax.tree.map(lambda w, g: w - 0.1 * g, params, gradient)
        return (params, statistics), value

    options = {"xla_backend_optimization_level": 1}
    run = jax.jit(functools.partial(jax.lax.scan, step), compiler_options=options)
    carry, values = run((params, statistics), jax.random.split(key, 60))
    assert values[-1] < 0.3 * values[0]
    logits = evaluate(nnx.merge(graph, *carry, rest), audio)
    np.testing.assert_array_equal(logits.argmax(-1), np.arange(6) % 3)


# loss


def test_the_loss_is_the_cross_entropy_of_smoothed_labels():
    logits, labels = noise(4, 5), np.eye(5)[[0, 3, 3, 1]]
    target = 0.8 * labels + 0.2 / 5
    log_softmax = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    expected = -(target * log_softmax).sum(-1).mean()
    actual = classification_loss(jnp.asarray(logits), jnp.asarray(labels), smoothing=0.2)
    np.testing.assert_allclose(actual, expected, rtol=1e-6)
    with pytest.raises(ValueError, match="`smoothing` must be from 0 to below 1, got 1"):
        classification_loss(jnp.asarray(logits), jnp.asarray(labels), smoothing=1.0)
    with pytest.raises((ValueError, TypeError), match="labels"):
        classification_loss(jnp.asarray(logits), jnp.asarray(labels[:, :4]))


# from one model to another


def test_a_front_end_moves_from_one_model_to_another():
    source, target = spectnet(), spectnet(seed=1)
    moved = jax.tree.map(lambda x: x + 0.3, nnx.state(source.frontend, nnx.Param))
    nnx.update(source.frontend, moved)
    ear = SpectralFrontend(EAR.fixed(), rngs=nnx.Rngs(0))
    before = np.asarray(hear(target.frontend, batch()))
    target.frontend = copy_frontend(source.frontend, target.frontend)
    ear = copy_frontend(source.frontend, ear)
    features = np.asarray(hear(source.frontend, batch()))
    np.testing.assert_array_equal(hear(target.frontend, batch()), features)
    np.testing.assert_array_equal(hear(ear, batch()), features)
    assert not np.allclose(before, features)
    # The config of the target says which parts are trained.
    assert not leaves(nnx.state(ear, nnx.Param))
    assert len(leaves(nnx.state(target.frontend, nnx.Param))) == 2


def test_a_copied_front_end_outlives_the_arrays_of_its_source():
    source = SpectralFrontend(EAR, rngs=nnx.Rngs(0))
    copy = copy_frontend(source, SpectralFrontend(EAR, rngs=nnx.Rngs(1)))
    for leaf in jax.tree.leaves(nnx.state(source)):
        leaf.delete()
    assert np.isfinite(hear(copy, batch())).all()


def test_a_copied_front_end_may_have_other_frames():
    source = SpectralFrontend(EAR, rngs=nnx.Rngs(0))
    source.bank.gaps[...] += jnp.arange(7, dtype=jnp.float32)
    changes = {"hop_length": 10, "n_fft": 128, "win_length": 100, "fmax": 500.0, "n_mfcc": 4}
    target = SpectralFrontend(dataclasses.replace(EAR, **changes), rngs=nnx.Rngs(0))
    copy = copy_frontend(source, target)
    np.testing.assert_array_equal(copy.centers_hz(), source.centers_hz())
    assert jax.eval_shape(copy, batch()).shape[-1] == 4


@pytest.mark.parametrize(
    ("both", "changes", "words"),
    [
        ({}, {"n_bands": 7}, "`n_bands`, got 6 and 7"),
        ({}, {"fmax": 400.0}, "`fmax`, got 500.0 and 400.0"),
        ({"compression": PcenCompression()}, {"hop_length": 10}, "`hop_length`, got 20 and 10"),
        ({"filters": FreeFilters()}, {"n_fft": 128}, "`n_fft`, got 64 and 128"),
        (
            {},
            {"filters": GammatoneFilters(order=3)},
            r"`filters`, got .*order=4.*order=3",
        ),
        ({}, {"compression": PcenCompression()}, "`compression`, got Log1p.* and Pcen"),
    ],
)
def test_a_front_end_with_other_parameters_is_refused(both, changes, words):
    config = dataclasses.replace(EAR, **both)
    source = SpectralFrontend(config, rngs=nnx.Rngs(0))
    target = SpectralFrontend(dataclasses.replace(config, **changes), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=f"must have the same {words}"):
        copy_frontend(source, target)


# boundaries


def test_configs_come_back_from_json_with_their_front_end():
    filters = SpectNetFilters(trainable=("gains",))
    config = SpectNetConfig.spectnet_16(LABELS, n_fft=512, filters=filters)
    assert (config.frontend.n_fft, config.frontend.filters) == (512, filters)
    fields = json.loads(json.dumps(config.to_json()))
    assert SpectNetConfig.from_json(fields) == config
    del fields["labels"]
    fields["frontend"]["tail"] = 1
    with pytest.raises(ValueError, match="A saved SpectNetConfig is missing `labels`"):
        SpectNetConfig.from_json(fields)
    with pytest.raises(ValueError, match="A saved FrontendConfig has the unknown `tail`"):
        SpectNetConfig.from_json(fields | {"labels": LABELS})


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"labels": ("a",)}, ValueError, "`labels` must name at least 2 classes"),
        ({"labels": ("a", "b", "a")}, ValueError, "`labels` must differ .* got 'a' twice"),
        ({"labels": ("a", "")}, ValueError, "`labels` must not hold an empty name"),
        ({"labels": "ab"}, TypeError, "labels"),
        ({"labels": (1, 2)}, TypeError, "labels"),
        ({"segment_frames": 1}, ValueError, "`segment_frames` must be at least 2"),
        ({"segment_frames": 2.0}, TypeError, "segment_frames"),
        ({"n_blocks": 5}, ValueError, "`n_blocks` must be 1 to 4, got 5"),
        ({"dropout": 1.0}, ValueError, "`dropout` must be from 0 to below 1, got 1.0"),
        ({"frontend": {}}, TypeError, "frontend"),
        (
            {"frontend": dataclasses.replace(EAR, n_mfcc=1)},
            ValueError,
            "`frontend` must have at least 2 bands",
        ),
    ],
)
def test_wrong_configs_are_refused(changes, error, message):
    with pytest.raises(error, match=message):
        dataclasses.replace(SMALL, **changes)


def test_audio_of_another_length_is_refused():
    with pytest.raises(
        ValueError, match=r"`audio` must have 400 samples \(21 frames of 20\), got 99"
    ):
        spectnet()(jnp.zeros((2, 99), jnp.float32))
    with pytest.raises(ValueError, match="`features` must have 21 frames of 6 numbers"):
        spectnet().classifier(jnp.zeros((2, 21, 7), jnp.float32))
