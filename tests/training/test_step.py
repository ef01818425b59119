"""The compiled step computes what its equations say, and the losses agree with each other."""

import os
import subprocess
import sys
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from toy_instrument import toy_model
from training_data import glide, small_model

from ddspx.io import Batch
from ddspx.training import (
    AutoencoderTrainConfig,
    adam,
    autoencoder_loss,
    initial_state,
    train_step,
)
from ddspx.training._step import autoencoder_evaluation


def quadratic(w, rest, key, batch):
    del key
    return jnp.mean((w - batch) ** 2), rest


# values


@pytest.mark.parametrize("clip_norm", [1e9, 0.5])
def test_the_optimizer_is_the_textbook_adam(clip_norm):
    batch = np.array([3.0, 5.0])
    w, mean, square = 1.0, 0.0, 0.0
    optimizer = adam(learning_rate=0.1, decay_rate=0.5, decay_steps=2, clip_norm=clip_norm)
    step = train_step(quadratic, optimizer)
    state = initial_state(jnp.float32(w), optimizer, seed=0)
    for taken in range(4):
        gradient = 2 * (w - batch.mean())
        state, report = step(state, jnp.asarray(batch, jnp.float32))
        np.testing.assert_allclose(report.loss, np.mean((w - batch) ** 2), rtol=1e-5)
        np.testing.assert_allclose(report.gradient_norm, abs(gradient), rtol=1e-5)
        gradient *= min(1.0, clip_norm / abs(gradient))
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        rate = 0.1 * 0.5 ** (taken / 2)
        unbiased = mean / (1 - 0.9 ** (taken + 1)), square / (1 - 0.999 ** (taken + 1))
        w -= rate * unbiased[0] / (np.sqrt(unbiased[1]) + 1e-7)
        np.testing.assert_allclose(state.params, w, rtol=1e-5)
    assert int(state.step) == 4


def test_every_step_draws_from_its_own_key():
    def loss(w, rest, key, batch):
        return w * jax.random.normal(key) + 0 * batch, rest

    optimizer = optax.sgd(0.0)
    step = train_step(loss, optimizer)
    state = initial_state(jnp.float32(1.0), optimizer, seed=7)
    drawn = jax.jit(lambda taken: jax.random.normal(jax.random.fold_in(jax.random.key(7), taken)))
    for taken in range(3):
        state, report = step(state, jnp.float32(0.0))
        np.testing.assert_allclose(report.loss, drawn(taken), rtol=1e-6)


def test_a_step_compiles_once_and_reuses_the_memory_of_the_state():
    optimizer = adam()
    step = train_step(quadratic, optimizer)
    first = initial_state(jnp.ones(1000, jnp.float32), optimizer, seed=0)
    second, _ = step(first, jnp.zeros(1000, jnp.float32))
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(first))
    step(second, jnp.ones(1000, jnp.float32))
    assert step._cache_size() == 1


def test_the_state_of_a_loss_is_carried_between_steps_without_a_gradient():
    def loss(w, rest, key, batch):
        mean = 0.5 * rest["mean"] + 0.5 * jnp.mean(batch)
        return (w - mean) ** 2, {"mean": mean, "calls": rest["calls"] + 1}

    descent = optax.sgd(0.25)
    step = train_step(loss, descent)
    rest = {"mean": jnp.float32(0.0), "calls": jnp.zeros((), jnp.int32)}
    state = initial_state(jnp.float32(0.0), descent, seed=0, rest=rest)
    w, mean = 0.0, 0.0
    for value in (4.0, -2.0, 8.0):
        state, _ = step(state, jnp.full(2, value, jnp.float32))
        mean = 0.5 * mean + 0.5 * value
        w -= 0.25 * 2 * (w - mean)
    assert (float(state.params), float(state.rest["mean"])) == (w, mean)
    assert int(state.rest["calls"]) == 3


@pytest.mark.parametrize("microbatches", [2, 3])
def test_microbatches_have_the_gradient_of_the_whole_batch(microbatches, rng):
    def loss(w, rest, key, batch):
        return jnp.mean((jnp.sin(batch @ w) - 1) ** 2), rest + len(batch)

    batch = jnp.asarray(rng.standard_normal((6, 3)), jnp.float32)
    states, reports = [], []
    for parts in (1, microbatches):
        descent = optax.sgd(0.5)
        state = initial_state(jnp.arange(3, dtype=jnp.float32), descent, seed=0, rest=jnp.int32(0))
        state, report = train_step(loss, descent, microbatches=parts)(state, batch)
        states.append(state)
        reports.append(report)
    np.testing.assert_allclose(states[1].params, states[0].params, rtol=1e-5)
    np.testing.assert_allclose(reports[1], reports[0], rtol=1e-5)
    assert [int(state.rest) for state in states] == [6, 6]


def test_every_microbatch_draws_from_its_own_key():
    def loss(w, rest, key, batch):
        return w * jax.random.normal(key) + 0 * jnp.mean(batch), rest

    still = optax.sgd(0.0)
    state = initial_state(jnp.float32(1.0), still, seed=7)
    _, report = train_step(loss, still, microbatches=2)(state, jnp.zeros(2, jnp.float32))
    key = jax.random.fold_in(jax.random.key(7), 0)
    drawn = [jax.random.normal(jax.random.fold_in(key, part)) for part in range(2)]
    np.testing.assert_allclose(report.loss, np.mean(drawn), rtol=1e-6)


def test_a_batch_that_microbatches_do_not_divide_is_refused():
    step = train_step(quadratic, still := optax.sgd(0.0), microbatches=2)
    with pytest.raises(ValueError, match="`microbatches` must divide the batch of 3 examples"):
        step(initial_state(jnp.float32(1.0), still, seed=0), jnp.zeros(3, jnp.float32))


# the autoencoder's losses


def test_the_loss_is_the_mean_of_the_evaluations_and_falls():
    whole = glide(1)
    batch = Batch(*(np.stack([a, a[::-1]]) for a in whole))
    # The fewest parts, because this compiles twice.
    config = small_model()
    graphdef, *states = nnx.split(toy_model(config), nnx.Param, ...)
    params, rest = map(nnx.to_pure_dict, states)
    optimizer = adam(learning_rate=1e-2)
    step = train_step(autoencoder_loss(graphdef), optimizer)
    state = initial_state(params, optimizer, seed=0, rest=rest)
    key = jax.random.fold_in(state.key, 0)
    losses, audio = autoencoder_evaluation(graphdef)(state.params, state.rest, key, batch)
    assert losses.shape == (2,) and audio.shape == batch.audio.shape
    history = []
    for _ in range(20):
        state, report = step(state, batch)
        history.append(float(report.loss))
    np.testing.assert_allclose(history[0], np.mean(losses), rtol=1e-5)
    assert min(history[-3:]) < 0.7 * history[0]


def test_bfloat16_rounds_the_products_of_the_networks_alone():
    batch = Batch(*(a[None] for a in glide(1)))
    graphdef, *states = nnx.split(toy_model(small_model()), nnx.Param, ...)
    params, rest = map(nnx.to_pure_dict, states)

    def products(bfloat16):
        loss = autoencoder_loss(graphdef, bfloat16=bfloat16)
        slope = jax.jit(jax.grad(loss, has_aux=True))
        text = slope.lower(params, rest, jax.random.key(0), batch).as_text()
        return Counter(
            "bfloat16" if "bf16" in line else "exact" if "HIGHEST" in line else "default"
            for line in text.splitlines()
            if "dot_general" in line
        )

    default, rounded = products(False), products(True)
    assert default["exact"] == rounded["exact"] > 0
    assert default["default"] == rounded["bfloat16"] > 0
    assert rounded["default"] == default["bfloat16"] == 0


# devices

DATA_PARALLEL = """
import jax, jax.numpy as jnp, numpy as np
from ddspx.training import adam, initial_state, placements, train_step

devices = jax.devices()
assert len(devices) == 2
optimizer = adam(learning_rate=0.1, clip_norm=0.5)

def loss(w, rest, key, batch):
    return jnp.mean((jnp.sin(batch @ w) - 1) ** 2) + jax.random.normal(key) * w[0], rest

for used in (devices[:1], devices):
    jax.devices = lambda: used
    every, each = placements(4)
    assert every.num_devices == len(used)
    state = jax.device_put(initial_state(jnp.arange(3.0), optimizer, seed=0), every)
    step = train_step(loss, optimizer, placement=every)
    for index in range(3):
        batch = np.random.default_rng(index).standard_normal((4, 3)).astype(np.float32)
        state, report = step(state, jax.device_put(batch, each))
    assert state.params.sharding.is_fully_replicated
    print(*np.asarray(state.params).tolist(), float(report.loss))
"""


def test_two_devices_take_the_same_step_as_one():
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=2"
    result = subprocess.run(
        [sys.executable, "-c", DATA_PARALLEL],
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    one, two = (np.array(line.split(), float) for line in result.stdout.splitlines())
    np.testing.assert_allclose(one, two, rtol=1e-5)


# boundary errors


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "`steps` must be at least 1"),
        ({"batch_size": 0}, "`batch_size` must be at least 1"),
        ({"learning_rate": 0.0}, "`learning_rate` must be finite and above 0, got 0.0"),
        ({"learning_rate": float("nan")}, "`learning_rate` must be finite and above 0, got nan"),
        ({"learning_rate": float("inf")}, "`learning_rate` must be finite and above 0, got inf"),
        ({"decay_rate": 2.0}, "`decay_rate` must be at most 1, got 2.0"),
        ({"clip_norm": float("inf")}, "`clip_norm` must be finite"),
        ({"max_minutes": -1.0}, "`max_minutes` must be finite and above 0"),
        ({"seed": -1}, "`seed` must be at least 0"),
        ({"steps_per_dispatch": 0}, "`steps_per_dispatch` must be at least 1"),
        (
            {"steps_per_dispatch": 9, "evaluate_every": 8},
            "`steps_per_dispatch` must be at most `evaluate_every`, 8",
        ),
        ({"microbatches": 3}, "`microbatches` must divide `batch_size`, 16, got 3"),
        ({"seed": 2**32}, "`seed` must be from 0 to"),
    ],
)
def test_numbers_out_of_range_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        AutoencoderTrainConfig(**change)


@pytest.mark.parametrize(
    "change", [{"seed": 1.5}, {"steps": 2.0}, {"learning_rate": "1e-3"}, {"clip_norm": None}]
)
def test_numbers_of_a_wrong_type_are_refused(change):
    # Not through the constructor, whose annotations are checked under pytest alone.
    config = object.__new__(AutoencoderTrainConfig)
    vars(config).update(AutoencoderTrainConfig().to_json() | change)
    (name,) = change
    with pytest.raises(TypeError, match=f"`{name}` must be"):
        config.__post_init__()
