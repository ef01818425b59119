"""The devices of a run: one mesh over those of all processes, and what each device holds.

The mesh has the single axis ``data``. Parameters are on every device, a batch is split over all of
them, and the optimizer's state is one or the other. A step is written for the whole batch; XLA adds
what the devices have to tell each other.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec

from ddspx.training._state import TrainState, from_arrays, to_arrays

_AXIS = "data"


def is_writer() -> bool:
    """Tells whether this process is the one that writes and prints; of a single one it is true."""
    return jax.process_index() == 0


def placements(batch_size: int) -> tuple[NamedSharding, NamedSharding]:
    """Returns two shardings: a copy on every device, and the first axis split over the devices.

    The devices are those of all processes. Each process has the rows of a batch that follow those
    of the process before it.

    Args:
      batch_size: examples in a step, over all devices together.

    Returns:
      The two shardings, on a mesh with the axis ``data``.

    Raises:
      ValueError: the batch cannot be divided among the devices, or the processes have different
        numbers of devices.
    """
    devices = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    here = sum(device.process_index == jax.process_index() for device in devices)
    if here * jax.process_count() != len(devices):
        raise ValueError(
            f"all processes must have the same number of devices, but this one has {here} of "
            f"{len(devices)} devices of {jax.process_count()} processes; start it with as many as "
            "the others."
        )
    if batch_size % len(devices):
        raise ValueError(
            f"`batch_size` must be a multiple of the {len(devices)} devices, got {batch_size}."
        )
    mesh = Mesh(np.array(devices), (_AXIS,))
    return NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec(_AXIS))


def part_of_each(tree: Any, mesh: Mesh | AbstractMesh) -> Any:
    """Returns the shardings of arrays of which each device holds a part, leaf by leaf.

    A leaf is split along its largest axis that the devices divide. Of a leaf without such an axis
    every device holds a copy.
    """

    def sharding(leaf: Any) -> NamedSharding:
        divisible = [i for i, n in enumerate(leaf.shape) if n and n % mesh.size == 0]
        axes: list[str | None] = [None] * len(leaf.shape)
        if divisible:
            axes[max(divisible, key=lambda i: leaf.shape[i])] = _AXIS
        return NamedSharding(mesh, PartitionSpec(*axes))

    return jax.tree.map(sharding, tree)


def put_batches(batches: Sequence[Any], each: NamedSharding) -> Any:
    """Puts the rows that this process has of a batch, or of several stacked ones, on its devices.

    Args:
      batches: one batch or more.
      each: the second sharding of `placements`.

    Returns:
      The batch of all processes; with several batches its first axis is theirs.
    """
    if len(batches) == 1:
        return jax.make_array_from_process_local_data(each, batches[0])
    stacked = jax.tree.map(lambda *rows: np.stack(rows), *batches)
    place = NamedSharding(each.mesh, PartitionSpec(None, *each.spec))
    return jax.make_array_from_process_local_data(place, stacked)


def put_batch(batch: Any, each: NamedSharding) -> Any:
    """Puts a batch that every process has whole on the devices of all."""

    def rows_here(rows: Any) -> Any:
        size = len(rows) // jax.process_count()
        return rows[jax.process_index() * size :][:size]

    return put_batches([jax.tree.map(rows_here, batch)], each)


def this_process() -> dict[str, Any]:
    """The arguments by which an iterator of batches gives the rows of this process alone."""
    return {"process_index": jax.process_index(), "process_count": jax.process_count()}


def put_state(state: TrainState, every: NamedSharding, *, shard_optimizer: bool) -> TrainState:
    """Puts a state that every process has on the devices."""
    arrays = jax.tree.map(np.asarray, to_arrays(state))
    places = jax.tree.map(lambda _: every, arrays)
    if shard_optimizer:
        places = places._replace(opt_state=part_of_each(arrays.opt_state, every.mesh))

    def put(array: np.ndarray, place: NamedSharding) -> jax.Array:
        return jax.make_array_from_process_local_data(place, array, array.shape)

    return from_arrays(jax.tree.map(put, arrays, places))


def on_host(arrays: TrainState) -> TrainState:
    """The whole arrays of a state as arrays of NumPy, in every process; all must call it.

    One leaf after the other is gathered, so that no device needs memory for all.
    """
    return jax.tree.map(gathered, arrays)


def gathered(array: Any) -> np.ndarray:
    """The whole of an array that the devices share, in every process; all must call it.

    It returns when all devices of this process are done: between processes, CPUs would confuse the
    collectives of two programs that run at the same time.
    """
    if not (array.is_fully_addressable or array.is_fully_replicated):
        array = _copies(NamedSharding(array.sharding.mesh, PartitionSpec()))(array)
    return np.asarray(jax.block_until_ready(array))


@lru_cache
def _copies(every: NamedSharding) -> Callable[[jax.Array], jax.Array]:
    """A compiled function that gives every device a copy of an array that they share."""
    return jax.jit(lambda array: array, out_shardings=every)


def of_this_process(tree: Any) -> Any:
    """Arrays of which every device holds a copy, as this process's own, to compute with alone."""

    def own(array: Any) -> jax.Array:
        if isinstance(array, np.ndarray):
            return jnp.asarray(array)
        is_shared = not array.is_fully_addressable and array.is_fully_replicated
        return array.addressable_data(0) if is_shared else array

    return jax.tree.map(own, tree)
