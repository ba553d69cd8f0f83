"""The grammar of a chat model's step: text, calls, or text and then calls."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial

from agentkit.engine.dialects.arguments import ArgumentRules
from agentkit.engine.dialects.chat_contents import Controls
from agentkit.engine.dialects.chat_families import Family
from agentkit.engine.grammar import lark_text
from agentkit.types import ToolSpec

__all__ = ["argument_rules", "call_rules", "frames_of", "opens_with_control", "text_rules", "thought_rules"]

_ANYTHING = r"(.|\n)"


def frames_of(family: Family, controls: Controls) -> list[tuple[str, str]]:
    """Return the frames that can be written: one that is a control token needs a vocabulary that has it."""
    first, *others = family.frames
    return [first, *(frame for frame in others if frame[0][:2] != "<|" or frame[0] in controls)]


def opens_with_control(family: Family, controls: Controls) -> bool:
    """Whether a control token tells calls from text."""
    return controls.opening(family.frames[0][0] + family.head) is not None


def argument_rules(family: Family, tools: Sequence[ToolSpec], grounding: ArgumentRules) -> dict[str, list[str]]:
    """Return the Lark rules of each tool's arguments by its name; tools that cannot be called are left out."""
    written = {}
    for n, spec in enumerate(tools):
        make = partial(family.arguments.rules, f"arguments{n}", spec, grounding)
        if rules := grounding.kept(spec, (family.arguments, n), make):
            written[spec.name] = rules
    return written


def call_rules(
    family: Family,
    arguments: Mapping[str, Sequence[str]],
    controls: Controls,
    *,
    first: int,
    lead: str,
    beside_json: bool,
) -> list[str]:
    """Return the Lark rules of `calls`.

    Args:
        family: how calls are written.
        arguments: the rules of their arguments, by the tool's name.
        controls: the control tokens.
        first: the number of the step's first call in the conversation.
        lead: white space that may come before.
        beside_json: whether a JSON answer is possible too, whose beginning a call may share.
    """
    literal = controls.literal
    rules = [line for lines in arguments.values() for line in lines]
    bodies = [lines[0].partition(":")[0] for lines in arguments.values()]
    for order in range(family.max_calls if family.has_ids else 1):
        tool = f"tool{order}" if "$id" in family.head else "tool0"
        if tool == f"tool{order}":
            heads = [family.head_of(name, first + order) for name in arguments]
            written = [_in_json(head) if beside_json and head[0] == "{" else literal(head) for head in heads]
            rules.append(f"{tool}: {' | '.join(f'{head} {body}' for head, body in zip(written, bodies, strict=True))}")
        rules.append(f"call{order}: {tool} {literal(family.tail_of(first + order))}".rstrip())
    several, more = _several(family, literal(family.between))
    ways = [f"{literal(begin)} {several} {literal(end)}".strip() for begin, end in frames_of(family, controls)]
    before = f"({literal(lead)})? " if lead else ""
    return [f"calls: {before}({' | '.join(ways)})", *more, *rules]


def text_rules(family: Family, controls: Controls, *, with_calls: bool, calls_follow: bool) -> list[str]:
    """Return the Lark rules of `text`; where calls are possible it cannot be mistaken for them."""
    is_told_apart = not with_calls or opens_with_control(family, controls)
    limit = "" if is_told_apart else rf" & ~/\s*{family.reserved}{_ANYTHING}*/"
    follow = " calls?" if with_calls and is_told_apart and calls_follow else ""
    return [f"text: TEXT{follow}", f"TEXT: /{_ANYTHING}+/{limit}"]


def thought_rules(thought: tuple[str, str], controls: Controls, *, most: int) -> list[str]:
    """Return the Lark rules of `thought`: at most `most` tokens of four characters, and what stands around them."""
    begin, close = thought
    mark = close.strip()
    after = controls.literal(close[close.index(mark) + len(mark) :])
    body = rf"/{_ANYTHING}{{0,{4 * most}}}/"
    before = controls.literal(begin)
    if controls.opening(mark) is not None:
        return [f"thought: {before} THOUGHT? {controls.literal(mark)} {after}".rstrip(), f"THOUGHT: {body}"]
    return [f"thought: {before} thinking {after}", f"thinking[suffix={lark_text(mark)}]: {body}"]


def _several(family: Family, between: str) -> tuple[str, list[str]]:
    """Return the expression of one call or more, and the rules it needs: calls with ids differ by their order."""
    if family.max_calls == 1:
        return "call0", []
    if not family.has_ids:
        return f"call0 ({between} call0){{0,{family.max_calls - 1}}}", []
    last = family.max_calls - 1
    chain = [f"more{n}: {between} call{n}{f' more{n + 1}?' if n < last else ''}" for n in range(1, last + 1)]
    return "call0 more1?", chain


def _in_json(text: str) -> str:
    """Return the beginning of an object in the lexemes of `%json`, so that both can be read until they part."""
    return " ".join(map(lark_text, re.findall(r'[{}]|"[^"]*"|[:,] ', text)))
