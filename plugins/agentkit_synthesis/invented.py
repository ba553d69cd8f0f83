"""Tools that never were: verbs x nouns x arguments, a quarter of them in nonsense words.

Only the signature tells what such a tool is for, so nothing can be learned by heart. Near-misses share
the verb or the noun of another tool.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from random import Random

from agentkit_synthesis.conversation import Split
from agentkit_synthesis.live import Arg, Live, spec_of
from agentkit_synthesis.values import nonsense
from agentkit_synthesis.wording import data, of_split

_LOOK = ("get", "show", "check", "read", "fetch", "lookup", "query", "tell")
_ASK = (
    "what is the {a} of the {x}", "what's the {x} {a}", "{x} {a}", "tell me the {a} of the {x}", "show me the {x} {a}",
    "I need the {x}'s {a}", "check the {a} of the {x}", "how about the {a} of the {x}", "give me the {x} {a}", "the {a} of the {x}",
    "do you know the {a} of the {x}", "I'd like to know the {a} of the {x}",
    "*which {a} has the {x}", "*look into the {a} of the {x}", "+report the {x} {a}",
)  # fmt: skip
_DO = (
    "{v} the {x}", "{v} the {x}", "{v} a {x}", "I want to {v} the {x}", "can you {v} the {x}", "we have to {v} the {x}",
    "{v} {x}", "please {v} the {x}", "the {x}: {v} it", "I'd like you to {v} the {x}", "let's {v} the {x}", "time to {v} the {x}",
    "{v} my {x}", "it's about the {x}, please {v} it", "*go and {v} the {x}", "*would it be possible to {v} the {x}", "+see that you {v} the {x}",
)  # fmt: skip


@cache
def _words(name: str) -> tuple[str, ...]:
    return tuple(data("words.toml")[name].split("; "))


def invent(rng: Random, split: Split, others: Sequence[tuple[str, str]] = ()) -> tuple[Live, tuple[str, str]]:
    """Return an invented tool and its (verb group, noun); with `others`, near one of them half the time."""
    verb, noun = _head(rng, split), _noun(rng, split)
    if others and rng.random() < 0.5:
        near_verb, near_noun = rng.choice(others)
        if rng.random() < 0.6:
            noun = near_noun
        else:
            verb = near_verb
    return _live(rng, split, verb, noun), (verb, noun)


def _head(rng: Random, split: Split) -> str:
    if rng.random() < 0.25:
        return nonsense(rng, split)
    if rng.random() < 0.3:
        return "?" + rng.choice(of_split(_words("attributes"), split))
    return rng.choice(of_split(_words("verbs"), split))


def _noun(rng: Random, split: Split) -> str:
    if rng.random() < 0.25:
        return nonsense(rng, split)
    noun = rng.choice(of_split(_words("nouns"), split))
    return f"{rng.choice(of_split(_words('adjectives'), split))} {noun}" if rng.random() < 0.25 else noun


def _live(rng: Random, split: Split, verb: str, noun: str) -> Live:
    args, phrases = _arguments(rng, split)
    if verb.startswith("?"):
        attribute = verb[1:]
        name = f"{rng.choice(_LOOK)}_{noun}_{attribute}" if rng.random() < 0.7 else f"{noun}_{attribute}"
        description = rng.choice(
            (f"The {attribute} of a {noun}.", f"Tell the {attribute} of the {noun}.", f"{noun} {attribute}.")
        )
        say = [t.replace("{x}", noun).replace("{a}", attribute) for t in _ASK]
        result: tuple[str, ...] = ("{num}", "{num} {color}", "{num}.{small}")
        can = f"tell the {attribute} of a {noun}"
        final: tuple[str, ...] = (f"The {attribute} of the {noun} is ⟦r⟧.", f"The {noun} {attribute} is ⟦r⟧.", "⟦r⟧.")
    else:
        group = verb.split(",")
        named, described = rng.choice(group), rng.choice(group)
        name = f"{named}_{noun}" if rng.random() < 0.85 else f"{noun}_{named}"
        description = rng.choice(
            (
                f"{described} a {noun}.",
                f"{described} the {noun}.",
                f"{described} {noun}.",
                f"{described} one {noun} now.",
            )
        )
        heard = group if rng.random() < 0.15 else sorted({named, described})
        say = [t.replace("{x}", noun).replace("{v}", rng.choice(heard)) for t in _DO]
        result, can = ("done", "{code}", "ok, {code}", "finished"), f"{named} a {noun}"
        final = (f"The {noun} is done: ⟦r⟧.", f"I did {named} the {noun}: ⟦r⟧.", f"{named} {noun}: ⟦r⟧.", "Done: ⟦r⟧.")
    say = [text + phrases for text in say]
    spec = spec_of(name.replace(" ", "_").replace("-", "_"), description, args)
    return Live(
        id="invented", spec=spec, args=args, say=tuple(say), result=result, final=final, can=can,
        next=_next(args), untrusted=rng.random() < 0.7,
    )  # fmt: skip


def _next(args: tuple[Arg, ...]) -> tuple[str, ...]:
    first = next((arg for arg in args if arg.required), None)
    if first is None:
        return ()
    slot = "{" + first.slot + "}"
    return (f"and {first.name.replace('_', ' ')} {slot}?", f"now {first.name.replace('_', ' ')} {slot}", f"and {slot}?")


def _arguments(rng: Random, split: Split) -> tuple[tuple[Arg, ...], str]:
    """Return arguments and how a request says them."""
    count = rng.choice((0, 1, 1, 1, 2, 2, 3))
    args: list[Arg] = []
    phrases = ""
    for entry in rng.sample(of_split(tuple(data("words.toml")["arguments"]), split), count):
        names, kind, pool, said = entry.split(":", 3)
        name = nonsense(rng, split) if rng.random() < 0.15 else rng.choice(names.split(","))
        required = rng.random() < 0.75
        if any(name == arg.name for arg in args):
            continue
        phrase = rng.choice(said.split("|")) if name in names.split(",") else "with {n} {v}"
        phrase = " " + phrase.replace("{n}", name.replace("_", " ")).replace("{v}", "{" + name + "}")
        phrases += phrase if required else f"[{phrase}]"
        args.append(Arg(slot=name, name=name, kind=kind, pool=pool, required=required))
    args.sort(key=lambda arg: not arg.required)
    return tuple(args), phrases


def bare(rng: Random, split: Split, level: float) -> tuple[Live, tuple[str, ...]]:
    """Return a tool for pure recall, without arguments, and bare queries for it."""
    verb = rng.choice(of_split(_words("verbs"), split)).split(",")[0].split(" ")[0]
    words = [nonsense(rng, split) if rng.random() < 0.4 else rng.choice(of_split(_words("nouns"), split)).split(" ")[0]]
    if rng.random() < level:
        words.insert(0, nonsense(rng, split) if rng.random() < 0.25 else verb)
    name = "_".join(words)
    description = rng.choice(("", "", " ".join(words))) if rng.random() < level else ""
    live = Live(id="bare", spec=spec_of(name, description, ()), args=(), say=(), result=(), final=(), can=name)
    queries = (" ".join(words), " ".join(words), f"{words[0]} the {words[-1]}" if len(words) > 1 else f"the {words[0]}")
    return live, queries
