"""agentkit's planner for LangChain's `create_agent`.

    from langchain.agents import create_agent
    from agentkit.middleware import PlannerMiddleware
    from agentkit.types import Effect, ToolRules

    looks = ToolRules(effect=Effect.READ, egress=False)
    planner = PlannerMiddleware(lambda answer: "42" in answer, rules={"search": looks})
    agent = create_agent(model, tools, middleware=[planner])

Before each reply the planner looks ahead: tools that only look, by `rules`, are run, and ways that end in an answer are
checked. What it finds is the reply; where it finds nothing better, that is the model's own. Nothing else is run: a tool
without a rule counts as one whose effect cannot be taken back. A `ChatAgentkit` searches by its own probabilities;
any other chat model is asked several times.
"""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from langchain.agents.middleware import AgentMiddleware, AgentState
from langchain.agents.middleware.types import ModelCallResult, ModelRequest, ModelResponse
from langchain_core.messages import AnyMessage

from agentkit import extensions
from agentkit.config import Settings
from agentkit.engine.langchain import ChatAgentkit, ChatModelEngine
from agentkit.errors import UsageError
from agentkit.graph.context import RunContext
from agentkit.graph.problem import AgentProblem, Situation
from agentkit.graph.state import RunState, fresh_run, numbered
from agentkit.guards import default_guards
from agentkit.messages import step_message
from agentkit.policy import Policy
from agentkit.protocols import Engine, Plan, Planner, Tool
from agentkit.store import open_store
from agentkit.tools import Registry, as_tool
from agentkit.types import ToolRules

__all__ = ["PlannerMiddleware"]


class PlannerMiddleware(AgentMiddleware[AgentState[Any], Any, Any]):
    """Looks ahead before each reply of the model.

    Args:
        check: whether an answer achieves the task; without it there is nothing to search for.
        rules: what the tools do, by name.
        planner: a planner or its name.
        settings: of the planner and of policy; None means the defaults.
        workspace: the folder of tools that work on files; None means the current one.
    """

    def __init__(
        self,
        check: Callable[[str], bool],
        *,
        rules: Mapping[str, ToolRules] | None = None,
        planner: Planner | str = "auto",
        settings: Settings | None = None,
        workspace: Path | None = None,
    ) -> None:
        super().__init__()
        self.tools = []
        self._check, self._rules = check, dict(rules or {})
        self._planner: Planner = extensions.load_planner(planner) if isinstance(planner, str) else planner
        self._settings = settings or Settings()
        self._workspace = (workspace or Path.cwd()).resolve()
        self.plans: list[Plan] = []  # one a reply, the newest last

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelCallResult[Any]:
        """Return the planner's choice as the model's reply; a structured reply is left to the model."""
        if request.response_format is not None:
            return handler(request)
        return ModelResponse(result=[self._reply(request, threading.Event())])

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelCallResult[Any]:
        """Do as `wrap_model_call` does, in a thread."""
        if request.response_format is not None:
            return await handler(request)
        cancel = threading.Event()
        try:
            return ModelResponse(result=[await asyncio.to_thread(self._reply, request, cancel)])
        finally:
            cancel.set()  # also when nobody waits for it any more

    def _reply(self, request: ModelRequest[Any], cancel: threading.Event) -> AnyMessage:
        with tempfile.TemporaryDirectory(prefix="agentkit-plan-") as folder:
            context = self._context(request, Path(folder), cancel)
            problem = AgentProblem(context=context, check=self._why_not)
            messages = [*([request.system_message] if request.system_message else []), *request.messages]
            state = RunState(**{**fresh_run("planned", {}), "messages": messages, "results": []})
            rng = Random(f"{self._settings.engine.seed}/{len(messages)}")
            try:
                root = Situation(state, self._workspace)
                plan = self._planner.plan(problem, root, evaluator=problem, budget=context.plan_budget(), rng=rng)
            finally:
                problem.close()
                context.store.close()
        self.plans.append(plan)
        turn = sum(message.type == "ai" for message in messages) + 1
        return step_message(numbered(plan.action.step, turn))

    def _context(self, request: ModelRequest[Any], folder: Path, cancel: threading.Event) -> RunContext:
        model = request.model
        engine: Engine = model.engine if isinstance(model, ChatAgentkit) else ChatModelEngine(model)
        return RunContext(
            run_id="planned",
            engine=engine,
            planner=self._planner,
            guards=tuple(default_guards()),
            policy=Policy(self._settings.policy, interactive=False, workspace=self._workspace),
            tools=Registry([self._ruled(tool) for tool in request.tools]),
            store=open_store(url=":memory:"),
            settings=self._settings,
            workspace=self._workspace,
            files=folder,
            emit=lambda kind, data: None,
            cancel=cancel,
            asks=False,
        )

    def _ruled(self, tool: Any) -> Tool:
        """Return a LangChain tool as one of ours, with the rules that were given for it."""
        if isinstance(tool, dict):
            raise UsageError(
                f"{tool.get('type', 'a tool')}: a provider's own tool cannot be planned with; give a function"
            )
        made = as_tool(tool)
        rules = self._rules.get(made.name)
        return made if rules is None else replace(made, spec=replace(made.spec, rules=rules))

    def _why_not(self, answer: str, workspace: Path) -> str:
        return "" if self._check(answer) else "the check says no"
