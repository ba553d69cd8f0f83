"""Values for worlds: distinct ones of a pool, days and hours, misspellings, names of nothing."""

from __future__ import annotations

from datetime import date, timedelta
from random import Random

from agentkit_synthesis.values import nonsense, value

__all__ = ["clock", "day", "digits", "misspelt", "several", "unknown"]

FIRST_DAY = date(2026, 1, 5)


def several(rng: Random, pool: str, count: int) -> list[str]:
    """Return `count` different values of a pool, none a part of another."""
    found: list[str] = []
    while len(found) < count:
        one = value(pool, rng, "train")
        if not any(one.casefold() in other.casefold() or other.casefold() in one.casefold() for other in found):
            found.append(one)
    return found


def day(rng: Random) -> str:
    """Return a day of the year 2026, such as `2026-03-17`."""
    return (FIRST_DAY + timedelta(days=rng.randrange(350))).isoformat()


def clock(rng: Random, first: int = 7, last: int = 20) -> str:
    """Return a time of day, such as `14:30`."""
    return f"{rng.randint(first, last):02d}:{rng.choice((0, 15, 30, 45)):02d}"


def digits(rng: Random, low: int, high: int) -> int:
    """Return a number; most are not round."""
    return rng.randint(low, high)


def misspelt(name: str, rng: Random) -> str:
    """Return `name` with two letters changed round, or one left out; the name itself where it is too short."""
    places = [
        n for n in range(1, len(name) - 2) if name[n].isalpha() and name[n + 1].isalpha() and name[n] != name[n + 1]
    ]
    if len(name) < 5 or not places:
        return name
    at = rng.choice(places)
    if rng.random() < 0.5:
        return name[:at] + name[at + 1] + name[at] + name[at + 2 :]
    return name[:at] + name[at + 1 :]


def unknown(rng: Random) -> str:
    """Return a name of nothing."""
    return f"{nonsense(rng, 'train')} {nonsense(rng, 'train')}"
