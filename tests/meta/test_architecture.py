"""Who may import whom. The tables are the architecture; change them on purpose, with a reason."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

# A module imports its own subtree and the lines below it. Names on one line are strangers.
LAYERS = """
    cli
    testing
    agent middleware
    approvals  runs job_tools
    graph
    engine models tools guards policy prompts store jobs
    messages aio schema literals trust
    extensions media
    config events
    settings_file fetching
    protocols
    types
    errors failpoints spoken_numbers addresses clauses
"""
RANK = {f"agentkit.{name}": n for n, line in enumerate(LAYERS.split("\n")) for name in line.split()}

# Strangers that may: an engine is opened by the name of a model.
ACQUAINTED = {("agentkit.engine", "agentkit.models")}

# Third-party packages and the only modules that may import them.
PLUGINS = ("agentkit_training", "agentkit_synthesis", "agentkit_vision")
DOORS = {
    "langgraph": (
        "agentkit.graph",
        "agentkit.store",
        "agentkit.agent",
        "agentkit.guards.middleware",
    ),  # the last for types
    "llama_cpp": ("agentkit.engine.llama",),
    "torch": PLUGINS,
    "transformers": PLUGINS,
    "trl": PLUGINS,
    "peft": PLUGINS,
    "diffusers": PLUGINS,
}
# Importing these takes most of a second, so here they are imported inside a function only.
LATE = {("agentkit.agent", "langgraph"), ("agentkit.agent", "agentkit.graph"), ("agentkit.runs", "agentkit.graph")}

# What extensions and examples may use of the core.
PUBLIC = {
    "agentkit",
    "agentkit.cli.output",  # for commands: one form of tables and of JSON
    "agentkit.cli.job_command",  # commands that run a job
    "agentkit.cli.progress",  # and one way of staying with it
    "agentkit.config",
    "agentkit.engine",
    "agentkit.engine.dialects",
    "agentkit.engine.llama.library",  # llama.cpp itself, with its log where it belongs
    "agentkit.engine.dialects.plain",
    "agentkit.engine.dialects.plain_template",
    "agentkit.errors",
    "agentkit.events",
    "agentkit.extensions",
    "agentkit.failpoints",
    "agentkit.fetching",
    "agentkit.guards",
    "agentkit.guards.middleware",
    "agentkit.job_tools",
    "agentkit.jobs",
    "agentkit.jobs.params",
    "agentkit.jobs.texts",
    "agentkit.media",
    "agentkit.messages",
    "agentkit.models",
    "agentkit.models.machine",
    "agentkit.prompts",
    "agentkit.protocols",
    "agentkit.schema",
    "agentkit.testing",
    "agentkit.tools",
    "agentkit.types",
}


@dataclass(frozen=True)
class Import:
    """One imported name: `from module import name`, or `import module`."""

    module: str
    name: str
    late: bool  # inside a function

    @property
    def dotted(self) -> str:
        """The module and the name."""
        return f"{self.module}.{self.name}" if self.name else self.module


def imports(path: Path) -> Iterator[Import]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    inside = {id(node) for function in functions for node in ast.walk(function)}
    for node in ast.walk(tree):
        late = id(node) in inside
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, "", late) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            yield from (Import(node.module or "", alias.name, late) for alias in node.names)


def layer(dotted: str) -> str | None:
    name = ".".join(dotted.split(".")[:2])
    return name if name in RANK else None


def is_under(dotted: str, parents: tuple[str, ...]) -> bool:
    return any(f"{dotted}.".startswith(f"{parent}.") for parent in parents)


def is_public(found: Import) -> bool:
    """Return whether an extension may write this import."""
    if found.module not in PUBLIC:
        return False
    return not found.name.startswith("_") and (
        found.module != "agentkit" or found.dotted in PUBLIC or not layer(found.dotted)
    )


def core_violations(module: str, found: Import) -> Iterator[str]:
    mine, theirs = layer(module), layer(found.dotted)
    if mine and theirs and mine != theirs and RANK[theirs] <= RANK[mine] and (mine, theirs) not in ACQUAINTED:
        yield f"{module} imports {found.dotted}, which is not below it"
    if found.module.split(".")[0].startswith("agentkit_"):
        yield f"{module} imports {found.dotted}: extensions are reached by entry point only"
    for owner, target in LATE:
        if module == owner and is_under(found.dotted, (target,)) and not found.late:
            yield f"{module} imports {found.dotted} at the top; it is slow, so import it where it is needed"


def extension_violations(module: str, found: Import) -> Iterator[str]:
    package, other = module.split(".")[0], found.module.split(".")[0]
    if other.startswith("agentkit_") and other != package:
        yield f"{module} imports {found.dotted}: extensions are reached by entry point only"
    if other == "agentkit" and not is_public(found):
        yield f"{module} imports {found.dotted}, which is not one of agentkit's public names"


def door_violations(module: str, found: Import) -> Iterator[str]:
    other = found.module.split(".")[0]
    if other in DOORS and not is_under(module, DOORS[other]):
        yield f"{module} imports {other}; only {' and '.join(DOORS[other])} may"


def violations(modules: dict[str, Path]) -> Iterator[str]:
    for module, path in modules.items():
        rules = core_violations if is_under(module, ("agentkit",)) else extension_violations
        for found in imports(path):
            yield from rules(module, found)
            yield from door_violations(module, found)


def test_imports_follow_the_tables(modules: dict[str, Path]) -> None:
    assert sorted(set(violations(modules))) == []


def test_every_core_module_has_a_layer(modules: dict[str, Path]) -> None:
    core = {module for module in modules if module.startswith("agentkit.")}
    assert [name for name in sorted(core) if not layer(name) and name != "agentkit.__main__"] == []


def test_every_line_of_the_tables_is_in_use(modules: dict[str, Path]) -> None:
    assert sorted(name for name in set(RANK) | PUBLIC if name not in modules) == []


def test_examples_use_public_names_only(root: Path) -> None:
    found = [
        f"{path.name}: {item.dotted}"
        for path in sorted(root.glob("examples/*.py"))
        for item in imports(path)
        if item.module.split(".")[0].startswith("agentkit") and not is_public(item)
    ]
    assert found == []


PLANTED = {
    "agentkit.types": ("from agentkit.config import load", "not below"),
    "agentkit.tools.x": ("from agentkit.store import open_store", "not below"),
    "agentkit.graph.x": ("import agentkit_basics", "entry point only"),
    "agentkit.agent": ("from langgraph.types import Command", "at the top"),
    "agentkit.cli.x": ("import llama_cpp", "only agentkit.engine.llama"),
    "agentkit.models.x": ("import torch.nn", "only agentkit_training"),
    "agentkit_training.x": ("from agentkit_synthesis import plugin", "entry point only"),
    "agentkit_basics.x": ("from agentkit.graph import build", "public names"),
    "agentkit_basics.y": ("from agentkit.tools import _hidden", "public names"),
    "agentkit_basics.z": ("from agentkit import store", "public names"),
}


@pytest.mark.parametrize("module", PLANTED)
def test_planted_violation_is_found(module: str, tmp_path: Path) -> None:
    line, complaint = PLANTED[module]
    path = tmp_path / "planted.py"
    path.write_text(line, encoding="utf-8")
    assert [complaint in found for found in violations({module: path})] == [True]


def test_what_is_allowed_is_not_complained_about(tmp_path: Path) -> None:
    path = tmp_path / "allowed.py"
    path.write_text("from agentkit import Agent, tool\nfrom agentkit.testing import ScriptedEngine\n", encoding="utf-8")
    assert list(violations({"agentkit_basics.x": path})) == []
    path.write_text("from agentkit.models import resolve\n", encoding="utf-8")
    assert list(violations({"agentkit.engine": path})) == []
