"""An instrument and a recording that the tests of the commands share."""

import pytest
from toy_instrument import SAMPLE_RATE, save_toy_instrument, tone

from ddspx import io


@pytest.fixture(scope="session")
def instrument(tmp_path_factory):
    return save_toy_instrument(tmp_path_factory.mktemp("models") / "toy")


@pytest.fixture(scope="session")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("recordings") / "tone.wav"
    io.write_audio(path, tone(1.0), sample_rate=SAMPLE_RATE)
    return path
