"""A user's tools, of every sort: those that work, and those that cannot be used for one reason or another."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Annotated, Literal

from langchain_core.tools import tool as langchain_tool
from pydantic import Field

from agentkit import tool

PRICES = {"apple": 2, "pear": 3, "plum": 4}
TICKS = itertools.count()


@tool(effect="pure")
def convert(amount: Annotated[float, Field(ge=0, le=500)], unit: Literal["km", "mile"]) -> str:
    """Converts a distance between kilometres and miles.

    Args:
        amount: how far.
        unit: that it is in.
    """
    return f"{amount * 1.609344:.2f} km" if unit == "mile" else f"{amount / 1.609344:.2f} mile"


@tool(effect="pure")
def shipping_cost(
    weight_kg: Annotated[float, Field(gt=0, le=30)],
    zone: Annotated[str, Field(pattern=r"^[A-D][1-3]$")],
    express: bool = False,
) -> str:
    """The price of sending a parcel.

    Args:
        weight_kg: how heavy it is, in kilograms.
        zone: where it goes, such as A1 or C3.
        express: whether it has to be quick.
    """
    if zone == "D3":
        raise ValueError("nothing is delivered to D3")
    return f"{weight_kg * (ord(zone[0]) - 60) * (2 if express else 1):.2f} euros"


@tool(effect="read")
def price(fruit: str) -> int:
    """Look up what a fruit costs.

    Args:
        fruit: its name, one of `apple`, `pear` or `plum`.
    """
    return PRICES[fruit]


@tool(effect="pure")
def reckon(term: str) -> str:
    """Work out a term.

    Args:
        term: for example 3 + 4 * 2, or (7 - 1) / 3.
    """
    from agentkit_synthesis.worlds import calculate

    return calculate(term)


def would_be_saved(name: str, text: str) -> str:
    """Say what save would do."""
    return f"would save {len(text)} letters as {name}"


@tool(effect="write", egress=False, predict=would_be_saved)
def rehearsed(name: str, text: str) -> str:
    """Save a text under a name, or say that it would be.

    Args:
        name: such as notes.txt.
        text: what to save.
    """
    raise AssertionError("never run without leave")


def save(name: str, text: str) -> str:
    """Save a text under a name.

    Args:
        name: such as notes.txt or list.md.
        text: what to save.
    """
    Path(name).write_text(text)
    return f"saved {Path(name).absolute()}"


@langchain_tool
def shout(text: str) -> str:
    """Put a text into capitals."""
    return text.upper()


shout.metadata = {"readOnlyHint": True, "openWorldHint": False}


@tool(effect="pure")
def sleepy(n: int) -> int:
    """Sleep for a while.

    Args:
        n: how long.
    """
    time.sleep(20)
    return n


@tool(effect="pure")
def never(n: int) -> int:
    """Fail whatever is asked.

    Args:
        n: a number.
    """
    raise RuntimeError("no luck")


@tool(effect="read")
def ticking(name: str) -> int:
    """Count how often it was called.

    Args:
        name: of the clock.
    """
    return next(TICKS)


@tool(effect="pure")
def undrawable(code: Annotated[int, Field(ge=9, le=3)]) -> int:
    """Take a number that there is not.

    Args:
        code: the number.
    """
    return code


def untyped(x):  # type: ignore[no-untyped-def]
    """Say nothing of its types."""
    return x
