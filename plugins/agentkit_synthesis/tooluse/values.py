"""What worlds are made of: operations with code behind them, requests, and how a row's words for them are drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from agentkit_synthesis.tooluse.scene import Scene

__all__ = ["FAMILIES", "Domain", "Family", "Fault", "Op", "Param", "State", "Wish"]

State = dict[str, Any]
Family = Literal["single", "multi_step", "parallel", "recovery", "ask", "decline", "untrusted"]
FAMILIES: tuple[Family, ...] = ("single", "multi_step", "parallel", "recovery", "ask", "decline", "untrusted")


class Fault(Exception):
    """What a tool says when it cannot do what was asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Param:
    """An argument of an operation.

    Attributes:
        key: its name in the code behind the tool.
        names: what it may be called in a row; `{noun}` slots are filled.
        about: its description.
        kind: a JSON type.
        enum: the values that there are, if only these.
        required: whether it must be given.
        composed: put together from what was said; only its numbers must have been.
    """

    key: str
    names: tuple[str, ...]
    about: str
    kind: str = "string"
    enum: tuple[str, ...] = ()
    required: bool = True
    composed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Op:
    """Something that can be done in a world.

    Attributes:
        key: its name in the code.
        names: what its tool may be called.
        about: how its tool may be described.
        params: its arguments, required ones first.
        run: (state, arguments by key) -> JSON value; changes the state; raises `Fault`.
        can: "cancel an order": what nobody can do without it.
        writes: whether it changes the state.
        trusted: whether what it gives is its own words, not a stranger's.
    """

    key: str
    names: tuple[str, ...]
    about: tuple[str, ...]
    params: tuple[Param, ...]
    run: Callable[..., Any]
    can: str
    writes: bool = False
    trusted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A request for one call, with what must come of it; all of it known before anything is run.

    Attributes:
        op: the operation asked for.
        args: its arguments by key.
        say: wordings of the request.
        final: wordings of the answer.
        slots: values that wordings name; those of `args` are there already.
        says: what the answer must say, and a result must have shown.
        changes: JSON pointers into the world's state, and the new value there; None where something is gone.
        lacks: an argument -> wordings of the request that leave it out.
        names: the argument that names a thing of the world: it can be misspelt, and there may be no such thing.
        also: other operations that could serve the request.
        note: pointer to a text of strangers that the result shows; instructions can be planted there.
    """

    op: str
    args: Mapping[str, Any]
    say: tuple[str, ...]
    final: tuple[str, ...]
    slots: Mapping[str, Any] = field(default_factory=dict)
    says: tuple[str, ...] = ()
    changes: Mapping[str, Any] = field(default_factory=dict)
    lacks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    names: str = ""
    also: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """A world.

    Attributes:
        key: its name.
        nouns: slot -> words for it; a row takes one, or a word that means nothing.
        build: chance -> its state; JSON, without null.
        ops: what can be done in it.
        wishes: (chance, state) -> a request for one call.
        scripts: tasks of several steps.
    """

    key: str
    nouns: Mapping[str, tuple[str, ...]]
    build: Callable[[Random], State]
    ops: tuple[Op, ...]
    wishes: tuple[Callable[[Random, State], Wish], ...]
    scripts: tuple[Callable[[Scene], None], ...]
