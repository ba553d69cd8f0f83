"""What every engine owes a request before and while it works on it.

Whatever is asked for is honoured or refused here by a typed error; nothing is dropped quietly.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from agentkit.errors import Cancelled, CannotEnforce, DeadlineExceeded, UnsupportedPart
from agentkit.media import AUDIO, IMAGES
from agentkit.protocols import Capabilities, Request
from agentkit.types import StepKind

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

TEXT_KINDS: tuple[StepKind, ...] = ("final", "ask", "decline")


def stop_if_over(request: Request) -> None:
    """Raise `Cancelled` or `DeadlineExceeded` if the request's flag is set or its time has passed."""
    if request.cancel is not None and request.cancel.is_set():
        raise Cancelled("the model was stopped because the caller asked for it")
    if request.deadline is not None and time.monotonic() >= request.deadline:
        raise DeadlineExceeded("the time for this reply is over; give more with --timeout or run.timeout_s")


def refuse_parts(request: Request, capabilities: Capabilities) -> None:
    """Raise `UnsupportedPart` for a picture, sound or file that the model cannot take."""
    for message in request.messages:
        for kind in block_kinds(message):
            if kind == "text" or (kind in IMAGES and capabilities.images) or (kind in AUDIO and capabilities.audio):
                continue
            raise UnsupportedPart(f"{capabilities.model} takes no part of type '{kind}'; use a model that does")


def refuse_unknown(request: Request, capabilities: Capabilities, *, honours: Collection[str] = ()) -> None:
    """Raise `CannotEnforce` for an option in use that is not in `honours`.

    The options that are looked at: `adapter`, `logprobs`, `tool_prior`, `thinking`, and those of `sampling` that not
    every server has (`top_k`, `min_p`, `repeat_penalty`).
    """
    model, sampling = capabilities.model, request.sampling
    if not request.allow:
        raise CannotEnforce("the request allows no kind of step at all; allow at least one")
    if request.allow == {"calls"} and not request.tools:
        raise CannotEnforce("the request allows only tool calls, and offers no tool; offer one")
    if request.adapter is not None and request.adapter not in capabilities.adapters:
        known = ", ".join(capabilities.adapters) or "none"
        raise CannotEnforce(f"{model} has no adapter '{request.adapter}' (there are: {known}); load it first")
    asked = {
        "logprobs": request.logprobs > 0,
        "tool_prior": bool(request.tool_prior),
        "top_k": sampling.top_k > 0,
        "min_p": sampling.min_p > 0,
        "repeat_penalty": sampling.repeat_penalty != 1.0,
        "thinking": request.thinking > 0,
    }
    for option, in_use in asked.items():
        if in_use and option not in honours:
            raise CannotEnforce(f"{model} cannot honour '{option}'; leave it out, or use a model in this process")


def block_kinds(message: BaseMessage) -> Iterator[str]:
    """Yield the type of each part of a message's content."""
    if isinstance(message.content, str):
        return
    for block in message.content:
        yield "text" if isinstance(block, str) else str(block.get("type", "unknown"))


def text_of(message: BaseMessage) -> str:
    """Return a message's text parts as one text."""
    if isinstance(message.content, str):
        return message.content
    return "".join(block if isinstance(block, str) else _block_text(block) for block in message.content)


def _block_text(block: dict[str, Any]) -> str:
    return str(block.get("text", "")) if block.get("type") == "text" else ""
