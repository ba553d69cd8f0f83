"""Really calling a tool: in limited time, whatever it does; in a temporary folder where it may change something.

Guarantees: a result never holds that folder's name, so it is the same wherever it is made; a tool that hangs is named.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from agentkit.errors import JobError
from agentkit.protocols import Tool, ToolContext
from agentkit.tools import Limits, run_call
from agentkit.types import Done, Failed, Outcome, ToolCall, ToolSpec, Trust
from agentkit_synthesis.tooluse.world import Given

__all__ = ["Bench"]

PATIENCE = 2  # calls of a tool that may hang in one process
SHOWN = 2_000  # characters of a result
_hung: Counter[str] = Counter()


class Bench:
    """Where tools are called one after another.

    Apart, that is a temporary folder: the current one while it is open, and gone afterwards. Else it is the current folder.
    """

    def __init__(self, tools: Sequence[Tool], how: Mapping[str, str], *, timeout_s: float, apart: bool) -> None:
        """Keep the tools.

        Args:
            tools: that may be called.
            how: tool's name -> `run` or `predict`.
            timeout_s: of one call.
            apart: in a temporary folder.
        """
        self._tools = {tool.name: _as(tool, how[tool.name]) for tool in tools}
        self._timeout_s, self._apart = timeout_s, apart
        self._folder = Path.cwd()

    @property
    def specs(self) -> Sequence[ToolSpec]:
        """The tools as models see them."""
        return [tool.spec for tool in self._tools.values()]

    @property
    def trusted(self) -> frozenset[str]:
        """Names of the tools whose results are their own words, not a stranger's."""
        return frozenset(name for name, tool in self._tools.items() if tool.spec.rules.trust is Trust.TRUSTED)

    @contextlib.contextmanager
    def open(self) -> Iterator[Bench]:
        """Make the folder and go there, if it is apart."""
        if not self._apart:
            yield self
            return
        with tempfile.TemporaryDirectory(prefix="agentkit-tools-") as folder, contextlib.chdir(folder):
            self._folder = Path(folder)
            yield self

    def call(self, name: str, arguments: Mapping[str, Any]) -> Given:
        """Call a tool.

        Raises:
            JobError: it hangs, for the last time that is borne.
        """
        tool = self._tools[name]
        if _hung[name] >= PATIENCE:
            raise JobError(
                f"'{name}' hangs: {PATIENCE} calls were not done within {self._timeout_s:g} s; leave it out, or give it more with --timeout-s"
            )
        call = ToolCall(id="1", tool=name, arguments=dict(arguments))
        outcome = run_call(tool, call, self._context(), limits=Limits(timeout_s=self._timeout_s, grace_s=0.1))
        if isinstance(outcome, Failed) and outcome.kind == "timeout":
            _hung[name] += 1
        return _given(outcome, str(self._folder) if self._apart else "")

    def _context(self) -> ToolContext:
        def nested(name: str, arguments: Mapping[str, Any]) -> Outcome:
            return Failed(text=f"'{name}' cannot be called from here", kind="unknown_tool")

        return ToolContext(
            run_id="synth",
            effect_id="synth",
            workspace=self._folder,
            cancel=threading.Event(),
            deadline=None,
            emit=lambda kind, data: None,
            call=nested,
            settings={},
        )


def _as(tool: Tool, how: str) -> Tool:
    return replace(tool, run=tool.predict) if how == "predict" and tool.predict is not None else tool


def _given(outcome: Outcome, folder: str) -> Given:
    if isinstance(outcome, Done):
        text = (
            outcome.text if outcome.text.strip() else json.dumps(outcome.data) if outcome.data is not None else "done"
        )
        return Given(_clean(text, folder))
    if isinstance(outcome, Failed):
        return Given(_clean(f"Error: {outcome.text}", folder), ok=False)
    return Given("Error: it gives its result later, which a row cannot show", ok=False)


def _clean(text: str, folder: str) -> str:
    text = text.replace(str(Path(folder).resolve()), ".").replace(folder, ".") if folder else text
    text = text.strip()
    return text if len(text) <= SHOWN else f"{text[:SHOWN]} …"
