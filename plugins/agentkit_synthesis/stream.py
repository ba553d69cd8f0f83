"""Endless conversations: which tools stand in a prompt, who is asked what, and how hard it gets.

Item `index` of a seed and split is always the same. `stage` goes from 0 (pure recall of tags) over short
signatures to 1 (the full mixture).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from random import Random
from typing import Literal

from agentkit.engine.dialects import plain
from agentkit_synthesis import chains, chat, files, invented
from agentkit_synthesis.arithmetic import calculate_request, calculator
from agentkit_synthesis.conversation import Conversation, Said, Split, Turn, render
from agentkit_synthesis.live import (
    Live,
    Wish,
    answer,
    ask_first,
    enliven,
    finish,
    follow_up,
    kinds,
    outcome,
    request,
    wish,
)
from agentkit_synthesis.talk import Talk

Mixture = Literal["recall", "short", "full"]

SYSTEMS = (
    "Answer briefly.", "You are a helpful assistant.", "Use the tools.", "You are agentkit. Use tools where they help.",
    "Never invent facts.", "Be brief and exact.", "You help with files and sums.", "You are a devops assistant.",
    "Today is Monday.", "Answer in short sentences.", "Use a tool when one fits; otherwise say so.",
)  # fmt: skip


def conversations(
    seed: int, *, split: Split, stage: float = 1.0, mixture: Mixture | None = None, start: int = 0
) -> Iterator[Conversation]:
    """Yield conversations without end; a `mixture` named overrides the `stage`."""
    for index in itertools.count(start):
        yield conversation_at(seed, index, split=split, stage=stage, mixture=mixture)


def conversation_at(
    seed: int, index: int, *, split: Split, stage: float = 1.0, mixture: Mixture | None = None
) -> Conversation:
    """Return conversation number `index`."""
    rng = Random(f"{seed}/{split}/{index}")
    match mixture or _drawn(rng, stage):
        case "recall":
            return recall(rng, split, level=min(1.0, max(0.0, stage)))
        case "short":
            return _mixed(rng, split, short=True)
        case _:
            return _mixed(rng, split, short=False)


def _drawn(rng: Random, stage: float) -> Mixture:
    recall_share = max(0.03, 1.0 - 3 * stage)
    short_share = max(0.12, min(1.0, 1.6 - 1.6 * stage))
    roll = rng.random()
    if roll < recall_share:
        return "recall"
    return "short" if rng.random() < short_share else "full"


def recall(rng: Random, split: Split, *, level: float) -> Conversation:
    """Return bare queries over very short signatures: only the tags are learned."""
    talk = Talk(rng, split)
    tools: dict[str, tuple[Live, tuple[str, ...]]] = {}
    count = rng.randint(2, 6)
    while len(tools) < count:
        live, queries = invented.bare(rng, split, level)
        tools.setdefault(live.spec.name, (live, queries))
    for _ in range(rng.randint(6, 10)):
        live, queries = rng.choice(list(tools.values()))
        talk.user(rng.choice(queries), plainly=True)
        talk.call(live.spec.name, {})
    specs = [live.spec for live, _ in tools.values()]
    return Conversation(tools=tuple(specs), turns=tuple(talk.turns), family="recall", split=split, tags_only=True)


def bundled(rng: Random) -> dict[str, Live]:
    """Return agentkit's own tools by name."""
    return {"calculator": calculator(), **{kind["id"]: enliven(kind, rng) for kind in kinds("bundled.toml")}}


def toolset(rng: Random, split: Split, family: str, count: int) -> list[Live]:
    """Return about `count` tools, no two of one name: invented, bundled, or of the catalogue."""
    tools: dict[str, Live] = {}
    heads: list[tuple[str, str]] = []
    if family == "bundled":
        tools = bundled(rng)
        if rng.random() < 0.6:
            keep = rng.sample(sorted(tools), rng.randint(min(3, count), len(tools)))
            tools = {name: tools[name] for name in tools if name in keep}
    elif rng.random() < 0.18:
        tools = {live.spec.name: live for live in chains.pair(rng, split)}
    domains = kinds()
    base = rng.randrange(len(domains))
    tries = 0
    while len(tools) < count and tries < 60:
        tries += 1
        if family == "invented":
            live, head = invented.invent(rng, split, heads)
            heads.append(head)
        else:  # neighbours in the catalogue are near-misses of each other
            near = (base + rng.randint(-3, 3)) % len(domains)
            kind = domains[near if rng.random() < 0.6 else rng.randrange(len(domains))]
            live = enliven(kind, rng)
            if any(other.id == live.id for other in tools.values()):
                continue
        tools.setdefault(live.spec.name, live)
    chosen = list(tools.values())
    if family != "bundled" or rng.random() < 0.5:
        rng.shuffle(chosen)
    return chosen


def _mixed(rng: Random, split: Split, *, short: bool) -> Conversation:
    family = rng.choices(("invented", "catalogue", "bundled"), (32, 34, 34))[0]
    long = not short and rng.random() < 0.02
    count = rng.randint(2, 5) if short else rng.randint(16, 32) if long else rng.randint(2, 12)
    tools = toolset(rng, split, family, count)
    if not long and rng.random() < 0.02:
        tools = []
    talk = Talk(rng, split)
    rounds = rng.randint(15, 40) if long else rng.choice((1, 3, 4, 5, 6, 6, 8) if not short else (4, 5, 6, 8))
    budget = 3800 if long else 430
    spent = _length(plain.tools([live.spec for live in tools]))
    ends = 0
    for number in range(rounds):
        _exchange(talk, tools, family, simple=short)
        spent += sum(_cost(turn) for turn in talk.turns[ends:])
        if (spent > budget and number and not long) or spent > 3800:
            del talk.turns[ends:]
            break
        ends = len(talk.turns)
    specs = tuple(live.spec for live in tools)
    system = rng.choice(SYSTEMS) if rng.random() < 0.3 else ""
    return Conversation(tools=specs, turns=tuple(talk.turns), family=family, split=split, system=system)


def _length(pieces: list[plain.Piece]) -> int:
    return sum(1 if piece.control else 1 + len(piece.text) // 3 for piece in pieces)


def _cost(turn: Turn) -> int:
    text = getattr(turn, "text", "")
    calls = getattr(turn, "calls", ())
    return 4 + len(text) // 3 + sum(8 + len(str(call.arguments)) // 3 for call in calls)


def _exchange(talk: Talk, tools: list[Live], family: str, *, simple: bool) -> None:
    rng = talk.rng
    roll = rng.random()
    if not tools or roll < (0.02 if simple else 0.07):
        knows = any(live.id == "wiki" for live in tools)  # it would serve half of what is outside
        chat.small_talk(talk) if knows or rng.random() < 0.45 else chat.outside(talk)
        return
    if roll < (0.05 if simple else 0.14):
        _declined(talk, tools)
        return
    if family == "bundled" and rng.random() < 0.42 and _several(talk, tools):
        return
    finder = next((live for live in tools if live.id == "finder"), None)
    if finder and rng.random() < 0.4:
        chains.find_and_use(talk, finder, next(live for live in tools if live.id == "needs_key"))
        return
    live = rng.choice(tools)
    if live.id != "calculator" and any(t.id == "calculator" for t in tools) and rng.random() < 0.2:
        live = next(t for t in tools if t.id == "calculator")
    if live.id == "calculator":
        calculate_request(talk, live)
        return
    _one(talk, live, simple=simple)


def _one(talk: Talk, live: Live, *, simple: bool) -> None:
    rng = talk.rng
    roll = rng.random()
    if not simple and roll < 0.12 and ask_first(talk, live):
        return
    can_double = live.next and live.id != "invented" and live.args and live.args[0].kind == "s"
    if not simple and roll < 0.15 and can_double and _parallel(talk, live):
        return
    if roll > 0.95:
        _failed(talk, live)
        return
    made: Wish | None = request(talk, live)
    while made and live.next and rng.random() < (0.1 if simple else 0.22):
        made = follow_up(talk, live, made)


def _several(talk: Talk, tools: list[Live]) -> bool:
    here = {live.id for live in tools}
    fitting = [task for task, wanted in files.needs().values() if wanted <= here]
    if not fitting:
        return False
    if files.aggregate in fitting and talk.rng.random() < 0.38:
        files.aggregate(talk)
    else:
        talk.rng.choice(fitting)(talk)
    return True


def _declined(talk: Talk, tools: list[Live]) -> None:
    here = {live.id for live in tools} | {name for live in tools for name in live.spec.name.split("_")}
    all_kinds = kinds()
    own = [n for n, kind in enumerate(all_kinds) if kind["id"] in here]
    for _ in range(8):  # often a neighbour of a tool that is here
        near = bool(own) and talk.rng.random() < 0.6
        at = talk.rng.choice(own) + talk.rng.randint(-4, 4) if near else talk.rng.randrange(len(all_kinds))
        kind = all_kinds[at % len(all_kinds)]
        if kind["id"] not in here and not here & {w for name in kind["names"] for w in name.split("_")}:
            chat.no_tool(talk, enliven(kind, talk.rng))
            return
    chat.outside(talk)


def _failed(talk: Talk, live: Live) -> None:
    rng = talk.rng
    made = wish(live, rng, talk.split)
    talk.user(made.text)
    talk.call(live.spec.name, made.arguments)
    said = next(iter(made.spoken.values()), live.can)
    reasons = (
        "timed out",
        "no connection",
        "service unavailable",
        f"unknown: {said}",
        f"not found: {said}",
        "permission denied",
        "try again later",
        f"{live.spec.name} was not allowed: it is not among the tools that may run",
        f"{live.spec.name} was denied: a person said no",
        f"{live.spec.name} needs a person's approval, and nobody can be asked: it cannot be taken back",
        f"{live.spec.name} did not finish in time and was stopped",
        "exit status 1",
    )
    talk.returned(rng.choice(reasons), failed=True)
    if rng.random() < 0.2:
        talk.call(live.spec.name, made.arguments)
        finish(talk, live, made)
        return
    talk.final(
        rng.choice(
            (
                f"I could not {live.can}: ⟦r⟧.",
                "That did not work: ⟦r⟧.",
                f"{live.spec.name} failed: ⟦r⟧.",
                "It failed: ⟦r⟧.",
            )
        )
    )


def _parallel(talk: Talk, live: Live) -> bool:
    """One request for two values of the first argument: "weather in Oslo and Rome"."""
    rng, slot = talk.rng, live.args[0].slot
    template = next((t for t in live.say if t[:1] not in "*+" and "{" + slot + "}" in t and t.count("{") == 1), "")
    if not template:
        return False
    one = wish(live, rng, talk.split, template=template)
    two = wish(live, rng, talk.split, template=template)
    first, second = one.spoken.get(slot, ""), two.spoken.get(slot, "")
    if first.lower() == second.lower() or set(one.spoken) != {slot} or set(two.spoken) != {slot}:
        return False
    talk.user(one.text.replace(first, f"{first} and {second}"))
    talk.calls([(live.spec.name, one.arguments), (live.spec.name, two.arguments)])
    talk.returned(outcome(live, rng, talk.split, one.spoken), untrusted=live.untrusted)
    earlier = talk.latest
    talk.returned(outcome(live, rng, talk.split, two.spoken), untrusted=live.untrusted)
    talk.final(f"{first}: ⟦r{earlier}⟧, {second}: ⟦r⟧.")
    return True


def corpus_text(seed: int, n: int) -> Iterator[str]:
    """Yield `n` plain texts for training the tokenizer: requests, signatures, results, answers."""
    source = conversations(seed, split="train")
    given = 0
    while given < n:
        for piece, _ in render(next(source)):
            if not piece.control:
                yield piece.text
                given += 1
            if given >= n:
                return


def said(conversation: Conversation) -> list[str]:
    """Return the requests of a conversation."""
    return [turn.text for turn in conversation.turns if isinstance(turn, Said)]


__all__ = ["answer", "bundled", "conversation_at", "conversations", "corpus_text", "recall", "said", "toolset"]
