"""Any GGUF with a chat template: the template renders, the family says how calls are written.

Guarantees: the prompt is what the model's own Jinja template gives, with the date pinned; control tokens come from
the template only, never from what a message or a tool says. A step is text or calls; a question back or a decline
is text here. History is rendered anew by the template, so it is token-exact as far as the template repeats what
the model wrote: calls are decoded as the template writes them, letter by letter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from agentkit.engine.dialects import Look, Vocabulary, unseen
from agentkit.engine.dialects.arguments import ArgumentRules, declared_grounds
from agentkit.engine.dialects.chat_contents import Controls
from agentkit.engine.dialects.chat_families import Family, calls_text
from agentkit.engine.dialects.chat_grammar import (
    argument_rules,
    call_rules,
    opens_with_control,
    text_rules,
    thought_rules,
)
from agentkit.engine.dialects.chat_reader import ChatReader
from agentkit.engine.dialects.chat_template import ChatTemplate
from agentkit.engine.dialects.chat_turns import function_of, turns_of
from agentkit.engine.dialects.grounding import Sources, sources_of
from agentkit.engine.grammar import json_rule
from agentkit.errors import AgentkitError, CannotEnforce, ModelError
from agentkit.messages import meta, step_message
from agentkit.protocols import Ground, Request
from agentkit.types import JsonSchema, Step, ToolCall, ToolSpec

__all__ = ["Chat"]

_ASKED, _SAID, _GIVEN = "Weigh a plum.", "I shall.", "17 grams, says the scale"
_PROBE = ToolSpec(
    name="weigh_it",
    description="Weigh something.",
    parameters={
        "type": "object",
        "properties": {
            "what": {"type": "string", "description": "The thing."},
            "times": {"type": "integer", "description": "How often."},
        },
        "required": ["what", "times"],
    },
)
_CALL = ToolCall(id="call_0", tool=_PROBE.name, arguments={"what": 'a "plum"', "times": 2})
_STEP = Step(kind="calls", calls=(_CALL,))


class Chat:
    """A family of chat models over one vocabulary."""

    choices: frozenset[int] = frozenset()  # kinds and tools are words here

    def __init__(self, vocabulary: Vocabulary, family: Family, template: ChatTemplate) -> None:
        """Join the three.

        Raises:
            ModelError: the vocabulary has no token that ends a turn.
        """
        self.name, self._family, self._vocabulary, self._template = family.name, family, vocabulary, template
        self._controls = Controls(vocabulary)
        self.end_id = vocabulary.turn_end_id
        if self.end_id < 0:
            raise ModelError("the model file names no token that ends a turn; fetch another conversion of it")
        self._gap = self._find_gap()
        self._leads = self._find_lead(Step(kind="final", text=_SAID)), self._find_lead(_STEP)

    def prompt(self, request: Request, look: Look = unseen) -> list[int]:
        """Return the tokens of the rendered template, up to where the model's words begin."""
        self._check_tools(request)
        marked, shown = self._controls.marked(request.messages, look)
        turns = turns_of(marked, request.tools, self._family, self._template)
        tools = [] if self._family.is_told else [function_of(spec) for spec in request.tools]
        thinks = request.thinking > 0
        header = "" if thinks else self._template.header
        tokens = self._controls.tokens(
            [turns, tools], lambda given: self._template.render(*given, thinks=thinks) + header, shown
        )
        if self._vocabulary.adds_bos and tokens[:1] != [self._vocabulary.bos_id]:
            tokens.insert(0, self._vocabulary.bos_id)
        return tokens

    def step(self, step: Step, request: Request) -> list[int]:
        """Return the tokens of `step`, its end included."""
        family, specs, first = self._family, _by_name(request.tools), _calls_so_far(request)

        def written(calls: Sequence[Mapping[str, Any]]) -> str:
            made = [ToolCall(id="", tool=call["name"], arguments=call["arguments"]) for call in calls]
            return calls_text(family, made, specs, first)

        lead = self._leads[0 if step.text else 1]
        gap = self._gap if step.text and step.calls and self._gap else ""
        given = [{"name": call.tool, "arguments": dict(call.arguments)} for call in step.calls]
        calls = self._controls.tokens(given, written)
        return [*self._vocabulary.tokenise(lead + step.text + gap), *calls, self.end_id]

    def grammar(self, request: Request) -> str:
        """Return the grammar: text, or calls of the tools given; after thinking, where it is asked for."""
        self._check_tools(request)
        tools = request.tools if "calls" in request.allow else ()
        grounding = _grounding(request)
        calls = argument_rules(self._family, tools, grounding)
        if "final" not in request.allow and not calls:
            why = "allow final, or give a tool"
            if tools:
                why = "and nothing was said that the grounded arguments of the tools can be taken from; allow final"
            raise CannotEnforce(f"{self.name} writes final answers and calls only: {why}")
        alternatives: list[str] = []
        rules: list[str] = []
        has_answer = "final" in request.allow and request.output is not None
        if calls:
            alternatives.append("calls")
            lead, first = self._leads[1], _calls_so_far(request)
            rules += call_rules(self._family, calls, self._controls, first=first, lead=lead, beside_json=has_answer)
            rules += grounding.terminals
        if has_answer:
            alternatives.append("answer")
            rules.append(f"answer: {json_rule(request.output or {})}")
        elif "final" in request.allow:
            alternatives.append("text")
            follow = self._gap is not None and bool(calls)
            rules += text_rules(self._family, self._controls, with_calls=bool(tools), calls_follow=follow)
        start = " | ".join(alternatives)
        if request.thinking:
            start = f"thought ({start})"
            rules += thought_rules(self._thought(request), self._controls, most=request.thinking)
        return "\n".join([f"start: {start}", *rules])

    def schemas(self, request: Request) -> Mapping[str, JsonSchema]:
        """Return the tools' schemas, and the answer's."""
        named: dict[str, JsonSchema] = {f"tool '{spec.name}'": spec.parameters for spec in request.tools}
        return named if request.output is None else {**named, "the output schema": request.output}

    def grounds(self, request: Request) -> Mapping[str, Mapping[str, Ground]]:
        """Return what each grounded argument of each tool may be taken from."""
        grounding = _grounding(request)
        return {spec.name: grounding.grounds(spec) for spec in request.tools if grounding.held(spec)}

    def reader(self, request: Request) -> ChatReader:
        """Return a reader for one step."""
        tools = _by_name(request.tools) if "calls" in request.allow else {}
        return ChatReader(
            self._vocabulary,
            self._controls,
            self._family,
            tools,
            first=_calls_so_far(request),
            gap=self._gap or "",
            thought=self._thought(request) if request.thinking else None,
        )

    def fault(self) -> str:
        """Return what goes wrong with a question, a call and its result; nothing where all is well."""
        result = ToolMessage(_GIVEN, tool_call_id=_CALL.id, name=_CALL.tool)
        written = calls_text(self._family, _STEP.calls, {_PROBE.name: _PROBE})
        request = Request(messages=[HumanMessage(_ASKED)], tools=[_PROBE])
        try:
            text = self._shown([*request.messages, step_message(_STEP), result])
            reader = self.reader(request)
            for token in self.step(_STEP, request):
                reader.feed(token)
            found = reader.finish(whole=True)
        except AgentkitError as error:
            return str(error)
        places = [text.find(_ASKED), text.find(written), text.rfind(_GIVEN)]
        if places[0] < 0 or places[2] < 0:
            return "it leaves out what was asked, or a tool's result"
        if places[1] < 0:
            return f"it does not write calls as {written!r}"
        if places != sorted(places) or _PROBE.name not in text[: places[1]]:
            return "it leaves out the tools, or writes turns in another order"
        read = [(one.tool, dict(one.arguments)) for one in found.calls]
        return "" if read == [(_CALL.tool, dict(_CALL.arguments))] else f"a call was read back as {read}"

    def _thought(self, request: Request) -> tuple[str, str]:
        """Return what stands around the model's thinking.

        Raises:
            CannotEnforce: its template knows none.
        """
        if self._template.thought is None:
            raise CannotEnforce(
                f"this model's chat template knows no thinking ({request.thinking} tokens were allowed)"
            )
        return self._template.thought

    def _find_gap(self) -> str | None:
        """Return what the template puts between text and a call after it; None where it does not keep both."""
        if not opens_with_control(self._family, self._controls):
            return None
        try:
            text = self._shown([HumanMessage(_ASKED), step_message(replace(_STEP, text=_SAID))], asks=False)
        except AgentkitError:
            return None
        _, said, rest = text.partition(_SAID)
        gap, called, _ = rest.partition(calls_text(self._family, _STEP.calls, {_PROBE.name: _PROBE}))
        return gap if said and called and not gap.strip() else None

    def _find_lead(self, step: Step) -> str:
        """Return the white space that the template puts where a step begins."""
        try:
            before = self._shown([HumanMessage(_ASKED)])
            whole = self._shown([HumanMessage(_ASKED), step_message(step)], asks=False)
        except AgentkitError:
            return ""
        said = step.text or calls_text(self._family, step.calls, {_PROBE.name: _PROBE})
        lead, found, _ = whole.removeprefix(before).partition(said)
        return lead if whole.startswith(before) and found and not lead.strip() else ""

    def _shown(self, messages: Sequence[BaseMessage], *, asks: bool = True) -> str:
        """Return what the template makes of `messages`, with a tool to call."""
        tools = [] if self._family.is_told else [function_of(_PROBE)]
        text = self._template.render(turns_of(messages, [_PROBE], self._family, self._template), tools, asks=asks)
        return text + self._template.header if asks else text

    def _check_tools(self, request: Request) -> None:
        if request.tools and not self._family.is_told and "tools" not in self._template.source:
            raise CannotEnforce(
                f"this model's chat template has no place for tools as {self.name} has them; set engine.dialect to chatml"
            )


def _by_name(tools: Sequence[ToolSpec]) -> dict[str, ToolSpec]:
    return {spec.name: spec for spec in tools}


def _calls_so_far(request: Request) -> int:
    return sum(len(message.tool_calls) for message in request.messages if isinstance(message, AIMessage))


def _grounding(request: Request) -> ArgumentRules:
    """Return the rules of grounded arguments; where nothing is grounded, no text is looked at."""
    if not any(declared_grounds(spec) for spec in request.tools):
        return ArgumentRules(Sources.of(()))
    results = [meta(message).get("result", 0) for message in request.messages if isinstance(message, ToolMessage)]
    return ArgumentRules(sources_of(request.messages, results=max(results, default=0), allowed=request.allowed))
