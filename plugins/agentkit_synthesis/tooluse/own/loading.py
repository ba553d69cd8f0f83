"""The user's tools: of a module, of a .py file, of an installed plugin, or installed ones by name.

    my_module · my_module:add,subtract · tools/mine.py · tools/mine.py:add · calculator · calculator,read_file · basics

Guarantees: what cannot be used is an error or a skip with its reason, and names the thing; nothing is run but the module itself.
"""

from __future__ import annotations

import difflib
import hashlib
import inspect
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from agentkit import config
from agentkit.errors import ExtensionError, InvalidParams, ToolError
from agentkit.extensions import in_time, installed, load_plugins
from agentkit.extensions import load_tools as installed_tools
from agentkit.protocols import Tool
from agentkit.tools import as_tool
from agentkit.types import Effect

__all__ = ["Loaded", "load", "runnable"]

IMPORT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """Tools, and what was not taken.

    Attributes:
        tools: in the order of the module, or as named.
        skipped: `name: why`.
        sha256: of the file they come from; empty for installed ones.
    """

    tools: tuple[Tool, ...]
    skipped: tuple[str, ...] = ()
    sha256: str = ""

    def named(self, names: Sequence[str]) -> tuple[Tool, ...]:
        """Return those of these names, in order."""
        known = {tool.name: tool for tool in self.tools}
        return tuple(known[name] for name in names)


@cache
def load(source: str) -> Loaded:
    """Return the tools that a text names.

    Args:
        source: a module or file, with `:name,...` for some of its tools; or names of installed tools, or of a plugin.

    Raises:
        InvalidParams: there is no such thing, it does not import, it has no tools, or not those that are named.
    """
    place, _, some = source.partition(":")
    names = [name.strip() for name in some.split(",") if name.strip()]
    path = Path(place).expanduser()
    if place.endswith(".py") or path.is_file():
        return _of_module(_from_file(path), str(path), names)
    if not some:
        found = _installed(place)
        if found:
            return Loaded(tools=found)
    return _of_module(_imported(place), place, names)


def runnable(tool: Tool, *, allow_effects: bool) -> str:
    """Return how the tool may be tried: `run`, `predict`, or nothing where it may not be.

    A tool that is pure or only reads is run; of others the dry run, where they have one; with `allow_effects` all are run.
    """
    if allow_effects or tool.spec.rules.effect in (Effect.PURE, Effect.READ):
        return "run"
    return "predict" if tool.predict is not None else ""


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise InvalidParams(f"/source: there is no file {path}; give a .py file with tools in it")
    name = f"agentkit_own_{hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = spec_from_file_location(name, path.absolute())
    if spec is None or spec.loader is None:
        raise InvalidParams(f"/source: {path} is no Python file; give a .py file with tools in it")
    module = module_from_spec(spec)
    sys.modules[name] = module  # its types are looked up there
    try:
        in_time(partial(spec.loader.exec_module, module), IMPORT_S, f"/source: {path} does not import")
    except ExtensionError as error:
        del sys.modules[name]
        raise InvalidParams(f"{error}; mend it") from error
    return module


def _imported(name: str) -> ModuleType:
    try:
        known = find_spec(name) is not None
    except (ImportError, ValueError):
        known = False
    if not known:
        near = difflib.get_close_matches(name, [*_all_installed(), *installed("agentkit.plugins")], 1, 0.6)
        hint = (
            f"; did you mean '{near[0]}'?" if near else "; give a module, a .py file, or the name of an installed tool"
        )
        raise InvalidParams(f"/source: there is no module, plugin or installed tool called '{name}'{hint}")
    try:
        module: ModuleType = in_time(partial(import_module, name), IMPORT_S, f"/source: {name} does not import")
    except ExtensionError as error:
        raise InvalidParams(f"{error}; mend it") from error
    return module


def _installed(text: str) -> tuple[Tool, ...]:
    """Return installed tools by their names or their plugin's; nothing where a name is not of one."""
    known = _all_installed()
    names = [name.strip() for name in text.split(",") if name.strip()]
    if names and all(name in known for name in names):
        return tuple(known[name] for name in names)
    if text in installed("agentkit.plugins"):
        plugins, _ = load_plugins(config.load().settings.extensions)
        return (
            tuple(known[tool.name] for tool in plugins[text].tools() if tool.name in known) if text in plugins else ()
        )
    return ()


def _all_installed() -> dict[str, Tool]:
    tools, _ = installed_tools(config.load().settings)
    return {tool.name: tool for tool in tools}


def _of_module(module: ModuleType, place: str, names: Sequence[str]) -> Loaded:
    tools: dict[str, Tool] = {}
    skipped: dict[str, str] = {}
    for name, thing in vars(module).items():
        if not _may_be(name, thing, module):
            continue
        try:
            tool = as_tool(thing)
            tools.setdefault(tool.name, tool)
        except ToolError as error:
            skipped[name] = str(error)
    for name in names:
        if name in tools:
            continue
        if name in skipped:
            raise InvalidParams(f"/source: {skipped[name]}")
        near = difflib.get_close_matches(name, tools, 1, 0.5)
        there = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(tools) or 'none'}"
        raise InvalidParams(f"/source: {place} has no tool '{name}'; {there}")
    if not tools:
        why = f" ({'; '.join(skipped.values())})" if skipped else ""
        raise InvalidParams(
            f"/source: {place} has no tools{why}; it needs @tool functions, typed functions with docstrings, or LangChain tools"
        )
    file = Path(module.__file__) if module.__file__ else None
    chosen = tuple(tools[name] for name in names) if names else tuple(tools.values())
    told = () if names else tuple(f"{name}: {why}" for name, why in skipped.items())
    return Loaded(tools=chosen, skipped=told, sha256=hashlib.sha256(file.read_bytes()).hexdigest() if file else "")


def _may_be(name: str, thing: Any, module: ModuleType) -> bool:
    """Whether a name of a module may be meant as a tool: one declared so, or a function of the module itself."""
    if name.startswith("_"):
        return False
    if isinstance(thing, Tool):
        return True
    langchain = sys.modules.get("langchain_core.tools")
    if langchain is not None and isinstance(thing, langchain.BaseTool):
        return True
    return inspect.isfunction(thing) and thing.__module__ == module.__name__
