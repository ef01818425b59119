"""One process of a training on several devices, for `test_many_devices`.

python device_program.py FOLDER PART [HOST:PORT PROCESS], with the parts in `PARTS`. Each takes
the same steps on the same data, and writes what it finds to ``FOLDER/<name>.npz``.
"""

import json
import shutil
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from labelled_data import toy_model as labelled_model
from rich.console import Console
from toy_instrument import toy_model
from training_data import EXAMPLE_HOPS, HOP, glide, small_model, write_dataset

from ddspx.io import Batch, LabelledBatch
from ddspx.models.spectnet import SpectNet
from ddspx.training import (
    AutoencoderTrainConfig,
    ClassifierTrainConfig,
    ProcessConfig,
    adam,
    autoencoder_loss,
    initial_state,
    is_writer,
    placements,
    start_processes,
    train_autoencoder,
    train_step,
)
from ddspx.training._classifier import classifier_loss
from ddspx.training._devices import gathered, put_batch, put_state

BATCH, STEPS = 8, 20


def in_float64(tree):
    return jax.tree.map(
        lambda x: x.astype(jnp.float64) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree
    )


def autoencoder():
    """The loss, the first weights, and the batch of a step."""
    graphdef, *states = nnx.split(toy_model(small_model()), nnx.Param, ...)
    whole = glide(4)

    def batch(step):
        crops = []
        for start in np.random.default_rng(step).integers(0, 300, BATCH):
            frames = slice(start, start + EXAMPLE_HOPS + 1)
            samples = slice(start * HOP, (start + EXAMPLE_HOPS) * HOP)
            crops.append((whole.audio[samples], *(each[frames] for each in whole[1:])))
        return Batch(*(np.stack(each).astype(np.float64) for each in zip(*crops, strict=True)))

    return autoencoder_loss(graphdef), *map(nnx.to_pure_dict, states), batch


def classifier():
    """Likewise; what a batch norm computes is the mean over all devices."""
    model = labelled_model()
    network = SpectNet(model, rngs=nnx.Rngs(0))
    graphdef, *states = nnx.split(network, nnx.Param, nnx.BatchStat, ...)
    params, *rest = map(nnx.to_pure_dict, states)

    def batch(step):
        rng = np.random.default_rng(step)
        label = rng.integers(0, len(model.labels), BATCH).astype(np.int32)
        noise = rng.standard_normal((BATCH, model.segment_length))
        return LabelledBatch(noise * (0.1 + 0.2 * label[:, None]), label)

    return classifier_loss(graphdef, ClassifierTrainConfig(mixup=0.4)), params, tuple(rest), batch


def take_steps(folder, name, kind, *, shard_optimizer, microbatches=1):
    """Twenty steps in float64: the first gradient, and all losses."""
    loss, params, rest, batch = kind()
    every, each = placements(BATCH)
    optimizer = adam(learning_rate=3e-3, clip_norm=1e9)
    options = {"placement": every, "shard_optimizer": shard_optimizer}
    step = train_step(loss, optimizer, microbatches=microbatches, **options)
    state = initial_state(in_float64(params), optimizer, seed=0, rest=in_float64(rest))
    state = put_state(state, every, shard_optimizer=shard_optimizer)
    losses = []
    for taken in range(STEPS):
        state, report = step(state, put_batch(batch(taken), each))
        losses.append(float(report.loss))
        if taken == 0:
            # Adam's first moment is then a tenth of the gradient.
            moments = jax.tree.map(gathered, state.opt_state[1][0].mu)
            gradient = np.concatenate([10 * leaf.ravel() for leaf in jax.tree.leaves(moments)])
            parts = {leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(state.opt_state)}
    is_split = parts == {True, False}
    assert is_split == (shard_optimizer and every.num_devices > 1), parts
    assert all(leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(state.params))
    if is_writer():
        np.savez(folder / f"{name}.npz", gradient=gradient, losses=losses)


def train(folder, name, *, steps, **options):
    """A whole run, as far as `steps`."""
    config = AutoencoderTrainConfig(
        steps=steps, batch_size=BATCH, learning_rate=3e-4, evaluate_every=2, **options
    )
    dataset, output = folder / "dataset", folder / name
    result = train_autoencoder(
        dataset, output, model=small_model(), config=config, console=Console(quiet=True)
    )
    assert result.step == steps and result.finished
    return result


def go_on(folder, before, name):
    """Continues a copy of a run of two steps that other devices have begun."""
    for suffix in ("", ".run"):
        if is_writer():
            shutil.copytree(folder / f"{before}{suffix}", folder / f"{name}{suffix}")
    train(folder, name, steps=4)


def with_devices(count):
    """The first devices of this process take the place of all."""
    devices = jax.local_devices()[:count]
    jax.devices = lambda: devices


def alone(folder):
    write_dataset(folder / "dataset", {"train": 8, "valid": 1})
    for count in (8, 1):
        with_devices(count)
        for kind in (autoencoder, classifier):
            for sharded in (False, True)[: 1 + (count > 1)]:
                name = f"{kind.__name__} {count} {sharded}"
                take_steps(folder, name, kind, shard_optimizer=sharded)
        train(folder, f"run {count}", steps=2, shard_optimizer=count > 1)
    train(folder, "straight", steps=4)


def pair(folder):
    for kind in (autoencoder, classifier):
        for sharded in (False, True):
            name = f"{kind.__name__} 2x2 {sharded}"
            take_steps(folder, name, kind, shard_optimizer=sharded)
    train(folder, "run 2x2", steps=2, shard_optimizer=True, steps_per_dispatch=2)
    for before in ("1", "8"):
        go_on(folder, f"run {before}", f"{before} then 2x2")


def alone_again(folder):
    for count in (8, 1):
        with_devices(count)
        for before in {"1", "8", "2x2"} - {str(count)}:
            go_on(folder, f"run {before}", f"{before} then {count}")


PARTS = {part.__name__: part for part in (alone, pair, alone_again)}


if __name__ == "__main__":
    place, part, *others = sys.argv[1:]
    config = ProcessConfig(others[0], int(others[1]), 2) if others else ProcessConfig()
    with start_processes(config):
        print(json.dumps([jax.process_count(), jax.device_count()]))
        PARTS[part](Path(place))
