"""The agent: an engine, tools and a state machine behind `run`, `stream` and `resume`.

One implementation serves all three: a run is driven once, and its events go to whoever listens.

    from agentkit import Agent

    with Agent() as agent:
        print(agent.run("What is 15% of 200?").answer)
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from agentkit import aio, config, extensions, failpoints
from agentkit.approvals import Approve, decision_about
from agentkit.engine import open_engine
from agentkit.errors import AgentkitError, Cancelled, UsageError
from agentkit.events import Emitter, Event
from agentkit.policy import check_rules
from agentkit.protocols import CancelFlag, Engine, Guard, Planner, Store, Tool
from agentkit.runs import (
    Listener,
    RunIds,
    default_system,
    envelope,
    failure_reason,
    first_state,
    interrupted_calls,
    refuse_unsupported,
    result_from,
    result_of_row,
    row_of,
    start_again,
)
from agentkit.store import checkpointer, open_store
from agentkit.tools import Registry, as_tool, read_result, with_delegate
from agentkit.types import UNFINISHED, Progress, RunResult, StopReason, Task

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool


OnEvent = Callable[[Event], None]


class Agent:
    """Does tasks with tools. Thread-safe; close it, or use it in a `with` block.

    Args:
        engine: an engine, or a model's name (`sprout`, a path, `hf:owner/repo`, `https://…/v1`).
        tools: tools, functions or LangChain tools; None means those of the installed plugins.
        settings: None means the files and the environment.
        store: None means the user's database.
        planner: a planner or its name.
        heuristics: by name, how likely a run is to reach its goal, once that has proven right; None means those installed.
        guards: None means the default ones.
        system: instructions; None means the default for the model.
        workspace: the folder that file tools stay inside; None means the current one.
        approve: asked about calls that need a person; None means nobody can be asked, and
            `settings.policy.on_approval` decides whether the call is denied or queued.
    """

    def __init__(
        self,
        engine: Engine | str | None = None,
        tools: Sequence[Tool | Callable[..., Any] | BaseTool] | None = None,
        *,
        settings: config.Settings | None = None,
        store: Store | None = None,
        planner: Planner | str | None = None,
        heuristics: Mapping[str, Callable[[Progress], float]] | None = None,
        guards: Sequence[Guard] | None = None,
        system: str | None = None,
        workspace: Path | None = None,
        approve: Approve | None = None,
    ) -> None:
        self.settings = settings or config.load().settings
        self.workspace = (workspace or Path.cwd()).resolve()
        self.system = system
        self._engine, self._tools, self._store = engine, tools, store
        self._planner, self._heuristics, self._guards, self._approve = planner, heuristics, guards, approve
        self._owns_engine = not isinstance(engine, Engine)
        self._making = threading.Lock()

    # ── parts, each made when it is first needed ──

    @cached_property
    def engine(self) -> Engine:
        """The engine; loads the model."""
        if isinstance(self._engine, Engine):
            return self._engine
        engine = self.settings.engine
        wanted = engine if self._engine is None else replace(engine, model=self._engine)
        return open_engine(wanted, self.settings.extensions)

    @cached_property
    def tools(self) -> Registry:
        """The tools the agent may use."""
        if self._tools is not None:
            tools = [as_tool(tool) for tool in self._tools]
        else:
            tools = with_delegate(extensions.load_tools(self.settings)[0], self.settings.delegate)
        taken = {tool.name for tool in tools}
        return Registry([*tools, *(tool for tool in (read_result,) if tool.name not in taken)])

    @cached_property
    def store(self) -> Store:
        """Where runs and the ledger are kept."""
        return self._store or open_store(self.settings.store)

    @cached_property
    def planner(self) -> Planner:
        """Chooses the next step."""
        planner = self._planner or self.settings.run.planner
        loaded: Planner = extensions.load_planner(planner) if isinstance(planner, str) else planner
        return loaded

    @cached_property
    def heuristics(self) -> Mapping[str, Callable[[Progress], float]]:
        """Say how likely a run is to reach its goal; only who looks ahead wants to know."""
        installed = self._heuristics is None and self.planner.name != "direct"
        return extensions.load_heuristics() if installed else self._heuristics or {}

    @cached_property
    def guards(self) -> tuple[Guard, ...]:
        """Watch over a run."""
        from agentkit.guards import default_guards  # noqa: PLC0415

        return tuple(self._guards) if self._guards is not None else default_guards()

    @cached_property
    def graph(self) -> Any:
        """The compiled LangGraph state machine."""
        from agentkit.graph import build  # noqa: PLC0415  LangGraph: most of a second to import

        return build(checkpointer(self.store))

    # ── doing things ──

    def run(
        self,
        task: str | Task,
        *,
        thread_id: str | None = None,
        check: str | None = None,
        on_event: OnEvent | None = None,
        cancel: CancelFlag | None = None,
    ) -> RunResult:
        """Do a task and return what it came to; a run that fails is a result too.

        Args:
            task: what to do.
            thread_id: the conversation to go on with; None starts a new one.
            check: a shell command that must exit 0 for the task to count as done.
            on_event: called with every event, in order.
            cancel: set it from anywhere to stop the run; what was done stays.

        Raises:
            UsageError, ConfigError, ModelError: before the run has begun.
        """
        wanted = Task.of(task, check=check)
        self._make()
        refuse_unsupported(wanted, self.engine.capabilities)
        ids = RunIds(_new_id(), thread_id or _new_id())
        instructions = default_system(self.engine) if self.system is None else self.system
        state = first_state(wanted, ids.run_id, instructions, allow_hosts=self.settings.policy.allow_hosts)
        with self.store.lease(ids.thread_id, ids.run_id) as epoch:
            if thread_id is not None:
                self._leave_last_run(state, ids)
            self.store.start_run(
                ids.run_id,
                ids.thread_id,
                row_of(state, self.engine.capabilities, self.tools.specs, self.planner.name, self.settings),
            )
            failpoints.reach("before_first_checkpoint")
            return self._drive(state, replace(ids, epoch=epoch), Listener(on_event, cancel))

    def resume(self, run_id: str, *, on_event: OnEvent | None = None, cancel: CancelFlag | None = None) -> RunResult:
        """Go on with a run that was interrupted, killed, or waits for an approval.

        Nothing that was done is done again. A finished run returns its result unchanged.

        Raises:
            UsageError: there is no such run.
        """
        row = self.store.run(run_id)
        if row is None:
            raise UsageError(f"there is no run '{run_id}'; `agentkit runs list` shows them")
        self._make()
        ids = RunIds(run_id, row["thread_id"])
        with self.store.lease(ids.thread_id, run_id) as epoch:
            ids = replace(ids, epoch=epoch)
            snapshot = self.graph.get_state(ids.config(self.settings))
            here = snapshot.values.get("run_id") == run_id
            row = self.store.run(run_id) or row  # it may have ended while we waited for the lease
            if row["state"] == "running":
                self._recover(run_id)
            if here and snapshot.tasks:  # `next` leaves out one that was done, and killed before its checkpoint
                return self._drive(None, ids, Listener(on_event, cancel))
            if here and snapshot.values.get("ended"):
                return self._ended(row, snapshot.values, ids)
            if row.get("stop_reason") and StopReason(row["stop_reason"]) not in UNFINISHED:
                return result_of_row(row, ids)
            newest = self.store.runs(thread_id=ids.thread_id, limit=1)
            if not here and row["state"] == "running" and row.get("start") and newest and newest[0]["run_id"] == run_id:
                return self._drive(start_again(row["start"], run_id), ids, Listener(on_event, cancel))
            why = "was stopped before its first step" if not snapshot.values else "is not the last one of its thread"
            raise UsageError(f"run '{run_id}' {why}, so it cannot go on; give the task again")

    def _recover(self, run_id: str) -> None:
        """Take over a run whose process ended before it did: end what it left running, unless that happens too often.

        Raises:
            UsageError: it was taken up so often that it is taken to kill its process every time.
        """
        for pid in self.store.reap(run_id):
            logging.getLogger(__name__).warning("ended process group %d, which run '%s' had left running", pid, run_id)
        limit, count = self.settings.run.max_recoveries, self.store.recovered(run_id)
        if limit is not None and count > limit:
            raise UsageError(
                f"run '{run_id}' is poisoned: its process ended before it did {count} times; look at "
                f"`agentkit runs show {run_id}`, or raise run.max_recoveries (now {limit}) to try once more"
            )

    def _ended(self, row: Mapping[str, Any], values: Mapping[str, Any], ids: RunIds) -> RunResult:
        """Return the result of a run that is at its end; its row says so too, whenever its process was ended."""
        result = result_from(values, ids, self.engine)
        if row["state"] == "running":
            self._end(result, self._emitter(ids, Listener(None)))
        return result

    def stream(self, task: str | Task, **options: Any) -> Iterator[Event]:
        """Yield a run's events as they happen; the last one is `run_ended` with the result."""
        return aio.iterate(self._work(task, options))

    def resume_stream(self, run_id: str) -> Iterator[Event]:
        """Yield the events of a resumed run."""
        return aio.iterate(lambda on_event, cancel: self.resume(run_id, on_event=on_event, cancel=cancel))

    async def arun(self, task: str | Task, **options: Any) -> RunResult:
        """Do a task without blocking the event loop; cancelling the coroutine cancels the run."""
        return await aio.run(self._work(task, options))

    def astream(self, task: str | Task, **options: Any) -> AsyncIterator[Event]:
        """Yield a run's events without blocking the event loop."""
        return aio.aiterate(self._work(task, options))

    def _work(self, task: str | Task, options: Mapping[str, Any]) -> aio.Work:
        """Return the run for a front of its own listener and flag; the caller's are heard as well."""
        given = dict(options)
        theirs, stop = given.pop("on_event", None), given.pop("cancel", None)

        def work(on_event: OnEvent, cancel: CancelFlag) -> RunResult:
            def both(event: Event) -> None:
                on_event(event)
                if theirs is not None:
                    theirs(event)

            return self.run(task, on_event=both, cancel=Listener(None, cancel, stop), **given)

        return work

    def close(self) -> None:
        """Free the model and the database, where this agent opened them; idempotent."""
        if self._owns_engine and "engine" in self.__dict__:
            self.engine.close()
        if self._store is None and "store" in self.__dict__:
            self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ── driving a run ──

    def _make(self) -> None:
        """Make all parts that a run needs, once, whichever thread comes first."""
        with self._making:
            for part in ("engine", "tools", "store", "planner", "guards", "graph"):
                getattr(self, part)
            check_rules(self.settings.policy.rules, self.tools.specs)

    def _leave_last_run(self, state: dict[str, Any], ids: RunIds) -> None:
        """Close what the thread's last run left open: its step, its row, and what it asked of people."""
        values = self.graph.get_state(ids.config(self.settings)).values
        change = interrupted_calls(values)
        if change:
            state["messages"] = [*change["messages"], *state["messages"]]
            state["results"] = change["results"]
        last = values.get("run_id")
        row = self.store.run(last) if last else None
        if row is not None and row.get("state") == "running":
            ended = {"reason": StopReason.CANCELLED.value, "detail": "its process ended before it did"}
            result = result_from({**values, "ended": ended}, RunIds(str(last), ids.thread_id), self.engine)
            self.store.end_run(str(last), envelope(result))
        for approval in self.store.approvals(state="pending"):
            if approval["run_id"] == last:
                self.store.resolve_approval(approval["id"], "cancelled", "agentkit")

    def _drive(self, state: Any, ids: RunIds, listener: Listener) -> RunResult:
        """Run the graph from `state` (None: from its checkpoint) to an end, an interrupt, or a failure."""
        emit = self._emitter(ids, listener)
        emit("run_started", {"model": self.engine.capabilities.model, "resumed": state is None})
        try:
            result = self._invoke(state, ids, emit, listener)
        except (AgentkitError, KeyboardInterrupt) as error:
            result = self._failed(error, ids, emit)
        except Exception as error:  # unforeseen: written down, and still the caller's to see
            self._end(self._failed(error, ids, emit), emit)
            raise
        self._end(result, emit)
        if listener.error is not None:
            raise listener.error
        return result

    def _failed(self, error: BaseException, ids: RunIds, emit: Emitter) -> RunResult:
        """Return what a run came to that could not go on; it can be resumed."""
        stopped = isinstance(error, KeyboardInterrupt | Cancelled)
        reason = StopReason.CANCELLED if stopped else failure_reason(error)
        known = isinstance(error, AgentkitError | KeyboardInterrupt)
        detail = (str(error) or "interrupted") if known else f"{type(error).__name__}: {error}"
        emit("error", {"reason": reason.value, "detail": detail})
        values = self.graph.get_state(ids.config(self.settings)).values
        if values.get("run_id") != ids.run_id:  # it did not get as far as its first checkpoint
            values = {}
        return result_from({**values, "ended": {"reason": reason.value, "detail": detail}}, ids, self.engine)

    def _end(self, result: RunResult, emit: Emitter) -> None:
        self.store.end_run(result.run_id, envelope(result))
        emit("run_ended", envelope(result))

    def _invoke(self, state: Any, ids: RunIds, emit: Emitter, cancel: CancelFlag) -> RunResult:
        from langgraph.types import Command  # noqa: PLC0415  LangGraph: most of a second to import

        context = self._context(ids, emit, cancel)
        while True:
            values = self.graph.invoke(state, ids.config(self.settings), context=context, durability="sync")
            pending = [waiting.value for waiting in values.pop("__interrupt__", ())]
            if not pending:
                return result_from(values, ids, self.engine)
            decision = decision_about(pending[0], self.store, self._approve)
            if decision is None:
                detail = f"{pending[0]['tool']} waits for approval {pending[0]['id']}"
                return result_from({**values, "ended": {"reason": "needs_input", "detail": detail}}, ids, self.engine)
            state = Command(resume=decision)
            context.mark.clear()  # a person's thinking time is not the run's

    def _context(self, ids: RunIds, emit: Emitter, cancel: CancelFlag) -> Any:
        from agentkit.graph import RunContext  # noqa: PLC0415  LangGraph: most of a second to import
        from agentkit.policy import Policy  # noqa: PLC0415

        return RunContext(
            run_id=ids.run_id,
            epoch=ids.epoch,
            engine=self.engine,
            planner=self.planner,
            guards=self.guards,
            policy=Policy(self.settings.policy, interactive=self.asks, workspace=self.workspace),
            tools=self.tools,
            store=self.store,
            settings=self.settings,
            workspace=self.workspace,
            files=config.data_dir() / "results" / ids.run_id,
            emit=emit,
            cancel=cancel,
            asks=self.asks,
            attended=self._approve is not None,
            graph=self.graph,
            heuristics=self.heuristics,
        )

    def _emitter(self, ids: RunIds, listener: Listener) -> Emitter:
        def persist(event: Event) -> None:
            if event.type not in {"text_delta", "arguments_delta"}:  # the message follows whole
                self.store.append_event(ids.run_id, event.seq, event.to_json())

        first = self.store.next_seq(ids.run_id)
        return Emitter(ids.run_id, ids.thread_id, first_seq=first, sinks=(persist, listener))

    @property
    def asks(self) -> bool:
        """Whether a person can answer, now or through the queue."""
        return self._approve is not None or self.settings.policy.on_approval == "queue"


def _new_id() -> str:
    return uuid.uuid4().hex[:16]
