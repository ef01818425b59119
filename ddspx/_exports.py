"""Public names of packages: imported at their first use (PEP 562), and listed in `__all__`.

So a command that needs no arrays, such as the list of instruments, starts without loading jax.
"""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

from ddspx._explain import answering


def lazy(
    package: str, *parts: str, elsewhere: Mapping[str, str] | None = None, **names: str
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of a package that imports its names on first use.

    Args:
      package: name of the package.
      parts: submodules that are public themselves.
      elsewhere: names that other libraries use, and for each what the error says.
      names: for each private module, the public names that it defines, separated by spaces.

    Returns:
      `__getattr__`, `__dir__` and `__all__`. Assign them in the ``else`` of ``if TYPE_CHECKING``,
      whose other branch holds plain imports for type checkers.
    """
    module_of = {name: module for module, listed in names.items() for name in listed.split()}
    public = sorted({*module_of, *parts})

    def get(name: str) -> Any:
        if name in parts:
            return import_module(f"{package}.{name}")
        module = sys.modules[package]
        if name in module_of:
            value = getattr(import_module(f"{package}.{module_of[name]}"), name)
            value = answering(value, package, name)
            setattr(module, name, value)
            return value
        explanation = (elsewhere or {}).get(name)
        raise AttributeError(
            f"{package} has no {name!r}: {explanation}."
            if explanation
            else f"{package} has no {name!r}; it has {', '.join(public)}.",
            name=name,
            obj=module,
        )

    def names_of() -> list[str]:
        return sorted({*vars(sys.modules[package]), *public})

    return get, names_of, public


def public_names(namespace: Mapping[str, Any]) -> list[str]:
    """`__all__` of a package that imports its contents at once: public names except of modules."""
    return sorted(
        name
        for name, value in namespace.items()
        if not (name.startswith("_") or isinstance(value, ModuleType))
    )
