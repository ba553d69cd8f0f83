"""What a run starts from and what it came to: ids, the first state, the result, the envelope."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import Any

from agentkit import extensions, prompts
from agentkit.config import Settings
from agentkit.errors import (
    AgentkitError,
    BudgetExceeded,
    ContextFull,
    DeadlineExceeded,
    EngineError,
    PolicyError,
    UnsupportedPart,
    UsageError,
)
from agentkit.events import Event
from agentkit.media import MAX_BYTES, fetched, kept
from agentkit.protocols import CancelFlag, Capabilities, Engine
from agentkit.types import (
    AudioPart,
    Failed,
    FilePart,
    ImagePart,
    Part,
    Provenance,
    RunResult,
    StepRecord,
    StopReason,
    Task,
    TextPart,
    ToolSpec,
    Usage,
)

FILE_CHARS = 20_000  # of a file part's text


@dataclass(frozen=True, slots=True)
class RunIds:
    """Which run it is, and in which conversation."""

    run_id: str
    thread_id: str
    epoch: int = 0  # of the thread's lease

    def config(self, settings: Settings) -> dict[str, Any]:
        """Return LangGraph's config for this run; its own recursion limit is 10007."""
        from agentkit.graph import recursion_limit  # noqa: PLC0415  LangGraph: most of a second to import

        return {
            "configurable": {"thread_id": self.thread_id},
            "recursion_limit": recursion_limit(settings.run.max_turns),
        }


def first_state(task: Task, run_id: str, instructions: str, *, allow_hosts: Sequence[str] = ()) -> dict[str, Any]:
    """Return the state a run starts from, with the task as the thread's newest turn; its files are read.

    Args:
        task: what to do.
        run_id: the run's.
        instructions: of the model; none where empty.
        allow_hosts: private hosts that a picture's URL may lead to.

    Raises:
        UsageError: a file or a URL cannot be read, or is not what it is given as.
    """
    from agentkit.graph import fresh_run  # noqa: PLC0415  LangGraph: most of a second to import
    from agentkit.messages import system_message, user_message  # noqa: PLC0415

    task = replace(task, parts=tuple(_read_part(part, allow_hosts) for part in task.parts))
    state: dict[str, Any] = dict(fresh_run(run_id, {"check": task.check, "output_schema": task.output_schema}))
    state["messages"] = [user_message(task)]
    if instructions:
        first = system_message(instructions)
        first.id = "system"  # one in a thread, whatever run it is
        state["messages"].insert(0, first)
    return state


def start_of(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a first state as plain data for the run's row, so that a run killed before its first step can begin."""
    from langchain_core.messages import messages_to_dict  # noqa: PLC0415

    kept = {key: state[key] for key in ("task", "results") if key in state}
    return {**kept, "messages": messages_to_dict(state["messages"])}


def start_again(start: Mapping[str, Any], run_id: str) -> dict[str, Any]:
    """Return the first state that `start_of` wrote down."""
    from langchain_core.messages import messages_from_dict  # noqa: PLC0415

    from agentkit.graph import fresh_run  # noqa: PLC0415  LangGraph: most of a second to import

    state: dict[str, Any] = dict(fresh_run(run_id, start["task"]))
    kept = {key: start[key] for key in ("results",) if key in start}
    return {**state, **kept, "messages": messages_from_dict(start["messages"])}


def refuse_unsupported(task: Task, able: Capabilities) -> None:
    """Refuse a task that says nothing, or that has a part the model cannot take.

    Raises:
        UsageError, UnsupportedPart: as said.
    """
    if all(isinstance(part, TextPart) and not part.text.strip() for part in task.parts):
        raise UsageError("the task is empty; say what to do")
    for part in task.parts:
        if isinstance(part, ImagePart) and not able.images:
            raise UnsupportedPart(f"{able.model} cannot see images; use a model that can (-m), or leave the image out")
        if isinstance(part, AudioPart) and not able.audio:
            raise UnsupportedPart(f"{able.model} cannot hear; use a model that can (-m), or leave the sound out")


def interrupted_calls(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the change that closes a step which the thread's last run left open, for a new run to start from.

    A call without a result would be refused by most servers, and its number by our own dialect.
    """
    from langchain_core.messages import AIMessage, ToolMessage  # noqa: PLC0415

    from agentkit.messages import result_message, step_of  # noqa: PLC0415

    messages, results = values.get("messages", []), list(values.get("results", []))
    answered = {message.tool_call_id for message in messages if isinstance(message, ToolMessage)}
    last = next((message for message in reversed(messages) if isinstance(message, AIMessage)), None)
    closed = []
    for call in step_of(last).calls if last is not None else ():
        if call.id not in answered:
            text = "the run was interrupted here; whether this was done is not known"
            results.append({"text": text, "path": None})
            closed.append(result_message(call, Failed(text=text), number=len(results), spec=None))
    return {"messages": closed, "results": results} if closed else {}


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


def result_of_row(row: Mapping[str, Any], ids: RunIds) -> RunResult:
    """Return the result of a run that has ended, read from its row; the inverse of `envelope`."""
    return RunResult(
        run_id=ids.run_id,
        thread_id=ids.thread_id,
        stop_reason=StopReason(row["stop_reason"]),
        answer=row.get("answer", ""),
        steps=tuple(StepRecord(**step) for step in row.get("steps", ())),
        usage=Usage(**row.get("usage", {})),
        detail=row.get("detail", ""),
        data=row.get("data"),
        blocked_calls=tuple(row.get("blocked_calls", ())),
        model=row.get("model", ""),
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


class Listener:
    """Hands events to whoever asked for them. If that raises, the run is cancelled, and it is told why at its end.

    It is the run's cancel flag, too.
    """

    def __init__(self, on_event: Callable[[Event], None] | None, *cancels: CancelFlag | None) -> None:
        self._on_event, self._cancels = on_event, [flag for flag in cancels if flag is not None]
        self.error: Exception | None = None

    def __call__(self, event: Event) -> None:
        """Hand on one event."""
        if self._on_event is None or self.error is not None:
            return
        try:
            self._on_event(event)
        except Exception as error:  # noqa: BLE001  the caller's own code: raised again when the run is in order
            self.error = error

    def is_set(self) -> bool:
        """Whether the run must stop."""
        return self.error is not None or any(flag.is_set() for flag in self._cancels)


def _read_part(part: Part, allow_hosts: Sequence[str]) -> Part:
    """Return a part with the text of its file in it, what is left out being said; pictures and sounds are kept."""
    if isinstance(part, ImagePart) and part.url is not None:
        part = fetched(part, _fetch(part.url, allow_hosts))
    if isinstance(part, ImagePart | AudioPart):
        return kept(part)
    if not isinstance(part, FilePart):
        return part
    try:
        with part.path.open(encoding="utf-8-sig", errors="replace") as file:
            text = file.read(FILE_CHARS + 1)
    except OSError as error:
        raise UsageError(f"{part.path}: cannot be read ({error.strerror}); check the path") from error
    if len(text) > FILE_CHARS:
        text = f"{text[:FILE_CHARS]}\n[… cut: the file has {part.path.stat().st_size} bytes]"
    source = Provenance(source=f"file:{part.path}", trust=part.provenance.trust)
    return TextPart(text=f"{part.path}:\n{text}", provenance=source)


def _fetch(url: str, allow_hosts: Sequence[str]) -> bytes:
    """Return what is at a picture's URL.

    Raises:
        UsageError: it cannot be had, or is too large.
    """
    from agentkit.fetching import NotFetched, fetch  # noqa: PLC0415  httpx: 0.1 s

    found = fetch(url, allow_hosts=allow_hosts, max_bytes=MAX_BYTES, accept="image/*,*/*;q=0.1")
    if isinstance(found, NotFetched):
        raise UsageError(found.text)
    if found.status >= 400:
        raise UsageError(f"{url}: the server answered {found.status} {found.reason}; check the address")
    if not found.whole:
        raise UsageError(f"{url}: larger than {MAX_BYTES >> 20} MiB; give a smaller picture")
    return found.data


def row_of(
    state: Mapping[str, Any], able: Capabilities, tools: Sequence[ToolSpec], planner: str, settings: Settings
) -> dict[str, Any]:
    """Return a run's row: everything needed to say later what produced it."""
    from agentkit.messages import words_of  # noqa: PLC0415

    return {
        "task": words_of(state["messages"][-1]),
        "start": start_of(state),
        "model": able.model,
        "model_sha256": able.fingerprint,
        "dialect": able.dialect,
        "adapters": list(able.adapters),
        "tools": [spec.name for spec in tools],
        "planner": planner,
        "seed": settings.engine.seed,
        "version": version("agentkit-local"),
        "prompts": prompts.versions(),
        "plugins": {name: found.version for name, found in extensions.installed("agentkit.plugins").items()},
    }
