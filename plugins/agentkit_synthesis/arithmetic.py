"""Requests for arithmetic, with the expression each one asks for."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import NamedTuple

from agentkit_synthesis.conversation import Split
from agentkit_synthesis.live import Arg, Live, spec_of
from agentkit_synthesis.talk import Talk
from agentkit_synthesis.wording import SLOT, data, pick, share_of
from agentkit_synthesis.worlds import Cannot, calculate

_WEIGHTS = (9, 4, 3, 2, 4, 3, 4, 4, 4, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1)


class Sum(NamedTuple):
    """A request, the expression, the answer's words."""

    text: str
    expression: str
    final: str


def calculator() -> Live:
    """Return the bundled calculator."""
    args = (Arg(slot="expression", name="expression", kind="s", pool="", required=True),)
    spec = spec_of("calculator", "Work out arithmetic, percentages, and sums.", args, ("expression",))
    return Live(
        id="calculator", spec=spec, args=args, say=(), result=(), final=(), can="do arithmetic", untrusted=False
    )


def number(rng: Random) -> str:
    """Return a number as people write them."""
    roll = rng.random()
    if roll < 0.45:
        return str(rng.randint(2, 120))
    if roll < 0.7:
        return str(rng.randint(1, 99) * rng.choice((10, 50, 100)))
    if roll < 0.85:
        return f"{rng.randint(100, 20000):{',' if roll < 0.75 else ''}}"
    return f"{rng.uniform(0.2, 900):.{rng.choice((1, 2, 2))}f}"


def sum_of(rng: Random, split: Split) -> Sum:
    """Return a sum to work out; its numbers and wording belong to `split`."""
    families = data("arithmetic.toml")["family"]
    while True:
        family = rng.choices(families, _WEIGHTS)[0]
        template = pick(rng, family["say"], split)
        items = [number(rng) for _ in range(rng.choice((2, 3, 3, 4, 5, 6, 8)))]
        rare = rng.random() < 0.15
        spoken = {
            "a": number(rng), "b": number(rng), "c": str(rng.randint(2, 60)), "s": str(rng.randint(2, 40)),
            "t": str(rng.randint(2, 6)), "l": ", ".join(items),
            "p": f"{rng.randint(0, 40)}.{rng.randint(1, 9)}" if rare else _percent(rng),
        }  # fmt: skip
        expression = _put(family["expr"], spoken)
        if share_of(expression) != split:
            continue
        if "({" not in template:
            spoken["l"] = _listed(items, rng)
        try:
            calculate(expression)
        except Cannot:
            continue
        final = _put(rng.choice(family["final"]), spoken)
        text = _choose(template, rng)
        return Sum(_put(text, spoken), expression, final)


def _put(template: str, spoken: Mapping[str, str]) -> str:
    return SLOT.sub(lambda m: spoken[m[1]], template)


def _choose(template: str, rng: Random) -> str:
    if "(| is|'s)" in template:
        return template.replace("(| is|'s)", rng.choice((" is", "'s", "")))
    return template


def _percent(rng: Random) -> str:
    return str(rng.choice((5, 10, 15, 18, 20, 25, 30, 50, 75)) if rng.random() < 0.4 else rng.randint(1, 120))


def _listed(items: list[str], rng: Random) -> str:
    style = rng.random()
    if style < 0.5:
        return ", ".join(items[:-1]) + " and " + items[-1]
    if style < 0.8:
        return ", ".join(items)
    return " and ".join(items) if len(items) < 4 or style < 0.85 else " ".join(items)


def calculate_request(talk: Talk, live: Live) -> None:
    """Add a request for arithmetic, the call, its true result and the answer."""
    asked = sum_of(talk.rng, talk.split)
    talk.user(asked.text)
    talk.calculated(live.spec.name, asked.expression)
    talk.final(asked.final)
    if talk.rng.random() < 0.12:
        _follow(talk, live, asked)


def _follow(talk: Talk, live: Live, before: Sum) -> None:
    head, of, _ = before.expression.partition("% of ")
    if not of:
        return
    rng = talk.rng
    amount = number(rng)
    if rng.random() < 0.6:
        talk.user(
            rng.choice(("and of {}?", "and of {}", "what about {}?", "and for {}?", "same for {}", "now of {}")).format(
                amount
            ),
            plainly=True,
        )
        expression = f"{head}% of {amount}"
    else:
        percent = _percent(rng)
        rest = before.expression.partition("% of ")[2]
        talk.user(
            rng.choice(("and {}%?", "what about {}%?", "and {} percent?", "now {}%")).format(percent), plainly=True
        )
        expression = f"{percent}% of {rest}"
    talk.calculated(live.spec.name, expression)
    talk.final(f"{expression} is ⟦r⟧.")
