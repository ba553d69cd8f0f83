"""Calculation: sums, units, and a memory for numbers."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING, Any

from agentkit_synthesis.arithmetic import sum_of
from agentkit_synthesis.tooluse.draws import digits
from agentkit_synthesis.tooluse.state import pick, record
from agentkit_synthesis.tooluse.values import Domain, Fault, Op, Param, State, Wish
from agentkit_synthesis.worlds import Cannot, calculate, show

if TYPE_CHECKING:
    from agentkit_synthesis.tooluse.scene import Scene

__all__ = ["DOMAIN"]

UNITS: Mapping[str, Mapping[str, Decimal]] = {
    "length": {"mm": Decimal("0.001"), "cm": Decimal("0.01"), "m": Decimal(1), "km": Decimal(1000), "inch": Decimal("0.0254"),
    "foot": Decimal("0.3048"), "mile": Decimal("1609.344")},
    "mass": {"g": Decimal("0.001"), "kg": Decimal(1), "t": Decimal(1000), "lb": Decimal("0.45359237"),
    "oz": Decimal("0.028349523125")},
    "time": {"second": Decimal(1), "minute": Decimal(60), "hour": Decimal(3600), "day": Decimal(86400)},
}  # fmt: skip
NAMES = ("budget", "target", "rent", "weight", "limit", "score", "quota", "floor_area")


def build(rng: Random) -> State:
    """Return some remembered numbers."""
    return {"memory": {name: digits(rng, 11, 990) for name in rng.sample(NAMES, 4)}}


def _work_out(state: State, expression: str) -> Any:
    try:
        return calculate(expression)
    except Cannot as error:
        raise Fault(f"'{expression}' is no sum") from error


def _scale(unit: str) -> tuple[str, Decimal]:
    for kind, scales in UNITS.items():
        if unit in scales:
            return kind, scales[unit]
    raise Fault(f"there is no unit '{unit}'; there are {', '.join(one for scales in UNITS.values() for one in scales)}")


def converted(amount: int | float, unit: str, to: str) -> str:
    """Return an amount of one unit in another, at most 10 decimals.

    Raises:
        Fault: a unit is unknown, or they are of two kinds.
    """
    (kind, scale), (other, wanted) = _scale(unit), _scale(to)
    if kind != other:
        raise Fault(f"{unit} is a {kind} and {to} a {other}")
    return show(Decimal(str(amount)) * scale / wanted)


def _convert(state: State, amount: int | float, unit: str, to: str) -> Any:
    return f"{converted(amount, unit, to)} {to}"


def _recall(state: State, name: str) -> Any:
    return str(record(state["memory"], name))


def _remember(state: State, name: str, number: int) -> Any:
    state["memory"][name] = number
    return f"{name} is {number}"


NAME = Param(key="name", names=("name", "key", "label", "{slot}"), about="name of the {slot}")
OPS = (
    Op(key="sum", names=("calculator", "calculate", "compute", "work_out", "{sum}"),
       about=("Work out arithmetic and percentages.", "The value of an arithmetic expression."),
       params=(Param(key="expression", names=("expression", "formula", "{sum}", "input"),
           about="expression, such as 15% of 200 or (3 + 4) * 2", composed=True),), run=_work_out, can="do arithmetic",
               trusted=True),
    Op(key="convert", names=("convert_units", "convert", "to_unit", "unit_converter"),
       about=("Convert an amount from one unit to another.", "Turn lengths, masses and times into other units."),
       params=(Param(key="amount", names=("amount", "value", "number", "quantity"), about="how much", kind="number"),
               Param(key="unit", names=("unit", "from_unit", "source"), about="unit that it is in, such as km"),
               Param(key="to", names=("to", "to_unit", "target"), about="unit that is wanted, such as mile")), run=_convert,
                   can="convert units", trusted=True),
    Op(key="recall", names=("recall_{slot}", "get_{slot}", "read_{slot}"),
       about=("A number that was stored under a name.", "Recall a {slot}."), params=(NAME,), run=_recall,
       can="recall a {slot}", trusted=True),
    Op(key="remember", names=("store_{slot}", "set_{slot}", "save_{slot}"),
       about=("Store a whole number under a name.", "Remember a {slot}."),
       params=(NAME, Param(key="number", names=("number", "value", "amount"), about="the number", kind="integer")), run=_remember,
       can="store a {slot}", writes=True, trusted=True),
)  # fmt: skip


def work_out(rng: Random, state: State) -> Wish:
    """Return: a sum, in words."""
    while True:
        asked = sum_of(rng, "train")
        if not set("()[]{}|") & set(asked.text):
            break
    found = calculate(asked.expression)
    return Wish(
        op="sum", args={"expression": asked.expression}, slots={"found": found}, says=(found,), say=(asked.text,),
            final=("That is {found}.", "{found}.", "It comes to {found}."),
    )  # fmt: skip


def convert(rng: Random, state: State) -> Wish:
    """Return: an amount in another unit."""
    kind = rng.choice(list(UNITS))
    unit, to = rng.sample(list(UNITS[kind]), 2)
    amount = digits(rng, 2, 400)
    found = converted(amount, unit, to)
    return Wish(
        op="convert", args={"amount": amount, "unit": unit, "to": to}, slots={"found": found}, says=(found,),
        say=("convert {amount} {unit} to {to}", "how much is {amount} {unit} in {to}", "{amount} {unit} in {to}",
            "what are {amount} {unit} in {to}"), final=("{amount} {unit} are {found} {to}.", "{found} {to}."),
        lacks={"to": ("convert {amount} {unit}", "I need {amount} {unit} in another unit"),
            "amount": ("convert from {unit} to {to}", "how much is that in {to}, it is in {unit}")},
    )  # fmt: skip


def recall(rng: Random, state: State) -> Wish:
    """Return: a remembered number."""
    name, number = pick(rng, state["memory"])
    return Wish(
        op="recall", args={"name": name}, slots={"found": number}, says=(str(number),), names="name",
        say=("what is the {name}", "recall the {slot} {name}", "what did I store as {name}", "which number is under {name}"),
            final=("{name} is {found}.", "{found}."),
        lacks={"name": ("recall a {slot}", "what did I store", "which number was it")},
    )  # fmt: skip


def remember(rng: Random, state: State) -> Wish:
    """Return: a number to remember."""
    name = rng.choice(NAMES)
    number = digits(rng, 1000, 9000)
    return Wish(
        op="remember", args={"name": name, "number": number}, says=(name, str(number)), changes={f"/memory/{name}": number},
        say=("store {number} as {name}", "remember {name}: {number}", "the {slot} {name} is {number}, keep it",
            "save {number} under {name}"), final=("{name} is {number} now.", "Stored: {name} {number}."),
        lacks={"name": ("store {number}", "remember {number} for me"),
            "number": ("store the {name}", "change the {slot} {name}")},
    )  # fmt: skip


def share_of_slot(scene: Scene) -> None:
    """Recall a number, then work out a share of it."""
    name, number = pick(scene.rng, scene.state["memory"])
    percent = scene.rng.choice((5, 10, 15, 20, 25, 30, 40, 60))
    found = calculate(f"{percent}% of {number}")
    scene.expect({}, (found,))
    scene.user(
        "what is {p} % of the {name}",
        "how much are {p} % of the {slot} {name}",
        "{p} percent of {name}, please",
        p=percent,
        name=name,
    )
    scene.call("recall", name=name)
    scene.call("sum", expression=f"{percent}% of {number}")
    scene.final("{p}% of {name} are {found}.", "{found}.", p=percent, name=name, found=found)


def both_together(scene: Scene) -> None:
    """Recall two numbers at once, then add them."""
    (one, first), (other, second) = scene.rng.sample(list(scene.state["memory"].items()), 2)
    found = str(first + second)
    scene.expect({}, (found,))
    scene.user("what are {a} and {b} together", "add the {slot}s {a} and {b}", "sum of {a} and {b}", a=one, b=other)
    scene.calls([("recall", {"name": one}), ("recall", {"name": other})])
    scene.call("sum", expression=f"{first} + {second}")
    scene.final("Together {found}.", "{a} and {b} are {found}.", a=one, b=other, found=found)


def keep_sum(scene: Scene) -> None:
    """Work a sum out, and store what comes."""
    a, b, name = digits(scene.rng, 12, 90), digits(scene.rng, 3, 40), scene.rng.choice(NAMES)
    scene.expect({f"/memory/{name}": a * b}, (str(a * b),))
    scene.user(
        "work out {a} * {b} and store it as {name}",
        "save {a} * {b} under {name}",
        "the {slot} {name} should be {a} * {b}",
        a=a,
        b=b,
        name=name,
    )
    scene.call("sum", expression=f"{a} * {b}")
    scene.call("remember", name=name, number=a * b)
    scene.final("{name} is {found}.", "Stored {found} as {name}.", name=name, found=a * b)


def mend_unit(scene: Scene) -> None:
    """A unit goes by another name; the tool says which there are, and the call is mended."""
    unit, said, to = scene.rng.choice(
        (
            ("mile", "miles", "km"),
            ("inch", "inches", "cm"),
            ("foot", "feet", "m"),
            ("lb", "pounds", "kg"),
            ("hour", "hours", "minute"),
        )
    )
    amount = digits(scene.rng, 2, 300)
    found = converted(amount, unit, to)
    scene.expect({}, (found,))
    scene.user("convert {n} {said} to {to}", "how much are {n} {said} in {to}", n=amount, said=said, to=to)
    scene.call("convert", amount=amount, unit=said, to=to)
    scene.call("convert", amount=amount, unit=unit, to=to)
    scene.final("{n} {said} are {found} {to}.", "{found} {to}.", n=amount, said=said, to=to, found=found)


DOMAIN = Domain(
    key="units",
    nouns={"sum": ("sum", "formula", "calculation"), "slot": ("slot", "variable", "constant", "number")},
    build=build, ops=OPS, wishes=(work_out, convert, recall, remember),
        scripts=(share_of_slot, both_together, keep_sum, mend_unit),
)  # fmt: skip
