"""One idea per file, one screen per function."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

MODULE_LINES = 400
FUNCTION_LINES = 50

# Name -> lines. This list may only shrink: an entry that is no longer needed fails the test.
EXCEPTIONS: dict[str, int] = {}


def sizes(root: Path, modules: dict[str, Path]) -> Iterator[tuple[str, int, int]]:
    """Yield a name, its lines and how many it may have."""
    beside = {
        path.relative_to(root).as_posix(): path
        for folder in ("scripts", "examples", "benchmarks")
        for path in root.joinpath(folder).rglob("*.py")
    }
    for name, path in (modules | beside).items():
        text = path.read_text(encoding="utf-8")
        yield name, len(text.splitlines()), MODULE_LINES
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                yield f"{name}:{node.name}", node.end_lineno - node.lineno + 1, FUNCTION_LINES


def test_nothing_is_too_long(root: Path, modules: dict[str, Path]) -> None:
    too_long = {name: lines for name, lines, limit in sizes(root, modules) if lines > EXCEPTIONS.get(name, limit)}
    assert too_long == {}


def test_every_exception_is_needed(root: Path, modules: dict[str, Path]) -> None:
    needed = {name: lines for name, lines, limit in sizes(root, modules) if lines > limit}
    assert {name: needed.get(name) for name in EXCEPTIONS} == EXCEPTIONS
