"""A tool as it lives in one conversation: its signature, the ways to ask for it, what it answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from random import Random
from typing import Any

from agentkit.types import ToolRules, ToolSpec
from agentkit_synthesis.conversation import Split
from agentkit_synthesis.talk import Talk
from agentkit_synthesis.values import known, nonsense, path, value
from agentkit_synthesis.wording import SLOT, data, pick, shape

_TYPES = {"s": "string", "e": "string", "i": "integer", "n": "number", "b": "boolean"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Arg:
    """An argument: the slot that phrasings name, the name it has here, and where its values come from."""

    slot: str
    name: str
    kind: str
    pool: str
    required: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """A tool with everything needed to talk about it."""

    id: str
    spec: ToolSpec
    args: tuple[Arg, ...]
    say: tuple[str, ...]
    result: tuple[str, ...]
    final: tuple[str, ...]
    can: str
    next: tuple[str, ...] = ()
    ask: tuple[str, ...] = ()
    untrusted: bool = True
    tasks: tuple[str, ...] = ()  # requests that take a finder first


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """One request to one tool: words, and the call they ask for."""

    text: str
    spoken: Mapping[str, str]
    arguments: Mapping[str, Any]


def kinds(file: str = "catalogue.toml") -> list[Mapping[str, Any]]:
    """Return the kinds of a data file."""
    found: list[Mapping[str, Any]] = data(file)["kind"]
    return found


@cache
def _arg_parts(text: str) -> tuple[tuple[str, ...], bool, str, str]:
    names, _, rest = text.partition(":")
    kind, _, pool = rest.partition(":")
    optional = names.endswith("?")
    return tuple(names.rstrip("?").split(",")), not optional, kind, pool


def spec_of(name: str, description: str, args: tuple[Arg, ...], references: tuple[str, ...] = ()) -> ToolSpec:
    """Return the specification of a tool."""
    properties: dict[str, Any] = {}
    for arg in args:
        properties[arg.name] = {"type": _TYPES[arg.kind]}
        if arg.kind == "e":
            properties[arg.name]["enum"] = arg.pool.split("|")
    parameters = {"type": "object", "properties": properties, "required": [a.name for a in args if a.required]}
    return ToolSpec(name=name, description=description, parameters=parameters, rules=ToolRules(references=references))


def enliven(kind: Mapping[str, Any], rng: Random) -> Live:
    """Return a kind under one of its names, descriptions and argument names."""
    args: list[Arg] = []
    for text in kind["args"]:
        names, required, sort, pool = _arg_parts(text)
        name = names[0] if rng.random() < 0.5 else rng.choice(names)
        if any(arg.name == name for arg in args):
            name = names[0]
        args.append(Arg(slot=names[0], name=name, kind=sort, pool=pool, required=required))
    args.sort(key=lambda arg: not arg.required)
    spec = spec_of(rng.choice(kind["names"]), rng.choice(kind["desc"]), tuple(args), tuple(kind.get("references", ())))
    return Live(
        id=kind["id"], spec=spec, args=tuple(args), say=tuple(kind["say"]), result=tuple(kind["result"]),
        final=tuple(kind["final"]), can=kind["can"], next=tuple(kind.get("next", ())),
        ask=tuple(kind.get("ask", ())), untrusted=not kind.get("trusted", False),
    )  # fmt: skip


def wish(live: Live, rng: Random, split: Split, *, template: str = "", before: Wish | None = None) -> Wish:
    """Return a request; `before` is what it follows up: its values hold where this one names no other."""
    template = template or pick(rng, live.say, split)
    open_slots = frozenset(arg.slot for arg in live.args if arg.required or rng.random() < 0.45)
    shaped = shape(template, rng, open_slots)
    named = set(SLOT.findall(shaped))
    lower = rng.random() < 0.1
    spoken: dict[str, str] = dict(before.spoken) if before else {}
    fresh: dict[str, str] = {}
    for arg in live.args:
        if arg.slot in named:
            taken = {*fresh.values(), before.spoken.get(arg.slot, "") if before else ""}
            drawn = _draw(arg, rng, split, taken)
            fresh[arg.slot] = drawn.lower() if lower else drawn
    spoken.update(fresh)
    text = SLOT.sub(lambda m: spoken.get(m[1], m[1]), shaped)
    return Wish(text=text.lower() if lower else text, spoken=spoken, arguments=arguments_of(live, spoken))


def _draw(arg: Arg, rng: Random, split: Split, taken: set[str]) -> str:
    """Return a value, another than those taken where the pool has one."""
    for _ in range(8):
        drawn = rng.choice(arg.pool.split("|")) if arg.kind == "e" else value(arg.pool, rng, split)
        if drawn not in taken:
            break
    return drawn


def arguments_of(live: Live, spoken: Mapping[str, str]) -> dict[str, Any]:
    """Return the call's arguments for the values that were said."""
    return {arg.name: _typed(spoken[arg.slot], arg.kind) for arg in live.args if arg.slot in spoken}


def _typed(text: str, kind: str) -> Any:
    if kind == "i":
        return int(text)
    if kind == "n":
        number: Any = json.loads(text)
        return number
    return True if kind == "b" else text


def outcome(live: Live, rng: Random, split: Split, spoken: Mapping[str, str]) -> str:
    """Return what the tool gives, made up within its patterns."""
    made = SLOT.sub(lambda m: spoken[m[1]] if m[1] in spoken else _small(m[1], rng, split), rng.choice(live.result))
    return made.replace("~", " ".join(nonsense(rng, split) for _ in range(rng.randint(1, 3))))


def _small(name: str, rng: Random, split: Split) -> str:
    if name in {"num", "num2"}:
        return str(rng.randint(2, 990))
    if name == "deg":
        return str(rng.randint(-12, 35))
    if name in {"dd", "hh", "mm"}:
        return f"{rng.randint(10, {'dd': 28, 'hh': 23, 'mm': 59}[name])}"
    if name in {"f1", "f2", "f3"}:
        return path(rng, split)
    if name in {"id", "id2", "code", "email", "phone"}:
        return value("@" + name.rstrip("2"), rng, split)
    return value(name, rng, split) if known(name) else name


def answer(live: Live, rng: Random, spoken: Mapping[str, str]) -> str:
    """Return the final answer's words, `⟦r⟧` standing for the result."""
    shaped = shape(rng.choice(live.final), rng, frozenset(spoken))
    return SLOT.sub(lambda m: spoken.get(m[1], m[1]), shaped)


def request(talk: Talk, live: Live) -> Wish:
    """Add a whole exchange with one tool: request, call, result, answer; now and then it fails."""
    made = wish(live, talk.rng, talk.split)
    talk.user(made.text)
    run(talk, live, made)
    return made


def run(talk: Talk, live: Live, made: Wish) -> None:
    """Add the call for a request, its result and the answer."""
    talk.call(live.spec.name, made.arguments)
    finish(talk, live, made)


def finish(talk: Talk, live: Live, made: Wish) -> None:
    """Add a call's result and the answer."""
    text = outcome(live, talk.rng, talk.split, made.spoken)
    talk.returned(text, untrusted=live.untrusted)
    talk.final(answer(live, talk.rng, made.spoken))


def follow_up(talk: Talk, live: Live, before: Wish) -> Wish | None:
    """Add a follow-up like "and in Rome?"; nothing when this tool has none."""
    if not live.next:
        return None
    made = wish(live, talk.rng, talk.split, template=talk.rng.choice(live.next), before=before)
    if any(arg.required and arg.slot not in made.spoken for arg in live.args):
        return None
    talk.user(made.text, plainly=True)
    run(talk, live, made)
    return replace(made)


def ask_first(talk: Talk, live: Live) -> Wish | None:
    """Add a request that lacks something, the question back, the reply, and the call."""
    if not live.ask:
        return None
    rng, split = talk.rng, talk.split
    text, _, rest = pick(rng, live.ask, split).partition(" -> ")
    question, _, missing = rest.rpartition(" {")
    missing = missing.rstrip("}")
    made = wish(live, rng, split, template=f"{text} {{{missing}}}")
    if any(arg.required and arg.slot not in made.spoken for arg in live.args):
        return None
    spoken = made.spoken
    talk.user(SLOT.sub(lambda m: spoken[m[1]], shape(text, rng, frozenset(spoken))))
    talk.ask(SLOT.sub(lambda m: spoken[m[1]], question))
    reply = spoken[missing]
    talk.user(
        rng.choice(("{}", "{}", "{}", "{} please", "{}.", "it's {}", "{}, thanks", "let's say {}")).format(reply),
        plainly=True,
    )
    run(talk, live, made)
    return made
