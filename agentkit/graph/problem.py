"""The agent as a search problem: what planners see of a conversation.

A state is a run's state and the workspace it would be in. What could be done next is what the model says, asked for
several distinct replies, and the calls that can be written down without it (`offering`); what a step would come to is
rehearsed, never done (`rehearsing`). A way ends with an answer, and is worth 1 if the user's check passes on it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from langchain_core.messages import HumanMessage

from agentkit.graph.asking import Asking
from agentkit.graph.context import RunContext
from agentkit.graph.history import History, brings_nothing
from agentkit.graph.keys import call_key, conversation_key, step_key
from agentkit.graph.offering import offered
from agentkit.graph.rehearsing import RESULTS, Rehearsal
from agentkit.graph.requests import build_request
from agentkit.graph.state import RunState
from agentkit.messages import step_message
from agentkit.protocols import Action, Mode, Reply, Request, Traits, Transition
from agentkit.types import Effect, Step, ToolCall

MOST_BRANCHES = 4  # asked for where calls are ruled out
Check = Callable[[str, Path], str]
"""(answer, workspace) -> why it does not achieve the task; nothing where it does."""


@dataclass(frozen=True, slots=True, eq=False)
class Situation:
    """Where a run could be."""

    run: RunState
    workspace: Path


@dataclass(slots=True)
class AgentProblem:
    """The next step of a run, for a planner to choose; keeps the replies it has seen."""

    context: RunContext
    check: Check | None = None  # the user's
    banned: frozenset[str] = frozenset()  # classes of calls
    classify: Callable[[ToolCall], str] = lambda call: call_key(call.tool, dict(call.arguments))
    asking: Asking = field(init=False)
    rehearsal: Rehearsal = field(init=False)
    replies: dict[str, Reply] = field(default_factory=dict)  # to the question of the root, by step
    _cut: set[str] = field(default_factory=set)  # steps of replies that ran out of room
    _requests: dict[bytes, Request] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.asking, self.rehearsal = Asking(self.context), Rehearsal(self.context)

    @property
    def traits(self) -> Traits:
        """Return that the check passes or does not; without one, nothing says which step is better."""
        return Traits(checked=self.check is not None)

    def key(self, state: Situation) -> bytes:
        """Return what tells two conversations apart."""
        made = self.rehearsal.forks.made  # long results lie elsewhere while somebody only looks ahead
        files = [self.context.files, *([made / RESULTS] if made else [])]
        return conversation_key(state.run["messages"], without=map(str, files))

    def likeliest(self, state: Situation, *, aloud: bool = False) -> Action | None:
        """Return the model's own next step, another one if it is ruled out; with its probability where that is known."""
        request = self._request(state)
        if self.banned and self.context.engine.capabilities.branches:
            wanted = min(1 + len(self.banned), MOST_BRANCHES)
            return self._known(self.asking.several(request, wanted))[0]
        if not aloud and self.context.engine.capabilities.scores:
            request = replace(request, logprobs=1)
        reply = self.asking.one(request, aloud=aloud)
        logprob = sum(token.logprob for token in reply.logprobs) if reply.logprobs else None
        return replace(self._known([reply])[0], logprob=logprob)

    def actions(self, state: Situation) -> Sequence[Action]:
        """Return distinct next steps; banned calls are left out while there is another."""
        request = self._request(state)
        width = max(self.context.settings.planner.width, min(1 + len(self.banned), MOST_BRANCHES))
        replies = self.asking.several(request, width)
        found = self._known(replies)
        if self.context.engine.capabilities.scores:  # without, nobody could say how probable they are
            known = {action.key for action in found}
            more = [Action(key=step_key(step), step=step) for step in offered(request, replies[0].tool_logprobs)]
            found += [action for action in more if action.key not in known and not self._is_banned(action.step)]
        return found

    def effect(self, state: Situation, action: Action) -> Effect:
        """Return the worst effect among the action's calls; what policy would ask about counts as irreversible."""
        return self.rehearsal.effect(action.step, state.run, state.workspace)

    def fork(self, state: Situation) -> Situation | None:
        """Return the same with a copy of the workspace; None where it is too big to be copied."""
        copy = self.rehearsal.forks.copy(state.workspace)
        return None if copy is None else Situation(state.run, copy)

    def step(self, state: Situation, action: Action, mode: Mode) -> Transition[Situation] | None:
        """Return what the step would come to; nothing is done."""
        step = action.step
        if not step.calls or action.key in self._cut:  # the machine would not run what was cut off, nor what is no call
            return self._ended(state, step)
        after = self.rehearsal.after(step, state.run, state.workspace, predict=mode == "predict")
        if after is None:
            return None
        if brings_nothing(History(state.run["history"]), History(after["history"])):
            return Transition(state=state, observation="nothing new: it was done before, and nothing has changed since")
        observation = "; ".join(one["result"] for one in after["steps"][len(state.run["steps"]) :])
        ends = bool(after.get("ended"))
        return Transition(state=Situation(after, state.workspace), observation=observation, terminal=ends)

    def priors(self, batch: Sequence[tuple[Situation, Sequence[Action]]]) -> list[list[float]]:
        """Return each action's log-probability a token, times the mean length, where the engine can tell; else its rank's."""
        return [self._priors(state, actions) for state, actions in batch]

    def values(self, batch: Sequence[Situation]) -> list[tuple[float, float]] | None:
        """Return nothing: the check speaks at the end of a way; opinions on the way there are others' (`values`)."""
        return None

    def learn(self, proven: Sequence[tuple[Situation, float]]) -> None:
        """Leave it: the model's preferences stay as they are."""

    def compared(self, state: Situation, question: HumanMessage, answers: Sequence[str]) -> list[float]:
        """Return the log-probability of each answer to a question that is asked beside the run."""
        request = self._request(state)
        asked = replace(request, messages=[*request.messages, question], allow=frozenset({"final"}), output=None)
        scores = self.asking.scored(asked, [Step(kind="final", text=answer) for answer in answers])
        assert scores is not None, "only an engine that scores is asked"
        return [score.logprob for score in scores]

    def tokens(self) -> int:
        """Return how many tokens the model has read and written for this step."""
        return self.asking.tokens

    def close(self) -> None:
        """Remove what was copied."""
        self.rehearsal.forks.close()

    def _request(self, state: Situation) -> Request:
        key = self.key(state)
        if key not in self._requests:
            self._requests[key] = build_request(state.run, self.context)
        return self._requests[key]

    def _known(self, replies: Sequence[Reply]) -> list[Action]:
        for reply in replies:
            self.replies.setdefault(step_key(reply.step), reply)
            if reply.finish == "length":
                self._cut.add(step_key(reply.step))
        whole = [reply for reply in replies if reply.finish != "length"] or list(replies)[:1]
        found = list({step_key(reply.step): reply.step for reply in whole}.items())
        actions = [Action(key=key, step=step) for key, step in found]
        return [action for action in actions if not self._is_banned(action.step)] or actions[:1]

    def _priors(self, state: Situation, actions: Sequence[Action]) -> list[float]:
        scores = self.asking.scored(self._request(state), [action.step for action in actions])
        if scores is None:
            return [-float(rank) for rank in range(len(actions))]
        mean = sum(score.tokens for score in scores) / len(scores)
        return [score.logprob * mean / max(1, score.tokens) for score in scores]

    def _ended(self, state: Situation, step: Step) -> Transition[Situation]:
        """Return what an answer, a question or a decline would end the run with."""
        run = RunState(**{**state.run, "messages": [*state.run["messages"], step_message(step)]})
        passed = bool(
            step.kind == "final"
            and step_key(step) not in self._cut
            and (step.text.strip() or step.data is not None)
            and not state.run["blocked"]
            and self.check is not None
            and not self.check(step.text, state.workspace)
        )
        return Transition(
            state=Situation(run, state.workspace),
            observation=step.text,
            reward=float(passed),
            terminal=True,
            verified=passed,
        )

    def _is_banned(self, step: Step) -> bool:
        return bool(self.banned) and any(self.classify(call) in self.banned for call in step.calls)
