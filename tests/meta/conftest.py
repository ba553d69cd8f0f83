"""What the tests about the code itself read: the checkout, its pyproject and its modules."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SOURCE_ROOTS = (ROOT, ROOT / "planners", ROOT / "plugins", ROOT / "prompts")


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def pyproject() -> dict[str, Any]:
    """`pyproject.toml`, parsed."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def modules() -> dict[str, Path]:
    """Every module that the wheel will hold, by dotted name."""
    found: dict[str, Path] = {}
    for source in SOURCE_ROOTS:
        for init in sorted(source.glob("agentkit*/__init__.py")):
            for path in sorted(init.parent.rglob("*.py")):
                dotted = ".".join(path.relative_to(source).with_suffix("").parts)
                found[dotted.removesuffix(".__init__")] = path
    return found
