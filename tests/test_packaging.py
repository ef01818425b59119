"""What the package asks for can be installed wherever jaxlib can."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

packaging = pytest.importorskip("packaging.requirements", reason="packaging is not installed")

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
# Where there are wheels of jaxlib, and the Intel Macs that it had until 0.4.38.
PLATFORMS = {
    "Linux": ("linux", "posix", "x86_64"),
    "Linux on ARM": ("linux", "posix", "aarch64"),
    "macOS": ("darwin", "posix", "arm64"),
    "macOS on Intel": ("darwin", "posix", "x86_64"),
    "Windows": ("win32", "nt", "AMD64"),
}
# On PyPI in November 2026, for Python 3.11 to 3.13: what has no wheel there, nor ever a source that
# builds by itself. `uv pip compile --python-platform ... --only-binary :all:` tells.
ABSENT = {
    "Windows": {"jax[cuda12]", "jax[cuda13]", "jax[tpu]"},
    "macOS": {"jax[cuda12]", "jax[cuda13]", "jax[tpu]"},
    "macOS on Intel": {"grain", "jax[cuda12]", "jax[cuda13]", "jax[tpu]"},
}
# Its source needs the network, and what newer tools have not.
NOWHERE = {"crepe"}


def wanted(extra, platform):
    """What an extra installs on a platform, other extras of the package included."""
    system, name, machine = PLATFORMS[platform]
    environment = {
        "sys_platform": system,
        "os_name": name,
        "platform_machine": machine,
        "platform_system": {"linux": "Linux", "darwin": "Darwin", "win32": "Windows"}[system],
        "python_version": "3.13",
        "extra": "",
    }
    found = set()
    for line in EXTRAS[extra]:
        requirement = packaging.Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate(environment):
            continue
        if requirement.name == "ddspx":
            found |= {name for other in requirement.extras for name in wanted(other, platform)}
        else:
            extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
            found.add(requirement.name + extras)
    return found


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("extra", EXTRAS)
def test_every_extra_installs_wherever_jaxlib_does(extra, platform):
    assert not wanted(extra, platform) & (ABSENT.get(platform, set()) | NOWHERE)


def test_no_package_is_left_out_on_a_platform_that_has_it():
    assert wanted("train", "Linux") == {"grain", "tensorboardX"}
    assert wanted("train", "Linux on ARM") == wanted("train", "macOS") == wanted("train", "Linux")
    assert wanted("train", "Windows") == wanted("train", "Linux")
    assert wanted("train", "macOS on Intel") == {"tensorboardX"}
    assert wanted("cuda12", "Linux") == {"jax[cuda12]"}
    assert wanted("plot", "Linux") == {"matplotlib", "librosa"} <= wanted("app", "Linux")
    assert "librosa" in wanted("test", "Windows")


# What is imported under another name than it is installed by, and what others bring with them.
IMPORTED_AS = {"orbax-checkpoint": "orbax"}
BROUGHT = {"etils": "orbax", "fastapi": "gradio", "uvicorn": "gradio", "h11": "gradio"}


def test_the_base_is_what_the_package_imports():
    """All that is imported is in the base or in an extra, and all of the base is imported."""
    root = Path(__file__).parents[1] / "ddspx"
    nodes = [node for path in root.rglob("*.py") for node in ast.walk(ast.parse(path.read_text()))]
    modules = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    modules |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    imported = {module.partition(".")[0] for module in modules}
    imported -= {"ddspx", *sys.stdlib_module_names, *BROUGHT}
    names = [packaging.Requirement(line).name for line in PROJECT["dependencies"]]
    base = {IMPORTED_AS.get(name, name) for name in names} - {"jaxlib"}
    assert base <= imported and not base & {"librosa", "numba", "matplotlib"}
    extras = {name for extra in ("plot", "train", "h5", "app") for name in wanted(extra, "Linux")}
    assert imported - base <= extras


def test_every_extra_that_a_document_or_a_message_names_exists():
    root = Path(__file__).parents[1]
    texts = [*root.rglob("*.md"), *(root / "ddspx").rglob("*.py"), *root.glob("colab/*.py")]
    named = {
        extra
        for path in texts
        for found in re.findall(r"ddspx\[([a-z0-9,]+)\]|extras? `([a-z0-9]+)`", path.read_text())
        for extra in "".join(found).split(",")
    }
    assert named <= set(EXTRAS) and {"train", "plot", "app", "h5"} <= named
