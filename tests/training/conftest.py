"""Fixtures of the tests of training."""

import pytest
from preparing import level_and_crossings


@pytest.fixture
def quick(monkeypatch):
    """Preparation by features that are quicker to compute than the real ones."""
    monkeypatch.setattr("ddspx.training._spool.stream_features", level_and_crossings)
