"""A GGUF's own chat template: renders turns, and shows by trial which turns it takes.

Guarantees: JSON without HTML escapes; the date is always the same, since one that changes would change the
beginning of every prompt; a template cannot reach anything but what it is given.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from agentkit.errors import EngineError, ModelError

__all__ = ["ChatTemplate", "as_json"]

DATE = datetime(2024, 7, 26)  # Llama 3's own default; a tool tells the time
_THOUGHT = {  # what thinking begins with: what it ends with
    "<think>\n": "\n</think>\n\n",
    "<|START_THINKING|>": "<|END_THINKING|>",
    "[THINK]": "[/THINK]",
    "Here are my reasoning steps:": "\n[BEGIN FINAL RESPONSE]\n",
}
_FIRST, _SECOND, _THIRD, _FOURTH = "Zest?", "Yes, zest.", "Be zesty!", "More zest?"


class ChatTemplate:
    """One template, compiled."""

    def __init__(self, source: str, *, bos: str, eos: str) -> None:
        """Compile `source`; `bos` and `eos` are the texts of those tokens.

        Raises:
            ModelError: it is not valid Jinja.
        """
        self.source, self._tokens = source, {"bos_token": bos, "eos_token": eos}
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _Generation]
        )
        environment.filters["tojson"] = as_json
        environment.globals |= {"raise_exception": _raise, "strftime_now": DATE.strftime}
        try:
            self._template = environment.from_string(source)
        except TemplateError as error:
            raise ModelError(f"the model's chat template is not valid ({error}); fetch another conversion") from error

    def render(
        self,
        turns: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] = (),
        *,
        asks: bool = True,
        thinks: bool = False,
    ) -> str:
        """Return the text of `turns`; with `asks`, up to where the model's next turn begins, with `thinks` by thinking.

        Raises:
            EngineError: the template refuses them.
        """
        return self._render(turns, list(tools) or self._no_tools, asks=asks, thinks=thinks)

    @cached_property
    def wants_parts(self) -> bool:
        """Whether contents must be lists of typed parts, as in some templates of models that see."""
        turn = {"role": "user", "content": _FIRST}

        def shows(turn: Mapping[str, Any]) -> bool:
            try:
                return _FIRST in self._written([turn], None, asks=True, thinks=False)
            except EngineError:
                return False

        return not shows(turn) and shows({**turn, "content": _parts(_FIRST)})

    @cached_property
    def takes_system(self) -> bool:
        """Whether instructions have a place, and keep it when the conversation goes on."""
        turns = (("system", _THIRD), ("user", _FIRST), ("assistant", _SECOND), ("user", _FOURTH))
        return all(self._shows(*turns[:length]) for length in (2, 4))

    @cached_property
    def takes_neighbours(self) -> bool:
        """Whether two turns of one side may follow each other."""
        return self._shows(("user", _FIRST), ("user", _SECOND))

    @cached_property
    def header(self) -> str:
        """What the model has to write before its words, such as a channel's name; the end of thinking that is begun."""
        turn = {"role": "user", "content": _FIRST}
        try:
            before = self.render([turn])
            whole = self.render([turn, {"role": "assistant", "content": _SECOND}], asks=False)
        except EngineError:
            return ""
        found, said, _ = whole.removeprefix(before).partition(_SECOND)
        if whole.startswith(before) and said and found.strip():
            return found
        return next((close for begin, close in _THOUGHT.items() if before.rstrip().endswith(begin.rstrip())), "")

    @cached_property
    def thought(self) -> tuple[str, str] | None:
        """What the model writes before and after its thinking; nothing before it where the prompt begins it.

        None: the template knows no thinking.
        """
        prompt = self._render([{"role": "user", "content": _FIRST}], self._no_tools, thinks=True).rstrip()
        for begin, close in _THOUGHT.items():
            if begin.rstrip() in self.source:
                return ("" if prompt.endswith(begin.rstrip()) else begin), close
        return None

    def _render(
        self,
        turns: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None,
        *,
        asks: bool = True,
        thinks: bool = False,
    ) -> str:
        if self.wants_parts:
            turns = [
                {**turn, "content": _parts(turn["content"])} if isinstance(turn.get("content"), str) else turn
                for turn in turns
            ]
        return self._written(turns, tools, asks=asks, thinks=thinks)

    def _written(
        self, turns: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] | None, *, asks: bool, thinks: bool
    ) -> str:
        try:
            return self._template.render(
                messages=[dict(turn) for turn in turns],
                tools=tools,
                add_generation_prompt=asks,
                enable_thinking=thinks,
                date_string=DATE.strftime("%d %b %Y"),
                **self._tokens,
            )
        except (TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
            raise EngineError(f"the model's chat template refuses this conversation: {error}") from error

    @cached_property
    def _no_tools(self) -> Sequence[Mapping[str, Any]] | None:
        """What stands for no tools: nothing, or an empty list for a template that always looks through it."""
        try:
            self._render([{"role": "user", "content": _FIRST}], None)
        except EngineError:
            return []
        return None

    def _shows(self, *turns: tuple[str, str]) -> bool:
        try:
            text = self.render([{"role": role, "content": content} for role, content in turns])
        except EngineError:
            return False
        places = [text.find(content) for _, content in turns]
        return min(places) >= 0 and places == sorted(places)


def _parts(text: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": text}]


def as_json(value: Any, indent: int | None = None, **_: Any) -> str:
    """Return `value` as templates write it: ", " and ": " between, letters as they are."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


class _Generation(Extension):
    """`{% generation %}`, with which some templates mark for training what the model says: left as it is."""

    tags = {"generation"}  # noqa: RUF012  as jinja2 declares it

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Return what stands between the marks."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _raise(message: str) -> None:
    raise TemplateError(message)
