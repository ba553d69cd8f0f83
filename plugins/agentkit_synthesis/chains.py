"""Tasks over two tools: one finds an identifier, the other needs it; the value is copied from the result."""

from __future__ import annotations

from random import Random

from agentkit_synthesis.conversation import Split
from agentkit_synthesis.live import Arg, Live, spec_of
from agentkit_synthesis.talk import Talk
from agentkit_synthesis.values import nonsense, value
from agentkit_synthesis.wording import data, of_split, pick

_FINDERS = ("find", "lookup", "search", "locate", "resolve")
_SAY = (
    "{v} the {n} called {x}", "{v} the {n} {x}", "{v} the {n} of {x}", "please {v} {x}'s {n}", "{v} the {n} named {x}",
    "I want to {v} the {n} called {x}", "{x}'s {n}: {v} it", "find the {n} of {x} and {v} it", "look up the {n} {x}, then {v} it",
    "*get the {n} {x} and {v} it", "+there is a {n} called {x}, {v} it",
)  # fmt: skip


def pair(rng: Random, split: Split) -> tuple[Live, Live]:
    """Return a finder of a thing and a tool that needs the thing's identifier."""
    noun = nonsense(rng, split) if rng.random() < 0.2 else pick(rng, data("words.toml")["nouns"].split("; "), split)
    group = rng.choice(of_split(tuple(data("words.toml")["verbs"].split("; ")), split)).split(",")
    verb = "handle" if {"find", "locate"} & set(group) else rng.choice(group)
    key = rng.choice(("id", "number", "code", "key", f"{noun}_id".replace(" ", "_")))
    name = Arg(slot="name", name=rng.choice(("name", "title", "owner")), kind="s", pool="person", required=True)
    ident = Arg(slot="key", name=key, kind="s", pool="@id", required=True)
    flat = noun.replace(" ", "_")
    finder = rng.choice(_FINDERS)
    finds = spec_of(f"{finder}_{flat}", f"Find the {key.replace('_', ' ')} of a {noun} by {name.name}.", (name,))
    acts = spec_of(f"{verb}_{flat}".replace(" ", "_"), f"{verb} a {noun} by its {key.replace('_', ' ')}.", (ident,))
    say = tuple(text.replace("{v}", verb).replace("{n}", noun) for text in _SAY)
    first = Live(id="finder", spec=finds, args=(name,), say=(f"find the {noun} {{name}}", f"which {noun} has {{name}}"),
                 result=("{code}",), final=(f"The {noun} of {{name}}: ⟦r⟧.",), can=f"find a {noun}")  # fmt: skip
    second = Live(id="needs_key", spec=acts, args=(ident,), say=(f"{verb} {noun} {{key}}", f"{verb} the {noun} {{key}}"),
                  result=("done", "ok", "finished"), tasks=say, final=(f"The {noun} {{key}} is done: ⟦r⟧.",), can=f"{verb} a {noun}")  # fmt: skip
    return first, second


def find_and_use(talk: Talk, first: Live, second: Live) -> None:
    """Add a request that takes both tools."""
    rng, split = talk.rng, talk.split
    name = value("person", rng, split)
    talk.user(pick(rng, second.tasks, split).replace("{x}", name))
    talk.call(first.spec.name, {first.args[0].name: name})
    key = value("@id", rng, split)
    if rng.random() < 0.1:
        talk.returned(f"nothing found for {name}", failed=True)
        talk.final(f"I could not {second.can}: ⟦r⟧.")
        return
    label = second.args[0].name
    talk.returned(rng.choice((key, f"{label} {key}", f"{label}: {key}", f"{name}, {label} {key}")), untrusted=True)
    talk.call(second.spec.name, {label: key})
    talk.returned(rng.choice(("done", "ok", "finished")), untrusted=rng.random() < 0.5)
    talk.final(rng.choice((f"Done for {name}: ⟦r⟧.", f"I did {second.can} for {name}: ⟦r⟧.", f"{name}: ⟦r⟧.")))
