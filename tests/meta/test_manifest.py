"""A folder that is not in pyproject.toml is not in the wheel. Catch it here, not after a release."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

SOURCE_FOLDERS = ("planners", "plugins", "prompts")


@pytest.fixture
def listed(pyproject: dict[str, Any]) -> set[str]:
    """The packages that go into the wheel."""
    return set(pyproject["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])


def test_every_package_folder_is_listed(root: Path, listed: set[str]) -> None:
    on_disk = {
        init.parent.relative_to(root).as_posix()
        for folder in (".", *SOURCE_FOLDERS)
        for init in root.joinpath(folder).glob("agentkit*/__init__.py")
    }
    assert on_disk == listed


def test_every_plugin_has_an_entry_point(pyproject: dict[str, Any], listed: set[str]) -> None:
    offered = {target.partition(":")[0] for target in pyproject["project"]["entry-points"]["agentkit.plugins"].values()}
    assert offered == {Path(path).name for path in listed if path.startswith("plugins/")}


def test_every_entry_point_leads_to_a_module(pyproject: dict[str, Any], modules: dict[str, Path]) -> None:
    targets = {
        target.partition(":")[0] for group in pyproject["project"]["entry-points"].values() for target in group.values()
    }
    assert targets <= set(modules)


def test_source_folders_are_not_packages(root: Path) -> None:
    assert [name for name in (*SOURCE_FOLDERS, "tests") if root.joinpath(name, "__init__.py").exists()] == []


def test_gitignore_drops_nothing_from_the_wheel(root: Path) -> None:
    # hatchling honours .gitignore, so an unanchored `models/` or `*.md` there would lose files of the package.
    lines = [line for line in (root / ".gitignore").read_text(encoding="utf-8").split() if not line.startswith("#")]
    assert [line for line in lines if not line.startswith("/")] == ["__pycache__/", "*.egg-info/"]


def test_constraints_name_what_pyproject_pins(root: Path, pyproject: dict[str, Any]) -> None:
    lines = (root / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert [pin for pin in pins if "==" not in pin] == []
    exact = [item for item in pyproject["project"]["dependencies"] if "==" in item]
    assert {"llama-cpp-python==0.3.36"} == set(exact)
    assert set(exact) <= set(pins)
    assert "torch==2.13.0" in pins
