"""What a run starts from and what it came to: ids, the first state, the result, the envelope."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from agentkit.config import Settings
from agentkit.errors import AgentkitError, BudgetExceeded, ContextFull, DeadlineExceeded, EngineError, PolicyError
from agentkit.protocols import Engine
from agentkit.types import FilePart, Part, Provenance, RunResult, StepRecord, StopReason, Task, TextPart, Usage

FILE_CHARS = 20_000  # of a file part's text


@dataclass(frozen=True, slots=True)
class RunIds:
    """Which run it is, and in which conversation."""

    run_id: str
    thread_id: str

    def config(self, settings: Settings) -> dict[str, Any]:
        """Return LangGraph's config for this run; its own recursion limit is 10007."""
        from agentkit.graph import recursion_limit  # noqa: PLC0415  LangGraph: most of a second to import

        return {
            "configurable": {"thread_id": self.thread_id},
            "recursion_limit": recursion_limit(settings.run.max_turns),
        }


def first_state(task: Task, run_id: str, instructions: str) -> dict[str, Any]:
    """Return the state a run starts from, with the task as the thread's newest turn."""
    from agentkit.graph import fresh_run  # noqa: PLC0415  LangGraph: most of a second to import
    from agentkit.messages import system_message, user_message  # noqa: PLC0415

    task = replace(task, parts=tuple(_read_part(part) for part in task.parts))
    state: dict[str, Any] = dict(fresh_run(run_id, {"check": task.check, "output_schema": task.output_schema}))
    state["messages"] = [user_message(task)]
    if instructions:
        first = system_message(instructions)
        first.id = "system"  # one in a thread, whatever run it is
        state["messages"].insert(0, first)
    return state


def default_system(engine: Engine) -> str:
    """Return the instructions for a model that was not trained on agentkit's own dialect."""
    if engine.capabilities.dialect.startswith("plain"):
        return ""
    from agentkit.prompts import load  # noqa: PLC0415

    return load("system").render()


def result_from(values: Mapping[str, Any], ids: RunIds, engine: Engine) -> RunResult:
    """Return what a run came to, read from its last state."""
    ended = values.get("ended") or {"reason": StopReason.ERROR.value, "detail": "the run did not come to an end"}
    return RunResult(
        run_id=ids.run_id,
        thread_id=ids.thread_id,
        stop_reason=StopReason(ended["reason"]),
        answer=values.get("answer", ""),
        steps=tuple(StepRecord(**step) for step in values.get("steps", ())),
        usage=Usage(**values.get("usage", {})),
        detail=ended["detail"],
        data=values.get("data"),
        blocked_calls=tuple(values.get("blocked", ())),
        model=engine.capabilities.model,
    )


def envelope(result: RunResult) -> dict[str, Any]:
    """Return a result as plain data, with its exit code: what `--output-format json` prints."""
    data = {key: value for key, value in asdict(result).items() if key not in {"run_id", "thread_id"}}
    return {
        "run_id": result.run_id,
        "thread_id": result.thread_id,
        **data,
        "stop_reason": result.stop_reason.value,
        "exit_code": result.exit_code,
    }


def failure_reason(error: BaseException) -> StopReason:
    """Return the stop reason that an error in the middle of a run amounts to."""
    kinds: tuple[tuple[type[AgentkitError], StopReason], ...] = (
        (ContextFull, StopReason.CONTEXT),
        (DeadlineExceeded, StopReason.BUDGET),
        (BudgetExceeded, StopReason.BUDGET),
        (PolicyError, StopReason.BLOCKED),
        (EngineError, StopReason.MODEL),
    )
    return next((reason for kind, reason in kinds if isinstance(error, kind)), StopReason.ERROR)


def _read_part(part: Part) -> Part:
    if not isinstance(part, FilePart):
        return part
    text = part.path.read_text(encoding="utf-8", errors="replace")[:FILE_CHARS]
    source = Provenance(source=f"file:{part.path}", trust=part.provenance.trust)
    return TextPart(text=f"{part.path}:\n{text}", provenance=source)
