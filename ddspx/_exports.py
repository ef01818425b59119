"""What packages give: names that are imported at their first use (PEP 562), and lists of names.

What needs no jax, such as a wrong option or the list of instruments, is answered without it.
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
    """`__getattr__`, `__dir__` and `__all__` of a package whose names are imported at their use.

    Args:
      package: its name.
      parts: modules of it that it gives as they are.
      elsewhere: names that others give to what ddspx has, and what to say of each.
      names: for each module of it, the names from there that it gives, with spaces between them.

    Returns:
      The three, to be assigned where no type checker looks, which reads imports in place of them.
    """
    home = {name: module for module, given in names.items() for name in given.split()}
    public = sorted({*home, *parts})

    def get(name: str) -> Any:
        if name in parts:
            return import_module(f"{package}.{name}")
        module = sys.modules[package]
        if name in home:
            value = getattr(import_module(f"{package}.{home[name]}"), name)
            value = answering(value, package, name)
            setattr(module, name, value)
            return value
        said = (elsewhere or {}).get(name)
        raise AttributeError(
            f"{package} has no {name!r}: {said}."
            if said
            else f"{package} has no {name!r}; it has {', '.join(public)}.",
            name=name,
            obj=module,
        )

    def names_of() -> list[str]:
        return sorted({*vars(sys.modules[package]), *public})

    return get, names_of, public


def given(namespace: Mapping[str, Any]) -> list[str]:
    """`__all__` of a package that imports what it gives at once: its names but those of modules."""
    return sorted(
        name
        for name, value in namespace.items()
        if not (name.startswith("_") or isinstance(value, ModuleType))
    )
