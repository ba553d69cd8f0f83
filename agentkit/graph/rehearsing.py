"""What a step would come to, found without causing anything: act and observe on a copy of the run's state.

Calls that only look are made, and what they give is kept for the same call; calls that write are made in a copy of the
workspace; others are predicted by their tool, or not made. Policy is asked about every one as it would be for real.
Guards see each way of a search as they would see a run that went it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from langchain_core.messages import AnyMessage
from langgraph.graph.message import add_messages

from agentkit.graph import effects, guarding, observing, subruns
from agentkit.graph.context import RunContext, unheard
from agentkit.graph.forking import Forks
from agentkit.graph.keys import call_key
from agentkit.graph.state import CallState, RunState, new_call, numbered
from agentkit.messages import is_tainted, own_words, step_message
from agentkit.policy import Allow
from agentkit.protocols import Tool, ToolContext
from agentkit.tools import run_call
from agentkit.tools.outcomes import to_dict
from agentkit.tools.run import resolved
from agentkit.types import Effect, Failed, Outcome, Step, ToolCall

_ORDER = tuple(Effect)
RESULTS = "results"  # the folder of long results
ALONE = Failed(text="a tool cannot call others while somebody only looks ahead", kind="denied")


@dataclass(slots=True)
class Rehearsal:
    """Tries steps on states of one run."""

    context: RunContext
    forks: Forks = field(default_factory=Forks)
    _known: dict[tuple[str, Path], Outcome] = field(default_factory=dict)

    def effect(self, step: Step, state: RunState, workspace: Path) -> Effect:
        """Return the worst effect of a step's calls, as `SearchProblem.effect` has it."""
        worst = [self._effect(call, state, workspace) for call in step.calls]
        return max(worst, key=_ORDER.index, default=Effect.PURE)

    def after(self, step: Step, state: RunState, workspace: Path, *, predict: bool) -> RunState | None:
        """Return the state after a step of calls; None where one of them can be neither made nor predicted here."""
        step = numbered(step, state["turn"] + 1)
        spent = {**state["spent"], "model_calls": state["spent"].get("model_calls", 0) + 1}
        calls = [new_call(call) for call in step.calls]
        messages = _added(state["messages"], [step_message(step)])
        begun = RunState(**{**state, "turn": state["turn"] + 1, "messages": messages, "calls": calls, "spent": spent})
        held = guarding.held_back(begun, self.context)
        done: list[CallState] = []
        for item, refusal in zip(calls, held, strict=True):
            outcome = refusal or self._outcome(item, begun, workspace, predict=predict)
            if outcome is None:
                return None
            done.append({**item, "verdict": "allow", "outcome": to_dict(outcome)})
        return self._observed(RunState(**{**begun, "calls": done}))

    def _observed(self, state: RunState) -> RunState:
        """Return the state once results are recorded and the guards have said what they say."""
        quiet = self._quiet()
        change = observing.record(state, quiet)
        spent = state["spent"]
        spent = {**spent, "tool_calls": spent.get("tool_calls", 0) + len(state["calls"])}
        verdict = guarding.judged(change["history"], spent, quiet)
        change |= {"spent": spent, "calls": [], **guarding.obey(verdict, state, change, quiet)}
        after: dict[str, Any] = {**state, **change, "messages": _added(state["messages"], change["messages"])}
        return cast("RunState", after)

    def _quiet(self) -> RunContext:
        """Return the context of a run that nobody hears of, and whose long results go to files of a moment."""
        return replace(self.context, emit=unheard, files=self.forks.folder() / RESULTS)

    def _effect(self, call: ToolCall, state: RunState, workspace: Path) -> Effect:
        tool = self.context.tools.get(call.tool)
        if tool is None:
            return Effect.PURE  # it is refused, which harms nobody
        given = resolved(tool, call.arguments, _results(state))
        if isinstance(given, Failed):
            return Effect.PURE
        rules = tool.spec.rules
        may = self._allowed(tool, replace(call, arguments=given), state)
        if not may or rules.egress or rules.cost or subruns.is_delegate(tool):
            return Effect.IRREVERSIBLE
        return Effect.IRREVERSIBLE if rules.effect is Effect.WRITE and not rules.fork else rules.effect

    def _allowed(self, tool: Tool, call: ToolCall, state: RunState) -> bool:
        """Whether policy lets the call run without a person."""
        messages = state["messages"]
        own = [text for message in messages for text in own_words(message)]
        tainted = is_tainted(messages)
        verdict = self.context.policy.decide(tool.spec, call, untrusted_in_context=tainted, trusted_texts=own)
        return isinstance(verdict, Allow)

    def _outcome(self, item: CallState, state: RunState, workspace: Path, *, predict: bool) -> Outcome | None:
        call = ToolCall(id=item["id"], tool=item["tool"], arguments=item["arguments"])
        tool = self.context.tools.get(call.tool)
        if tool is None:
            return Failed(text=f"there is no tool '{call.tool}'", kind="unknown_tool")
        given = resolved(tool, call.arguments, _results(state))
        if isinstance(given, Failed):
            return Failed(text=f"{call.tool}: {given.text}", kind=given.kind)
        effect = self._effect(call, state, workspace)
        if effect in (Effect.PURE, Effect.READ):
            return self._looked(tool, call, given, state, workspace)
        if not predict and effect is Effect.WRITE:
            return run_call(tool, call, self._tool_context(tool, state, workspace))
        if (
            tool.predict is None
            or tool.spec.rules.egress
            or not self._allowed(tool, replace(call, arguments=given), state)
        ):
            return None
        return tool.predict(given, self._tool_context(tool, state, workspace))

    def _looked(
        self, tool: Tool, call: ToolCall, given: Mapping[str, Any], state: RunState, workspace: Path
    ) -> Outcome:
        """Return what a call that only looks gives: made once for each workspace."""
        key = (call_key(tool.name, dict(given)), workspace)
        if key not in self._known:
            self._known[key] = run_call(tool, call, self._tool_context(tool, state, workspace))
        return self._known[key]

    def _tool_context(self, tool: Tool, state: RunState, workspace: Path) -> ToolContext:
        context = self.context
        return ToolContext(
            run_id=context.run_id,
            effect_id="rehearsal",
            workspace=workspace,
            cancel=context.cancel,
            deadline=context.deadline(state["spent"]),
            emit=unheard,
            call=lambda name, arguments: ALONE,
            settings=effects.plugin_settings(tool, context),
            confine=context.settings.tools,
            results=_results(state),
        )


def _added(old: Sequence[AnyMessage], new: Sequence[Any]) -> list[AnyMessage]:
    """Return messages with others added, replaced or removed, as the state machine does it."""
    return cast("list[AnyMessage]", add_messages(cast("Any", list(old)), list(new)))


def _results(state: RunState) -> list[str]:
    return [effects.full_text(result) for result in state.get("results", [])]
