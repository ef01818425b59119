"""The share of the time that a training waits for its input."""

import time

import pytest

from ddspx.training._waiting import TimedBatches


class Slow:
    """Batches that take 20 ms each."""

    def __init__(self):
        self.taken = 0

    def __next__(self):
        time.sleep(0.02)
        self.taken += 1
        return self.taken

    def get_state(self):
        return {"position": self.taken}

    def set_state(self, state):
        self.taken = state["position"]

    def recordings(self, step):
        return (f"{step}.wav",)


def test_the_share_of_waiting_is_that_of_the_time():
    batches = TimedBatches(Slow())
    for work_s in (0.06, 0.0):
        batches.restart()
        began = time.perf_counter()
        for _ in range(5):
            next(batches)
            time.sleep(work_s)
        total_s = time.perf_counter() - began
        share = batches.waiting_share()
        # A busy machine sleeps longer, but not where it is not asked to.
        assert 0.1 / total_s * 0.9 < share <= 1
        assert (share < 0.7) == (work_s > 0)
    assert batches.get_state() == {"position": 10} and batches.recordings(3) == ("3.wav",)
    batches.set_state({"position": 4})
    assert next(batches) == 5
    batches.restart()
    assert batches.waiting_share() == pytest.approx(0, abs=1e-3)
