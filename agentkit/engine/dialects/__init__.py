"""How model families write tools, steps and results, each behind one protocol.

A dialect turns a request into prompt tokens and a grammar, and reads the decoded tokens back as a step.
Data can never become control tokens, whatever it says, nor can a picture. Dialects know a model's vocabulary and nothing
else of it, so they work with any engine that has one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from agentkit.errors import UnsupportedPart
from agentkit.media import is_media
from agentkit.protocols import Delta, Ground, Request
from agentkit.types import Step

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

    from agentkit.types import JsonSchema

__all__ = ["Dialect", "Look", "Reader", "Vocabulary", "detect", "pieces_of", "text_of", "unseen"]

Block = Mapping[str, Any]  # LangChain's content block of a picture or a sound
Look = Callable[[Block, str], Sequence[int]]  # the tokens of one, given the text of its message


class Vocabulary(Protocol):
    """What a dialect needs to know of a model."""

    @property
    def pieces(self) -> Sequence[bytes]:
        """The bytes of each token."""
        ...

    @property
    def control_ids(self) -> Mapping[bytes, int]:
        """Text of each control token -> its id."""
        ...

    @property
    def end_ids(self) -> Sequence[int]:
        """The tokens that end a generation."""
        ...

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the model's file says about itself."""
        ...

    @property
    def bos_id(self) -> int:
        """The token a text begins with; -1 where there is none."""
        ...

    @property
    def turn_end_id(self) -> int:
        """The token that closes a turn."""
        ...

    @property
    def adds_bos(self) -> bool:
        """Whether prompts begin with `bos_id`."""
        ...

    def tokenise(self, text: str, *, special: bool = False) -> list[int]:
        """Return the tokens of `text`; control tokens only with `special`."""
        ...

    def knows(self, tokens: Sequence[int]) -> bool:
        """Whether all of `tokens` are ids of this vocabulary."""
        ...


class Reader(Protocol):
    """Reads one step, token by token."""

    @property
    def is_done(self) -> bool:
        """Whether the step is over though no end has come, by a stop string."""
        ...

    def feed(self, token: int) -> list[Delta]:
        """Take one token; return what it showed."""
        ...

    def tools_ahead(self, allowed: Iterable[int]) -> Mapping[int, tuple[str, ...]]:
        """Return the tools that each of `allowed` still leads to; nothing where none is being chosen."""
        ...

    def finish(self, *, whole: bool) -> Step:
        """Return the step; unless `whole`, what was cut off is left out of it."""
        ...


class Dialect(Protocol):
    """One way of writing steps, over one vocabulary."""

    name: str
    end_id: int  # closes a step
    choices: frozenset[int]  # tokens that choose a kind of step or a tool

    def prompt(self, request: Request, look: Look) -> list[int]:
        """Return the tokens up to where the model's step begins; `look` gives those of pictures and sounds."""
        ...

    def step(self, step: Step, request: Request) -> list[int]:
        """Return the tokens of `step` as the model would write it after the prompt, its end included."""
        ...

    def grammar(self, request: Request) -> str:
        """Return the Lark grammar of the steps that the request allows.

        Raises:
            CannotEnforce: something asked for does not exist in this dialect.
        """
        ...

    def schemas(self, request: Request) -> Mapping[str, JsonSchema]:
        """Return the schemas inside the grammar by the name of the thing they belong to."""
        ...

    def grounds(self, request: Request) -> Mapping[str, Mapping[str, Ground]]:
        """Return what each grounded argument of each tool may be taken from, by the tool's name and the argument's."""
        ...

    def reader(self, request: Request) -> Reader:
        """Return a reader for one step."""
        ...


def detect(vocabulary: Vocabulary, wanted: str | None = None) -> Dialect:
    """Return the dialect that the model's file names or its chat template shows, or the one `wanted`.

    Raises:
        ModelError: no dialect goes by that name, or the file has no chat template.
    """
    named = wanted or vocabulary.metadata.get("agentkit.dialect")
    if named in ("plain", "plain/1"):
        from agentkit.engine.dialects.plain_dialect import Plain  # noqa: PLC0415  only the one in use is loaded

        return Plain(vocabulary)
    from agentkit.engine.dialects.chat_detect import chat_dialect  # noqa: PLC0415

    return chat_dialect(vocabulary, named)


def pieces_of(message: BaseMessage) -> Iterator[str | Block]:
    """Yield the texts of `message`, and the blocks of its pictures and sounds, in their order.

    Texts that follow each other are one, each a line.

    Raises:
        UnsupportedPart: it holds something else as well.
    """
    blocks = [message.content] if isinstance(message.content, str) else message.content
    texts: list[str] = []
    for block in blocks:
        if isinstance(block, str) or block.get("type") == "text":
            texts.append(block if isinstance(block, str) else str(block.get("text", "")))
            continue
        if not is_media(block):
            raise UnsupportedPart(
                f"{message.type} message: this model cannot take a part of type '{block.get('type')}'; "
                "describe it in words, or use a model that can"
            )
        if texts:
            yield "\n".join(texts)
            texts = []
        yield block
    if texts:
        yield "\n".join(texts)


def text_of(message: BaseMessage) -> str:
    """Return the words of `message`.

    Raises:
        UnsupportedPart: it holds something else as well.
    """
    pieces = list(pieces_of(message))
    for piece in pieces:
        if not isinstance(piece, str):
            raise UnsupportedPart(
                f"{message.type} message: a part of type '{piece.get('type')}' has a place in the user's messages only"
            )
    return "\n".join(str(piece) for piece in pieces)


def unseen(block: Block, words: str) -> Sequence[int]:
    """Refuse a picture or a sound: a `Look` of a model that has neither eyes nor ears."""
    raise UnsupportedPart(
        f"this model cannot take a part of type '{block.get('type')}'; describe it in words, or use a model that can"
    )
