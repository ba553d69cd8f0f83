"""What `from agentkit import …` offers: a short list, written down once, and true."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import agentkit


def test_there_are_at_most_twenty_names_in_order() -> None:
    assert list(agentkit.__all__) == sorted(agentkit.__all__)
    assert len(agentkit.__all__) <= 20


@pytest.mark.parametrize("name", agentkit.__all__)
def test_name_is_there(name: str) -> None:
    assert getattr(agentkit, name).__doc__


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(str(agentkit.__file__)).read_text(encoding="utf-8"))
    branch = next(node for node in tree.body if isinstance(node, ast.If))
    seen = [alias.name for node in branch.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert sorted(seen) == list(agentkit.__all__)


def test_nothing_else_is_offered() -> None:
    assert dir(agentkit) == list(agentkit.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Manager'"):
        _ = agentkit.Manager


def test_version_is_the_distribution_s() -> None:
    assert agentkit.__version__.count(".") == 2
