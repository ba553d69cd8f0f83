"""LangChain messages with agentkit's own knowledge on them: who said it, and how far it is trusted.

Everything stands in `additional_kwargs["agentkit"]` (a `MessageMeta`), so that messages stay plain
LangChain messages and checkpoints stay readable.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from agentkit.media import block_of, is_media
from agentkit.protocols import MessageMeta
from agentkit.types import (
    AudioPart,
    Failed,
    ImagePart,
    Outcome,
    Step,
    StepKind,
    Task,
    TextPart,
    ToolCall,
    ToolSpec,
    Trust,
)

KEY = "agentkit"


def meta(message: BaseMessage) -> MessageMeta:
    """Return what agentkit knows about `message`; an empty one for a stranger's."""
    return cast("MessageMeta", message.additional_kwargs.get(KEY, {}))


def with_meta(known: MessageMeta) -> dict[str, object]:
    """Return the `additional_kwargs` that carry `known`."""
    return {KEY: dict(known)}


def system_message(text: str) -> SystemMessage:
    """Return instructions that come from configuration."""
    return SystemMessage(content=text, additional_kwargs=with_meta({"source": "config", "trust": "trusted"}))


def user_message(task: Task) -> HumanMessage:
    """Return the task's texts, pictures and sounds as one turn, in their order.

    It is untrusted if any part is a stranger's, but what is the user's stays so. Pictures and sounds must have been kept
    (`agentkit.media.kept`).
    """
    stranger = next((part for part in task.parts if part.provenance.trust is Trust.UNTRUSTED), None)
    known: MessageMeta = {"source": "user", "trust": "trusted"}
    if stranger is not None:
        texts = [part for part in task.parts if isinstance(part, TextPart)]
        own = [part.text for part in texts if part.provenance.trust is Trust.TRUSTED]
        known = {"source": stranger.provenance.source, "trust": "untrusted", "own": own}
    blocks = [
        {"type": "text", "text": part.text} if isinstance(part, TextPart) else block_of(part)
        for part in task.parts
        if isinstance(part, TextPart | ImagePart | AudioPart)
    ]
    is_text = all(block["type"] == "text" for block in blocks)
    return HumanMessage(content=task.text if is_text else list(blocks), additional_kwargs=with_meta(known))


def own_words(message: BaseMessage) -> list[str]:
    """Return the texts of a message that may name a destination: the user's, and configuration's.

    What the model said is nobody's word, and what the framework says may quote anybody.
    """
    known = meta(message)
    if known.get("trust") == "untrusted":
        return list(known.get("own", ())) if isinstance(message, HumanMessage) else []
    if isinstance(message, HumanMessage) or (isinstance(message, SystemMessage) and not known.get("kind")):
        return [words_of(message)]
    return []


def words_of(message: BaseMessage) -> str:
    """Return the texts of a message, each a line; what else it holds has none."""
    if isinstance(message.content, str):
        return message.content
    texts = (block if isinstance(block, str) else block.get("text") for block in message.content)
    return "\n".join(str(text) for text in texts if text is not None)


def media_of(message: BaseMessage) -> list[str]:
    """Return what people call the pictures and sounds of a message, in their order."""
    if isinstance(message.content, str):
        return []
    blocks = (block for block in message.content if isinstance(block, dict) and is_media(block))
    return [str(block.get("extras", {}).get("source") or block["type"]) for block in blocks]


def is_tainted(messages: Iterable[BaseMessage]) -> bool:
    """Whether a stranger's words are among the messages; a tool's result that says nothing of its trust is one's."""
    return any(
        meta(message).get("trust") == "untrusted"
        or (isinstance(message, ToolMessage) and meta(message).get("trust") != "trusted")
        for message in messages
    )


def nudge_message(text: str) -> SystemMessage:
    """Return a note of the framework to the model; never a user's words."""
    return SystemMessage(
        content=text, additional_kwargs=with_meta({"kind": "nudge", "source": "config", "trust": "trusted"})
    )


def note_message(text: str) -> SystemMessage:
    """Return the summary of what was compacted away."""
    return SystemMessage(
        content=text, additional_kwargs=with_meta({"kind": "note", "source": "config", "trust": "untrusted"})
    )


def step_message(step: Step) -> AIMessage:
    """Return a model's step as a message."""
    known: MessageMeta = {"kind": step.kind, "source": "model", "token_ids": list(step.token_ids)}
    if step.thinking:
        known["thinking"] = step.thinking
    if step.plan:
        known["plan"] = step.plan
    calls = [{"id": call.id, "name": call.tool, "args": dict(call.arguments)} for call in step.calls]
    return AIMessage(content=step.text, tool_calls=calls, additional_kwargs=with_meta(known))


def step_of(message: AIMessage) -> Step:
    """Return the step that `message` stands for; the inverse of `step_message`."""
    known = meta(message)
    calls = tuple(
        ToolCall(id=call["id"] or f"call_{n}", tool=call["name"], arguments=call["args"])
        for n, call in enumerate(message.tool_calls)
    )
    kind = cast("StepKind", known.get("kind") or ("calls" if calls else "final"))
    return Step(
        kind=kind,
        text=str(message.content),
        calls=calls,
        thinking=known.get("thinking", ""),
        plan=known.get("plan", ""),
        token_ids=tuple(known.get("token_ids", ())),
    )


def result_message(call: ToolCall, outcome: Outcome, *, number: int, spec: ToolSpec | None) -> ToolMessage:
    """Return a tool's result as a message; `number` counts results through the conversation from 1."""
    failed = isinstance(outcome, Failed)
    trust = spec.rules.trust if spec is not None else Trust.TRUSTED
    known = cast("MessageMeta", {"source": f"tool:{call.tool}", "trust": trust.value, "result": number})
    if outcome.brief:
        known["brief"] = outcome.brief
    return ToolMessage(
        content=outcome.text,
        tool_call_id=call.id,
        name=call.tool,
        status="error" if failed else "success",
        additional_kwargs=with_meta(known),
    )
