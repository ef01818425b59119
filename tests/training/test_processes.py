"""How a process is told of the others: options that are sentences when they are wrong."""

from contextlib import suppress

import jax
import numpy as np
import pytest
from jax.sharding import AbstractMesh, PartitionSpec

from ddspx.cli import main
from ddspx.training import ProcessConfig, _processes, is_writer, placements, start_processes
from ddspx.training._devices import part_of_each


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"coordinator": "node1:1234"}, "`process_id` must go with `coordinator`"),
        ({"process_id": 0, "processes": 2}, "`coordinator` must go with `process_id`"),
        ({"processes": 2}, "`coordinator` must go with `processes`"),
        ({"distributed": True, "processes": 2}, "`distributed` lets JAX find `processes`, got 2"),
        ({"start_timeout_s": 0}, "`start_timeout_s` must be at least 1, got 0"),
        *(
            (
                {"coordinator": address, "process_id": 0, "processes": 2},
                f"`coordinator` must be HOST:PORT, such as node1:1234, got '{address}'",
            )
            for address in ("node1", "node1:", ":1234", "node1:0", "node1:65536", "node1:x")
        ),
        *(
            (
                {"coordinator": "node1:1", "process_id": index, "processes": count},
                message,
            )
            for index, count, message in (
                (2, 2, "`process_id` must be below `processes`, 2, got 2; the first process is 0"),
                (-1, 2, "`process_id` must be at least 0, got -1"),
                (0, 0, "`processes` must be at least 1, got 0"),
            )
        ),
    ],
)
def test_options_that_name_no_process_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        ProcessConfig(**fields)


def test_options_of_the_commands_are_those_of_the_config(capsys):
    for command in ("train data -o model", "classify train data -o model"):
        words = [*command.split(), "--coordinator", "node1", "--process-id", "0"]
        assert main([*words, "--processes", "2"]) == 2
        assert "`coordinator` must be HOST:PORT" in capsys.readouterr().err
        assert main([*command.split(), "--processes", "2"]) == 2
        assert "`coordinator` must go with `processes`" in capsys.readouterr().err


def test_each_leaf_is_split_along_its_largest_axis_that_the_devices_divide():
    mesh = AbstractMesh((4,), ("data",))
    shapes = {"a": (4, 8), "b": (8, 4), "c": (3, 12, 5), "d": (), "e": (5,), "f": (0, 3)}
    leaves = {name: np.zeros(shape) for name, shape in shapes.items()}
    found = {name: place.spec for name, place in part_of_each(leaves, mesh).items()}
    assert found == {
        "a": PartitionSpec(None, "data"),
        "b": PartitionSpec("data", None),
        "c": PartitionSpec(None, "data", None),
        "d": PartitionSpec(),
        "e": PartitionSpec(None),
        "f": PartitionSpec(None, None),
    }


def test_a_single_process_writes_and_has_the_axis_data():
    every, each = placements(4)
    assert is_writer() and every.mesh.axis_names == ("data",)
    assert each.spec == PartitionSpec("data") and every.spec == PartitionSpec()


class Store(dict):
    """The store of keys that all processes share."""

    def key_value_set(self, key, value):
        assert key not in self
        self[key] = value

    def key_value_dir_get(self, place):
        return [(key, value) for key, value in self.items() if key.startswith(place)]


def test_a_condition_of_one_process_is_reached_by_all_in_the_same_call():
    store, wants = Store(), set()
    each = [_processes._Agreement(lambda i=i: i in wants, store, "stop", i, 3) for i in range(3)]
    # They have come to different calls, as no step waits for the report of the one before.
    answered = [5, 3, 4]
    for agreement, calls in zip(each, answered, strict=True):
        assert not any(agreement.is_reached() for _ in range(calls))
        agreement.advance()
    assert not store
    wants.add(1)
    for _ in range(3):
        for agreement in each:
            agreement.advance()
    for agreement, calls in zip(each, answered, strict=True):
        rest = [agreement.is_reached() for _ in range(8 - calls)]
        assert rest == [False] * (5 - calls) + [True] * 3


def test_one_watch_is_over_all_that_a_block_does(monkeypatch):
    """An error in it is told to the others, unless it is caught there, as in all processes."""
    events = []

    class Watch:
        agreed = staticmethod(lambda wanted: events.append("asked"))

        def __getattr__(self, name):
            return lambda *arguments: events.append((name, *map(str, arguments)))

    for place, name, value in (
        (jax, "process_count", lambda: 2),
        (jax, "default_backend", lambda: "gpu"),
        (jax.distributed, "is_initialized", lambda: True),
        (_processes, "all_gather", lambda value: [value, value]),
        (_processes, "_Watch", Watch),
    ):
        monkeypatch.setattr(place, name, value)
    others = ProcessConfig("node1:1", process_id=0, processes=2)
    for _ in range(2):
        events.clear()
        with pytest.raises(ValueError, match="no data"), start_processes(others):
            for _ in range(2):
                with _processes.together() as agreed:
                    agreed(lambda: True)
            with suppress(KeyError), _processes.together():
                raise KeyError
            raise ValueError("no data")
        assert events == 2 * ["asked", ("forget",)] + [("tell", "no data"), ("close",)]


def test_processes_with_other_data_or_settings_are_named(monkeypatch):
    _processes.check_alike(model={"a": 1}, data="b")
    monkeypatch.setattr(_processes, "all_gather", lambda digest: [digest, digest, "other"])
    with pytest.raises(ValueError, match="process 2 has other data, settings or another model"):
        _processes.check_alike(model={"a": 1}, data="b")
