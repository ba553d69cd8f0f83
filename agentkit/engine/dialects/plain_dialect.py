"""`plain/1` as a dialect: LangChain messages in, tokens and grammar out. The words are in `plain.py`.

History is token-exact: a step that carries the tokens it was decoded as is written with those tokens, if they
still read back as that step (they do not after a change of model, of tools, or of the message).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from agentkit.engine.dialects import Look, Vocabulary, pieces_of, plain, text_of, unseen
from agentkit.engine.dialects.arguments import ArgumentRules, text_terminal
from agentkit.engine.dialects.grounding import Sources, sources_of
from agentkit.engine.dialects.plain_read import PlainReader
from agentkit.engine.grammar import json_rule
from agentkit.errors import CannotEnforce, ModelFileError, UnsupportedPart
from agentkit.media import IMAGES
from agentkit.messages import meta, step_of, words_of
from agentkit.protocols import Ground, Request
from agentkit.types import JsonSchema, Step, ToolSpec

__all__ = ["Plain"]

_IDS = plain.CONTROL_IDS
_TAGS = tuple(_IDS[f"<t{n}>"] for n in range(plain.MAX_TOOLS))
_KINDS = ("final", "ask", "decline")
MAX_CALLS = 16  # a step; more would have references that mean two results


class Plain:
    """`plain/1` over one vocabulary."""

    name = plain.NAME
    end_id = _IDS["<end>"]
    choices = frozenset({*_TAGS, *(_IDS[f"<{name}>"] for name in (*_KINDS, "call"))})

    def __init__(self, vocabulary: Vocabulary) -> None:
        """Check that the vocabulary has the control tokens where `plain/1` has them.

        Raises:
            ModelFileError: it has not.
        """
        self._vocabulary = vocabulary
        self._quotes = vocabulary.metadata.get("agentkit.quotes") == "true"
        for token, text in enumerate(plain.CONTROL_TOKENS):
            if vocabulary.control_ids.get(text.encode()) != token:
                raise ModelFileError(
                    f"the file says it speaks plain/1, but token {token} is not the control token {text}; "
                    "build it again, or set engine.dialect"
                )

    def prompt(self, request: Request, look: Look = unseen) -> list[int]:
        """Return the tokens up to and including `<assistant>`."""
        return self._conversation(request, look).tokens + self._tokens(plain.ask_for_step())

    def step(self, step: Step, request: Request) -> list[int]:
        """Return the tokens of `step`: its own if they read back as it, else as `plain/1` writes it."""
        return self._step(step, request.tools, _results(request.messages))

    def grammar(self, request: Request) -> str:
        """Return the grammar of the steps allowed, tags and references limited to what exists."""
        if request.thinking:
            raise CannotEnforce("models that speak plain/1 have not learnt to think; set engine.thinking to 0")
        references = sorted({_IDS[plain.reference(n).text] for n in _results(request.messages)})
        kinds = [kind for kind in _KINDS if kind in request.allow]
        arguments = self._arguments(request)
        calls = _calls(request.tools, arguments) if "calls" in request.allow else {}
        if not kinds and not calls:
            raise CannotEnforce("no kind of step is left: allow final, ask or decline, or give a tool")
        alternatives = [f"<[{_IDS[f'<{kind}>']}]> {_body(kind, request)}" for kind in kinds]
        rules = []
        if calls:
            alternatives.append(f"call{{1,{MAX_CALLS}}}")
            rules.append(f"call: <[{_IDS['<call>']}]> ({' | '.join(f'tool{n}' for n in calls)})")
            rules += [f"tool{n}: <[{_IDS[plain.tag(n).text]}]> {rule}" for n, rule in calls.items()]
            rules += arguments.terminals
        if any(_body(kind, request) == "text" for kind in kinds):
            rules.append("text: TEXT (ref TEXT?)* | (ref TEXT?)+" if references else "text: TEXT")
            rules.append(self._text(request))
            rules += [f"ref: {' | '.join(f'<[{token}]>' for token in references)}"] if references else []
        return "\n".join([f"start: {' | '.join(alternatives)}", *rules])

    def grounds(self, request: Request) -> Mapping[str, Mapping[str, Ground]]:
        """Return what each grounded argument of each tool may be taken from."""
        arguments = self._arguments(request)
        return {spec.name: arguments.grounds(spec) for spec in request.tools if arguments.held(spec)}

    def _arguments(self, request: Request) -> ArgumentRules:
        return ArgumentRules(self._sources(request, max(_results(request.messages), default=0)))

    def _text(self, request: Request) -> str:
        if not self._quotes:
            return r"TEXT: /(.|\n)+/"
        return text_terminal(self._sources(request), tuple(spec.name for spec in request.tools))

    def _sources(self, request: Request, results: int = 0) -> Sources:
        return sources_of(request.messages, results=results, quotes=self._quotes, allowed=request.allowed)

    def schemas(self, request: Request) -> Mapping[str, JsonSchema]:
        """Return the tools' schemas, and the answer's."""
        named: dict[str, JsonSchema] = {f"tool '{spec.name}'": spec.parameters for spec in request.tools}
        return named if request.output is None else {**named, "the output schema": request.output}

    def reader(self, request: Request) -> PlainReader:
        """Return a reader for one step."""
        return PlainReader(self._vocabulary.pieces, _tool_tokens(request.tools), _results(request.messages))

    def _conversation(self, request: Request, look: Look) -> _Conversation:
        messages = list(request.messages)
        done = _Conversation(self._tokens(plain.begin()))
        leading = 0
        while leading < len(messages) and isinstance(messages[leading], SystemMessage) and not _kind(messages[leading]):
            leading += 1
        if leading:
            text = "\n".join(text_of(message) for message in messages[:leading])
            done.tokens += self._tokens(plain.system(text))
        done.tokens += self._tokens(plain.tools(request.tools))
        for message in messages[leading:]:
            if isinstance(message, HumanMessage):
                done.tokens += self._user(message, look)
            else:
                done.tokens += self._turn(message, request.tools, done)
        return done

    def _user(self, message: HumanMessage, look: Look) -> list[int]:
        said = words_of(message)
        begin, end = self._tokens(plain.user(""))
        before, after = self._tokens(plain.image())
        tokens = [begin]
        for piece in pieces_of(message):
            if isinstance(piece, str):
                tokens += self._vocabulary.tokenise(piece)
            elif piece.get("type") in IMAGES:
                tokens += [before, *look(piece, said), after]
            else:  # plain/1 has nothing that stands around a sound
                tokens += look(piece, said)
        return [*tokens, end]

    def _turn(self, message: BaseMessage, tools: Sequence[ToolSpec], done: _Conversation) -> list[int]:
        match message:
            case AIMessage():
                step = replace(step_of(message), text=text_of(message))
                return self._past_step(step, tools, done.results)
            case ToolMessage():
                number = meta(message).get("result", done.count + 1)
                text = text_of(message)
                done.count = number
                done.results[(number - 1) % plain.MAX_REFERENCES + 1] = text
                untrusted = meta(message).get("trust") == "untrusted"
                failed = message.status == "error"
                read = meta(message).get("brief") or text
                return self._tokens(plain.result(number, read, failed=failed, untrusted=untrusted))
            case SystemMessage():
                turn = plain.note if _kind(message) == "note" else plain.nudge
                return self._tokens(turn(text_of(message)))
            case _:
                raise UnsupportedPart(f"plain/1 has no place for a message of type '{message.type}'; leave it out")

    def _past_step(self, step: Step, tools: Sequence[ToolSpec], results: Mapping[int, str]) -> list[int]:
        known = {spec.name for spec in tools}
        strange = [call for call in step.calls if call.tool not in known]
        if strange:  # a tool that is no longer there has no tag: say in words what was called
            said = "; ".join(f"{call.tool} {plain.arguments_json(call.arguments)}" for call in step.calls)
            return self._tokens(plain.note(f"called {said}"))
        return self._tokens(plain.ask_for_step()) + self._step(step, tools, results)

    def _step(self, step: Step, tools: Sequence[ToolSpec], results: Mapping[int, str]) -> list[int]:
        if self._reads_back(step, tools, results):
            ids = list(step.token_ids)
            return ids if ids[-1] == self.end_id else [*ids, self.end_id]
        tags = {spec.name: n for n, spec in enumerate(tools)}
        missing = [call.tool for call in step.calls if call.tool not in tags]
        if missing:
            raise CannotEnforce(f"tool '{missing[0]}' is not among the request's tools; add it")
        return self._tokens(plain.step(step, tags))

    def _reads_back(self, step: Step, tools: Sequence[ToolSpec], results: Mapping[int, str]) -> bool:
        if not step.token_ids or not self._vocabulary.knows(step.token_ids):
            return False
        reader = PlainReader(self._vocabulary.pieces, _tool_tokens(tools), results)
        try:
            for token in step.token_ids:
                reader.feed(token)
            found = reader.finish(whole=True)
        except ValueError:
            return False
        return (found.kind, found.text, _said(found)) == (step.kind, step.text, _said(step))

    def _tokens(self, pieces: Iterable[plain.Piece]) -> list[int]:
        tokens: list[int] = []
        for piece in pieces:
            tokens += [_IDS[piece.text]] if piece.control else self._vocabulary.tokenise(piece.text)
        return tokens


@dataclass(slots=True)
class _Conversation:
    """What a conversation came to: its tokens, and the results that can be referred to."""

    tokens: list[int]
    results: dict[int, str] = field(default_factory=dict)
    count: int = 0


def _calls(tools: Sequence[ToolSpec], arguments: ArgumentRules) -> dict[int, str]:
    """Return the grammar of each tool's arguments by the tool's number; tools that cannot be called are left out."""
    rules = {n: arguments.kept(spec, "plain", partial(arguments.call, spec)) for n, spec in enumerate(tools)}
    return {n: rule for n, rule in rules.items() if rule is not None}


def _results(messages: Sequence[BaseMessage]) -> dict[int, str]:
    """Return the texts of the results that can be referred to, by number."""
    done: dict[int, str] = {}
    number = 0
    for message in messages:
        if isinstance(message, ToolMessage):
            number = meta(message).get("result", number + 1)
            done[(number - 1) % plain.MAX_REFERENCES + 1] = text_of(message)
    return done


def _body(kind: str, request: Request) -> str:
    return json_rule(request.output) if kind == "final" and request.output is not None else "text"


def _kind(message: BaseMessage) -> str:
    return meta(message).get("kind", "")


def _said(step: Step) -> list[tuple[str, str]]:
    return [(call.tool, plain.arguments_json(call.arguments)) for call in step.calls]


def _tool_tokens(tools: Sequence[ToolSpec]) -> dict[int, str]:
    return {_IDS[plain.tag(n).text]: spec.name for n, spec in enumerate(tools)}
