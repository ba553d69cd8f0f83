"""Values that requests name: drawn from marked pools, or made by rule; test, dev and train never share one."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from random import Random

from agentkit_synthesis.conversation import Split
from agentkit_synthesis.wording import data, of_split, share_of

_SYLLABLES = (
    "ba", "bli", "cket", "dor", "dra", "fen", "fip", "gal", "glim", "gor", "hup", "jin", "kel", "kro", "lam", "lor",
    "mab", "mim", "nar", "nop", "pel", "plo", "quo", "rab", "rin", "sko", "sna", "tam", "tiv", "tor", "ulp", "vab",
    "vex", "wib", "wug", "yor", "zan", "zib", "zor", "fle", "gri", "mo", "ta", "dax", "pim", "bro", "ver", "osk",
)  # fmt: skip


@cache
def _pool(name: str) -> tuple[str, ...]:
    return tuple(data("pools.toml")[name].split("; "))


def value(name: str, rng: Random, split: Split) -> str:
    """Return a value of pool `name`; `@id` and the like are made up; a last `2` means another of the same pool."""
    if name.startswith("@"):
        return _made(name[1:], rng, split)
    pools = data("pools.toml")
    if name not in pools:
        name = name.rstrip("2")
    return rng.choice(of_split(_pool(name), split))


def known(name: str) -> bool:
    """Whether there is a pool of that name."""
    return name.rstrip("2") in data("pools.toml") or name in data("pools.toml")


def nonsense(rng: Random, split: Split) -> str:
    """Return a word that means nothing and belongs to `split`."""
    return _owned(rng, split, lambda: "".join(rng.choice(_SYLLABLES) for _ in range(rng.choice((2, 2, 3)))))


def path(rng: Random, split: Split, *, ext: str = "") -> str:
    """Return the path of a file."""
    stem = value("stem", rng, split)
    roll = rng.random()
    if roll < 0.15:
        stem += rng.choice(("_", "-", "")) + str(rng.randint(1, 2030))
    elif roll < 0.25:
        stem = f"{value('subject', rng, 'train').split(' ')[-1]}{rng.choice('_-')}{stem}"
    elif roll < 0.3:
        stem = stem.capitalize()
    elif roll < 0.35:
        stem = nonsense(rng, split)
    ext = ext or rng.choice(("txt", "txt", "txt", "md", "csv", "log", "json", "dat", "yaml", "py", "html"))
    name = f"{stem}.{ext}"
    return f"{value('folder', rng, split)}/{name}" if rng.random() < 0.25 else name


def _made(kind: str, rng: Random, split: Split) -> str:
    match kind:
        case "id":
            return _owned(rng, split, lambda: _identifier(rng))
        case "num":
            return _owned(rng, split, lambda: str(rng.randint(2, 10 ** rng.choice((2, 3, 4)))))
        case "code":
            return f"{rng.choice('ABCDEFGHKLMNPRSTVWXZ')}{rng.randint(10, 9999)}"
        case "email":
            name = value("person", rng, split).lower().replace(".", "").replace(" ", rng.choice((".", "_")))
            return f"{name}@{value('domain', rng, split)}"
        case "phone":
            return _owned(
                rng,
                split,
                lambda: f"{rng.choice(('+47 ', '0', '+1 '))}{rng.randint(200, 999)} {rng.randint(1000, 9999)}",
            )
        case "path":
            return path(rng, split)
        case _:
            return value(kind, rng, split)


def _identifier(rng: Random) -> str:
    roll = rng.random()
    if roll < 0.5:
        return str(rng.randint(10, 10 ** rng.choice((3, 4, 5, 6))))
    letters = "".join(rng.choice("ABCDEFGHJKLMNPQRSTUVWXYZ") for _ in range(rng.choice((1, 1, 2, 3))))
    return f"{letters}{rng.choice(('-', '-', ''))}{rng.randint(1, 99999)}"


def _owned(rng: Random, split: Split, make: Callable[[], str]) -> str:
    made = make()
    while share_of(made) != split:
        made = make()
    return made
