"""A recording, an instrument and an empty folder that the tests of the page share."""

import pytest
from toy_instrument import SAMPLE_RATE, save_toy_instrument, tone

from ddspx import io
from ddspx.app._handlers import Sessions
from ddspx.app._session_files import Files


@pytest.fixture(scope="session")
def instrument(tmp_path_factory):
    return str(save_toy_instrument(tmp_path_factory.mktemp("models") / "toy"))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "page").mkdir()
    return tmp_path / "page"


@pytest.fixture
def files(folder):
    return Files(folder)


@pytest.fixture
def sessions(files, instrument):
    return Sessions(files, [instrument, "toy", "kazoo"])


@pytest.fixture
def recording(files):
    """Uploaded, as gradio does it: into a folder of its own."""
    path = files.place("tone.wav")
    io.write_audio(path, tone(1.0), sample_rate=SAMPLE_RATE)
    return path
