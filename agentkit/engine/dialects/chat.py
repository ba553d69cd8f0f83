"""Any GGUF with a chat template: the template renders, the family says how calls are written.

Guarantees: the prompt is what the model's own Jinja template gives, with the date pinned for the process and
JSON without HTML escapes; control tokens come from the template only, never from what a message or a tool
says. A step is text or calls; a question back or a decline is text here. History is rendered anew by the
template, so it is token-exact as far as the template repeats what the model wrote.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from agentkit.engine.dialects import Vocabulary, text_of
from agentkit.engine.dialects.chat_calls import CHATML, FAMILIES, ChatReader, Family, call_grammar, call_text
from agentkit.engine.grammar import json_rule
from agentkit.errors import CannotEnforce, EngineError, ModelError, UnsupportedPart
from agentkit.messages import meta, step_message
from agentkit.protocols import Request
from agentkit.types import JsonSchema, Step, ToolCall, ToolSpec

__all__ = ["FAMILIES", "Chat", "family_of"]

_MARKS = {"hermes": ("<tool_call>",), "mistral": ("[TOOL_CALLS]",), "llama3": ("<|start_header_id|>", "<|python_tag|>")}
_CALL = ToolCall(id="call_0", tool="probe", arguments={"x": 1})
_PRIVATE = range(0xF0000, 0xFFFFD)  # characters that mean nothing; one splits what must not become a token


def family_of(vocabulary: Vocabulary) -> Family:
    """Return the family whose calls the file's chat template writes; `chatml`, which has no calls, if none known."""
    template = _template_of(vocabulary)
    for name, marks in _MARKS.items():
        if any(mark in template for mark in marks) and Chat(vocabulary, FAMILIES[name]).writes_its_calls():
            return FAMILIES[name]
    return CHATML


class Chat:
    """A family of chat models over one vocabulary."""

    choices: frozenset[int] = frozenset()  # kinds and tools are words here

    def __init__(self, vocabulary: Vocabulary, family: Family) -> None:
        """Compile the template.

        Raises:
            ModelError: the file has none, or it is not valid Jinja.
        """
        self.name, self._family, self._vocabulary = family.name, family, vocabulary
        self.end_id = vocabulary.turn_end_id
        if self.end_id < 0:
            raise ModelError("the model file names no token that ends a turn; fetch another conversion of it")
        self._source = _template_of(vocabulary)
        today = datetime.now(UTC)  # pinned: a date that changes would change every prompt's beginning
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _Generation]
        )
        environment.filters["tojson"] = _tojson
        environment.globals |= {"raise_exception": _raise, "strftime_now": today.strftime}
        try:
            self._template = environment.from_string(self._source)
        except TemplateError as error:
            raise ModelError(f"the model's chat template is not valid ({error}); fetch another conversion") from error

    def writes_its_calls(self) -> bool:
        """Whether the template writes a call as the family does, so that history and grammar agree."""
        spec = ToolSpec(name=_CALL.tool, description="", parameters={"type": "object", "properties": {}})
        turns = [HumanMessage("x"), step_message(Step(kind="calls", calls=(_CALL,)))]
        messages = [*turns, ToolMessage("y", tool_call_id=_CALL.id, name=_CALL.tool)]
        try:
            text = self._render(self._turns(messages), [_function(spec)])
        except (EngineError, CannotEnforce):
            return False
        written = call_text(self._family, [_CALL]).removesuffix(self._family.finish).removesuffix(self._family.after)
        return "".join(written[:-1].split()) in "".join(text.split())

    def prompt(self, request: Request) -> list[int]:
        """Return the tokens of the rendered template, up to where the model's turn begins."""
        self._check_tools(request)
        messages = self._turns(request.messages)
        tools = [_function(spec) for spec in request.tools]
        everything = json.dumps([messages, tools], ensure_ascii=False)
        splitter = next(chr(code) for code in _PRIVATE if chr(code) not in everything)
        text = self._render(self._guarded(messages, splitter), self._guarded(tools, splitter))
        tokens = [token for part in text.split(splitter) for token in self._vocabulary.tokenise(part, special=True)]
        if self._vocabulary.adds_bos and tokens[:1] != [self._vocabulary.bos_id]:
            tokens.insert(0, self._vocabulary.bos_id)
        return tokens

    def step(self, step: Step, request: Request) -> list[int]:
        """Return the tokens of `step`, its end included."""
        text = call_text(self._family, step.calls)
        control = self._vocabulary.tokenise(text, special=True) if text else []
        return [*self._vocabulary.tokenise(step.text), *control, self.end_id]

    def grammar(self, request: Request) -> str:
        """Return the grammar: text, or calls of the tools given."""
        self._check_tools(request)
        calls = request.tools if "calls" in request.allow else ()
        if "final" not in request.allow and not calls:
            raise CannotEnforce(f"{self.name} writes final answers and calls only: allow final, or give a tool")
        rules, opens_with_token = call_grammar(self._family, calls, self._vocabulary) if calls else ([], False)
        alternatives = ["calls"] if calls else []
        if "final" in request.allow:
            alternatives.append("text" if request.output is None else "answer")
            if request.output is not None:
                rules.append(f"answer: {json_rule(request.output)}")
            else:
                any_text = r"(.|\n)"  # unless a token tells them apart, text must not begin as calls do
                first = any_text if not calls or opens_with_token else f"[^{re.escape(self._family.opening[0])}]"
                rules += ["text: TEXT calls?" if opens_with_token else "text: TEXT", f"TEXT: /{first}{any_text}*/"]
        return "\n".join([f"start: {' | '.join(alternatives)}", *rules])

    def schemas(self, request: Request) -> Mapping[str, JsonSchema]:
        """Return the tools' schemas, and the answer's."""
        named: dict[str, JsonSchema] = {f"tool '{spec.name}'": spec.parameters for spec in request.tools}
        return named if request.output is None else {**named, "the output schema": request.output}

    def reader(self, request: Request) -> ChatReader:
        """Return a reader for one step."""
        names = [spec.name for spec in request.tools] if "calls" in request.allow else []
        return ChatReader(self._vocabulary, self._family, names, expects_json=request.output is not None)

    def _render(self, messages: list[Any], tools: list[Any]) -> str:
        try:
            return self._rendered(messages, tools)
        except EngineError as error:
            if "system role" not in str(error).lower() or len(messages) < 2 or messages[0]["role"] != "system":
                raise
        system, first, *others = messages  # some templates have no place for instructions: the first turn has
        return self._rendered([{**first, "content": f"{system['content']}\n\n{first['content']}"}, *others], tools)

    def _rendered(self, messages: list[Any], tools: list[Any]) -> str:
        try:
            return self._template.render(
                messages=messages,
                tools=tools or None,
                add_generation_prompt=True,
                enable_thinking=False,
                bos_token=self._text(self._vocabulary.bos_id),
                eos_token=self._text(self.end_id),
            )
        except (TemplateError, TypeError, ValueError) as error:
            raise EngineError(f"the model's chat template refuses this conversation: {error}") from error

    def _check_tools(self, request: Request) -> None:
        if request.tools and (not self._family.has_calls or "tools" not in self._source):
            raise CannotEnforce(
                "this model's chat template has no place for tools; use a model that was trained to call tools"
            )

    def _turns(self, messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
        """Return the turns; a note joins the turn before it where the template wants turns to alternate."""
        turns: list[dict[str, Any]] = []
        for turn in self._messages(messages):
            before = turns[-1] if turns else {"role": ""}
            if self._family.alternates and turn["role"] == "user" and before["role"] in ("user", "tool"):
                before["content"] += f"\n\n{turn['content']}"
            else:
                turns.append(turn)
        return turns

    def _messages(self, messages: Sequence[BaseMessage]) -> Iterator[dict[str, Any]]:
        ids: dict[str, str] = {}  # templates of some families want ids of nine letters
        for message in self._one_call_a_turn(messages):
            match message:
                case SystemMessage() if not meta(message).get("kind"):
                    yield {"role": "system", "content": text_of(message)}
                case SystemMessage():  # nudges and notes: templates have no role for them
                    yield {"role": "user", "content": f"[Note from the framework] {text_of(message)}"}
                case HumanMessage():
                    yield {"role": "user", "content": text_of(message)}
                case ToolMessage() if not self._family.has_calls:  # such templates drop results without a word
                    yield {"role": "user", "content": f"[Result of {message.name or 'a tool'}] {text_of(message)}"}
                case ToolMessage():
                    given = ids.get(message.tool_call_id, "call00000")
                    content = f"Error: {text_of(message)}" if message.status == "error" else text_of(message)
                    yield {"role": "tool", "name": message.name or "", "tool_call_id": given, "content": content}
                case AIMessage():
                    turn: dict[str, Any] = {"role": "assistant", "content": text_of(message)}
                    calls = []
                    for call in message.tool_calls:
                        ids[str(call["id"])] = f"call{len(ids):05d}"
                        function = {"name": call["name"], "arguments": dict(call["args"])}
                        calls.append({"type": "function", "id": ids[str(call["id"])], "function": function})
                    if calls and not self._family.has_calls:
                        yield {**turn, "content": f"{turn['content']}[Called {_tojson(calls)}]"}
                    else:
                        yield {**turn, "tool_calls": calls} if calls else turn
                case _:
                    raise UnsupportedPart(
                        f"{self.name} has no place for a message of type '{message.type}'; leave it out"
                    )

    def _one_call_a_turn(self, messages: Sequence[BaseMessage]) -> Iterator[BaseMessage]:
        """Yield `messages`; where the family takes one call a turn, several become turns of their own."""
        waiting: list[AIMessage] = []
        for message in messages:
            if isinstance(message, AIMessage) and len(message.tool_calls) > 1 and self._family.max_calls == 1:
                waiting = [message.model_copy(update={"tool_calls": [call]}) for call in message.tool_calls]
                continue
            if isinstance(message, ToolMessage) and waiting:
                yield waiting.pop(0)
            yield message

    def _guarded(self, value: Any, splitter: str) -> Any:
        """Return `value` with each control token's text in it split after its first character."""
        if isinstance(value, str):
            return self._control_texts.sub(lambda found: found.group() + splitter, value)
        if isinstance(value, Mapping):
            return {self._guarded(key, splitter): self._guarded(inner, splitter) for key, inner in value.items()}
        return [self._guarded(inner, splitter) for inner in value] if isinstance(value, list | tuple) else value

    @cached_property
    def _control_texts(self) -> re.Pattern[str]:
        texts = [piece.decode("utf-8", "replace") for piece in self._vocabulary.control_ids if len(piece) > 1]
        return re.compile(rf"(?=(?:{'|'.join(map(re.escape, texts))})).", re.DOTALL) if texts else re.compile(r"(?!)")

    def _text(self, token: int) -> str:
        return self._vocabulary.pieces[token].decode("utf-8", "replace") if token >= 0 else ""


class _Generation(Extension):
    """`{% generation %}`, with which some templates mark for training what the model says: left as it is."""

    tags = {"generation"}  # noqa: RUF012  as jinja2 declares it

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Return what stands between the marks."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _template_of(vocabulary: Vocabulary) -> str:
    template = vocabulary.metadata.get("tokenizer.chat_template", "")
    if not template:
        raise ModelError("the model file has no chat template: it is no chat model, or a poor conversion; use another")
    return template


def _function(spec: ToolSpec) -> dict[str, Any]:
    function = {"name": spec.name, "description": spec.description, "parameters": dict(spec.parameters)}
    return {"type": "function", "function": function}


def _tojson(value: Any, indent: int | None = None, **_: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _raise(message: str) -> None:
    raise TemplateError(message)
