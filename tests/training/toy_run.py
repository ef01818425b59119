"""A run of twelve steps of a model of a few weights, and a disk that fails at any of its writes."""

import hashlib
import json
import os
import re
import signal
import sys
import time
import warnings
from collections import Counter
from contextlib import contextmanager, suppress
from functools import cache
from io import StringIO
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from rich.console import Console

from ddspx.io import restore_checkpoint
from ddspx.models._weights import save_model
from ddspx.training import Measured, RunConfig, Task, adam, initial_state, run_task, train_step
from ddspx.training._state import to_arrays
from ddspx.training._stopping import until_stopped

SIZE = 40
VALID = np.random.default_rng(1).normal(size=(4, 3, SIZE)).astype(np.float32)


class ToyBatches:
    """Batch `position` is drawn from its number; `faults` are put into some of them."""

    def __init__(self, faults=None):
        self.position, self.faults = 0, faults or {}

    def __next__(self):
        self.position += 1
        batch = np.random.default_rng(self.position).normal(size=(4, SIZE)).astype(np.float32)
        batch[0, 0] = self.faults.get(self.position, batch[0, 0])
        return batch

    def get_state(self):
        return {"position": self.position}

    def set_state(self, state):
        self.position = state["position"]

    def recordings(self, step):
        return tuple(f"{step}-{row}.wav" for row in range(4))


@cache
def programs(growth):
    graph, params = nnx.split(nnx.Linear(SIZE, 3, rngs=nnx.Rngs(0)))
    start = jax.tree.map(np.asarray, nnx.to_pure_dict(params))

    def loss(params, rest, key, batch):
        y = batch @ params["kernel"] + params["bias"][None]
        noise = jax.random.normal(key, y.shape, y.dtype)
        return jnp.mean((y - 1.0 + 0.1 * noise) ** 2), growth * rest

    optimizer = adam(learning_rate=0.1)
    valid = jax.jit(lambda p, x: jnp.mean((x @ p["kernel"] + p["bias"][None] - 1.0) ** 2))
    return graph, start, optimizer, train_step(loss, optimizer), valid


def start_of(params, optimizer):
    rest = jnp.ones((), jnp.float32)
    return initial_state(jax.tree.map(jnp.asarray, params), optimizer, seed=0, rest=rest)


def toy_task(faults=None, growth=1.0, pause_s=0.0, data="toy"):
    """The task; `growth` is the factor by which a step multiplies what has no gradient."""
    graph, start, optimizer, step, valid = programs(growth)

    def measure(state, log):
        losses = []
        for batch in until_stopped(VALID):
            time.sleep(pause_s)
            losses.append(float(valid(state.params, batch)))
        return Measured(float(np.mean(losses)))

    def save(folder, state, selected):
        model = nnx.merge(graph, state.params)
        provenance = {"selected": selected}
        save_model(folder, model, {"size": SIZE}, keep_others=True, provenance=provenance)

    return Task(
        model={"size": SIZE},
        data=data,
        batches=ToyBatches(faults),
        state=start_of(start, optimizer),
        step=step,
        measure=measure,
        save=save,
    )


def toy_run(output, *, task=None, **changes):
    """Trains to `output`; returns the result and what was printed."""
    settings = {"steps": 12, "batch_size": 4, "evaluate_every": 3, "keep_checkpoints": 2}
    console = Console(file=StringIO(), width=1000)
    options = task or {}
    config = RunConfig(**settings | changes)
    result = run_task(lambda: toy_task(**options), output, config=config, console=console)
    return result, console.file.getvalue()


def newest(output):
    """The newest checkpoint of a run: its step, arrays and facts."""
    _, start, optimizer, *_ = programs(1.0)
    checkpoints = output.with_name(f"{output.name}.run") / "checkpoints"
    return restore_checkpoint(checkpoints, to_arrays(start_of(start, optimizer)))


def outcome(output):
    """Digests of all that a run has made: the model folder, the newest checkpoint and its facts."""
    step, arrays, facts = newest(output)
    made = {path.name: path.read_bytes() for path in output.iterdir()}
    made["arrays"] = b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(arrays))
    made["facts"] = json.dumps([step, facts]).encode()
    return {name: hashlib.sha256(data).hexdigest()[:16] for name, data in sorted(made.items())}


@contextmanager
def at_each_write(folder, act):
    """Calls ``act(what, number, path)`` before each change of a file or a folder below `folder`.

    The number is how often there was a change of this kind, from 1. What is not Python, such as the
    writing of arrays, is not seen; its folder is made by Python.
    """
    if not _ACTIONS:
        sys.addaudithook(lambda *event: _ACTIONS[-1](*event) if _ACTIONS else None)
    counts, root, synced = Counter(), os.path.realpath(folder) + os.sep, os.fsync

    def changed(what, path, source=None):
        place = "" if path is None or isinstance(path, int) else os.fsdecode(path)
        place = os.path.join(os.path.realpath(os.path.dirname(place)), os.path.basename(place))
        if place.startswith(root):
            kind = f"{what} {kind_of(place.removeprefix(root))}"
            counts[kind] += 1
            act(kind, counts[kind], source or place)

    def event(name, arguments):
        if name == "open" and (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            changed("write", arguments[0])
        elif name in ("os.rename", "os.link", "os.symlink"):
            changed("rename to", arguments[1], arguments[0])
        elif name in ("os.mkdir", "os.remove", "os.rmdir", "os.truncate"):
            changed(name.removeprefix("os."), arguments[0])

    def fsync(file):
        if os.path.exists(f"/proc/self/fd/{file}"):
            changed("fsync", os.readlink(f"/proc/self/fd/{file}"))
        synced(file)

    os.fsync = fsync
    _ACTIONS.append(event)
    try:
        yield
    finally:
        os.fsync = synced
        _ACTIONS[:] = [lambda *_: None]


_ACTIONS = []


def kind_of(name):
    """A path without what differs from run to run, and without what is inside an unfinished folder.

    The random names, steps and times are left out.
    """
    parts = []
    for part in Path(name).parts:
        if part.endswith((".partial", ".retired")):
            return "/".join([*parts, "*" + Path(part).suffix])
        parts.append(re.sub(r"(?<=events).*|[0-9a-f]{32}|\d+", "#", part))
    return "/".join(parts)


def serve():
    """Forks a process for each line of JSON, and says its number; waits for it if asked to.

    The packages are imported once, and no program is compiled before a fork.
    """
    warnings.simplefilter("ignore")
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            status = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
            print(status, flush=True)
        elif pid := os.fork():
            print(pid, flush=True)
        else:
            _child(**request)


def _child(output, kill_at=None, limit=None, task=None, said="said.txt"):
    """Runs the training.

    The process is killed at the write `kill_at`, a kind and a number, or no file may be larger
    than `limit` bytes. What is printed, and all writes at last, go to the file `said`.
    """
    import resource

    output, seen = Path(output), []
    said = open(output.parent.with_name(said), "w")
    os.dup2(said.fileno(), 1)
    os.dup2(said.fileno(), 2)

    def act(what, number, _):
        seen.append(what)
        if [what, number] == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit or soft, hard))
    status, lines = 0, []
    try:
        with at_each_write(output.parent, act):
            lines += toy_run(output, task=task)
    except (OSError, FloatingPointError) as error:
        lines += ["error", error]
        status = 2
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    print(*lines, "writes", json.dumps(seen))
    said.flush()
    os._exit(status)


def fill_and_free(folder):
    """Trains on a disk that is nearly full, with ever more room, and prints what is said."""
    output, filler = Path(folder, "runs", "model"), Path(folder, "filler")
    output.parent.mkdir()
    for free in (0, 8, 20, 40, 60, 80, 120):
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
        os.truncate(filler, filler.stat().st_size - 1024 * free)
        try:
            toy_run(output)
        except OSError as error:
            print(f"{free} kB:", error)
    filler.unlink()
    print(toy_run(output)[0], outcome(output))


if __name__ == "__main__":
    fill_and_free(sys.argv[1]) if sys.argv[1:] else serve()
