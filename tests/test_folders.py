"""Folders of the user are where the platform has them."""

from pathlib import Path

import platformdirs
import pytest
from platformdirs.macos import MacOS
from platformdirs.unix import Unix
from platformdirs.windows import Windows

from ddspx._folders import cache_folder, data_folder


@pytest.mark.parametrize(
    ("platform", "variables", "data", "cache"),
    [
        (Unix, {}, "{home}/.local/share/ddspx", "{home}/.cache/ddspx"),
        (Unix, {"XDG_DATA_HOME": "/data", "XDG_CACHE_HOME": "/c"}, "/data/ddspx", "/c/ddspx"),
        # A relative path counts as none.
        (Unix, {"XDG_DATA_HOME": "data"}, "{home}/.local/share/ddspx", "{home}/.cache/ddspx"),
        (
            MacOS,
            {},
            "{home}/Library/Application Support/ddspx",
            "{home}/Library/Caches/ddspx",
        ),
        (Windows, {}, "/local/ddspx", "/local/ddspx/Cache"),
    ],
)
def test_the_folders_follow_the_platform(platform, variables, data, cache, tmp_path, monkeypatch):
    # What Windows answers when it is asked for LOCALAPPDATA.
    monkeypatch.setattr("platformdirs.windows.get_win_folder", lambda name: "/local")
    for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(platformdirs, "PlatformDirs", platform)
    assert data_folder() == Path(data.format(home=tmp_path))
    assert cache_folder() == Path(cache.format(home=tmp_path))
    assert not list(tmp_path.iterdir())


def test_there_is_no_folder_without_a_home(homeless):
    for folder in (data_folder, cache_folder):
        with pytest.raises(RuntimeError, match="home"):
            folder()
