"""Every third-party import is declared where it is needed, and nothing is declared for nothing."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from importlib.metadata import distribution, packages_distributions
from pathlib import Path
from typing import Any

import pytest

# The extras that bring what a package needs beyond the base dependencies.
EXTRAS = {
    "agentkit.testing": "testing",
    "agentkit.store.postgres": "postgres",
    "agentkit_training": "train",
    "agentkit_synthesis": "synth",
    "agentkit_vision": "vision",
}

# What Python brings, and what type checkers alone know.
KNOWN = sys.stdlib_module_names | {"_typeshed"}

# Declared, and not imported by name anywhere in the source roots; with the reason.
WITHOUT_IMPORT: dict[str, str] = {}  # name -> why it is declared all the same


def extra_of(module: str) -> str:
    return next((extra for home, extra in EXTRAS.items() if f"{module}.".startswith(f"{home}.")), "")


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(pyproject: dict[str, Any], extra: str = "") -> set[str]:
    """Return the distributions that a plain install brings, with those of `extra`."""
    project = pyproject["project"]
    lines = [*project["dependencies"], *project["optional-dependencies"].get(extra, ())]
    return {normal(re.split(r"[\s\[<>=!~;]", line)[0]) for line in lines}


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.fixture(scope="session")
def installed() -> dict[str, list[str]]:
    """Top-level names and the distributions that bring them."""
    return {name: sorted(set(found)) for name, found in packages_distributions().items()}  # type: ignore[arg-type]


def owners(dotted: str, installed: dict[str, list[str]]) -> set[str]:
    """Return the distributions that bring a module; several share the `langgraph` namespace."""
    found = installed.get(dotted.split(".")[0], [])
    if len(found) > 1:
        parts = dotted.split(".")
        for length in range(len(parts), 1, -1):
            path = "/".join(parts[:length])
            narrow = [name for name in found if brings(name, path)]
            if narrow:
                return {normal(name) for name in narrow}
    return {normal(name) for name in found}


def brings(name: str, path: str) -> bool:
    return any(str(file).startswith((f"{path}/", f"{path}.py")) for file in distribution(name).files or ())


def third_party(modules: dict[str, Path]) -> Iterator[tuple[str, str]]:
    for module, path in modules.items():
        for dotted in imported(path):
            top = dotted.split(".")[0]
            if top not in KNOWN and top != "agentkit" and not top.startswith("agentkit_"):
                yield module, dotted


def test_every_import_is_declared(
    modules: dict[str, Path], pyproject: dict[str, Any], installed: dict[str, list[str]]
) -> None:
    missing = set()
    for module, dotted in third_party(modules):
        known = declared(pyproject, extra_of(module))
        if not owners(dotted, installed) & known:
            missing.add(f"{module} imports {dotted} ({', '.join(owners(dotted, installed)) or 'not installed'})")
    assert sorted(missing) == []


def test_every_base_dependency_is_imported(
    modules: dict[str, Path], pyproject: dict[str, Any], installed: dict[str, list[str]]
) -> None:
    used = {owner for _, dotted in third_party(modules) for owner in owners(dotted, installed)}
    assert sorted(declared(pyproject) - used) == sorted(WITHOUT_IMPORT)


@pytest.mark.parametrize("home", list(EXTRAS))
def test_every_dependency_of_an_extra_is_imported_in_its_home(
    home: str, modules: dict[str, Path], pyproject: dict[str, Any], installed: dict[str, list[str]]
) -> None:
    used = {
        owner
        for module, dotted in third_party(modules)
        if f"{module}.".startswith(f"{home}.")
        for owner in owners(dotted, installed)
    }
    assert sorted(declared(pyproject, EXTRAS[home]) - declared(pyproject) - used) == []
