"""Code reading: what a short Python program prints, line by line: loops, branches, lists, texts, functions."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from agentkit_synthesis.traces.pools import say
from agentkit_synthesis.traces.problem import Problem, Working

__all__ = ["make"]

VARIABLES = ("total", "x", "n", "acc", "value", "result", "score", "count", "k", "y")
ITEMS = ("items", "numbers", "data", "values", "seq", "xs")
WORDS = (
    "lantern", "planet", "copper", "window", "garden", "silver", "bridge", "harbour", "meadow", "pepper", "ribbon", "summer", "tunnel",
    "velvet", "winter", "anchor", "basket", "candle", "dragon", "engine", "forest", "goblin", "hammer", "island", "jungle", "kettle",
    "ladder", "magnet", "needle", "orange", "parrot", "rocket", "saddle", "turnip", "violin", "walnut", "yellow", "zipper", "banana",
)  # fmt: skip


def make(rng: Random, level: int) -> Problem:
    """Return a problem; `level` is 1 to 3."""
    return rng.choice(KINDS)(rng, level)


def assignments(rng: Random, level: int) -> Problem:
    """Straight lines that assign."""
    a, b = rng.sample(VARIABLES, 2)
    values = {a: rng.randint(2, 40), b: rng.randint(2, 40)}
    work = Working()
    lines = [f"{a} = {values[a]}", f"{b} = {values[b]}"]
    names: dict[str, str] = {a: str(values[a]), b: str(values[b])}
    for _ in range(level + 2):
        target, other = rng.sample((a, b), 2)
        sign = (
            rng.choice(("+", "-", "*", "+", "%", "//")) if abs(values[target]) < 5_000 else rng.choice(("-", "%", "//"))
        )
        operand = rng.randint(2, 12)
        by = (
            other
            if rng.random() < 0.5 and (sign in "+-" or (sign == "*" and abs(values[other]) < 100))
            else str(operand)
        )
        right = values[by] if by == other else operand
        left_text, right_text = names[target], names[by] if by == other else by
        result = {"+": values[target] + right, "-": values[target] - right, "*": values[target] * right, "%": values[target] % right if right else 0, "//": values[target] // right if right else 0}[sign]  # fmt: skip
        lines.append(f"{target} {sign}= {by}" if rng.random() < 0.5 else f"{target} = {target} {sign} {by}")
        shown = f"{target} = {_slot(left_text)} {sign} {_slot(right_text)}"
        names[target] = work.step(f"run `{lines[-1]}`", f"{target} is {_slot(left_text)}" + (f" and {by} is {_slot(right_text)}" if by == other else ""), f"{left_text} {sign} {right_text}", result, shown)  # fmt: skip
        values[target] = result
    work.step(f"print {target}", "the last line asks for it", names[target], values[target])
    return _done(rng, work, "assignments", [*lines, f"print({target})"])


def loop(rng: Random, level: int) -> Problem:
    """A loop over a list with a running value, and perhaps a condition."""
    variable, items = rng.choice(VARIABLES[:7]), rng.choice(ITEMS)
    numbers = [rng.randint(1, 30) for _ in range(rng.randint(3, 3 + level))]
    value = rng.randint(0, 20)
    work = Working({items: numbers, "start": value})
    sign, factor = rng.choice(("+", "-")), rng.randint(2, 5)
    divisor = rng.choice((2, 3))
    body = f"{variable} {sign}= item" if level < 3 else f"{variable} {sign}= item * {factor}"
    lines = [f"{items} = {numbers}", f"{variable} = {value}", f"for item in {items}:"]
    lines += [f"    if item % {divisor} == 0:", f"        {body}"] if level > 1 else [f"    {body}"]
    other = rng.randint(2, 9)
    if level == 3:
        lines += ["    else:", f"        {variable} += {other}"]
    name = "start"
    for position, number in enumerate(numbers):
        item = f"{items}[{position}]"
        holds = level == 1 or number % divisor == 0
        if level > 1:
            work.step(f"test item {number}: is {number} % {divisor} == 0?", f"it is item number {position + 1}", f"{item} % {divisor} == 0", holds, fixed=True)  # fmt: skip
        if holds:
            change = number * factor if level == 3 else number
            term = f"{item} * {factor}" if level == 3 else item
            told = f"{number} × {factor}" if level == 3 else str(number)
            value = value + change if sign == "+" else value - change
            name = work.step(f"run `{body}` for item {number}", f"{variable} was {{{name}}}", f"{name} {sign} {term}", value, f"{variable} = {{{name}}} {sign} {told}")  # fmt: skip
        elif level == 3:
            value += other
            name = work.step(f"run `{variable} += {other}` for item {number}", f"{variable} was {{{name}}}", f"{name} + {other}", value, f"{variable} = {{{name}}} + {other}")  # fmt: skip
    work.step(f"print {variable}", "the loop is over", name, value)
    return _done(rng, work, "loop", [*lines, f"print({variable})"])


def counting_down(rng: Random, level: int) -> Problem:
    """A while loop that ends when a bound is passed."""
    variable, counter = rng.sample(VARIABLES, 2)
    value, step = rng.randint(1, 9), rng.randint(2, 6)
    grows = level > 1 and rng.random() < 0.5
    bound = rng.randint(12, 40) * level
    work = Working({"start": value, "bound": bound})
    body = f"{variable} = {variable} * 2 + {step}" if grows else f"{variable} += {step}"
    lines = [f"{variable} = {value}", f"{counter} = 0", f"while {variable} < {bound}:", f"    {body}", f"    {counter} += 1"]  # fmt: skip
    rounds, name = 0, "start"
    tick = "0"
    while value < bound:
        if rounds == 8:
            return counting_down(rng, level)
        value = value * 2 + step if grows else value + step
        old = name
        name = work.step(f"run `{body}`", f"{{{old}}} is under {{bound}}", f"{old} * 2 + {step}" if grows else f"{old} + {step}", value, f"{variable} = {{{old}}} × 2 + {step}" if grows else f"{variable} = {{{old}}} + {step}", fixed=True)  # fmt: skip
        rounds += 1
        if level > 2:
            tick = work.step(
                f"run `{counter} += 1`", "a round is over", f"{tick} + 1", rounds, f"{counter} = {_slot(tick)} + 1"
            )
    if rounds == 0:
        return counting_down(rng, level)
    work.step(
        f"test {variable} < {{bound}}", "the loop goes on only then", f"{name} < bound", False, "", "{r}", fixed=True
    )
    if level > 2:
        work.step(
            f"print {variable} + {counter}",
            "the last line adds them",
            f"{name} + {tick}",
            value + rounds,
            f"{{{name}}} + {_slot(tick)}",
        )
        return _done(rng, work, "while", [*lines, f"print({variable} + {counter})"])
    factor = rng.randint(2, 9)
    work.step(
        f"print {variable} * {factor}",
        "the last line multiplies",
        f"{name} * {factor}",
        value * factor,
        f"{{{name}}} × {factor}",
    )
    return _done(rng, work, "while", [*lines, f"print({variable} * {factor})"])


def functions(rng: Random, level: int) -> Problem:
    """A function that is called, and calls within calls."""
    name, a, b = rng.choice(("f", "g", "mix", "step", "calc")), rng.randint(2, 12), rng.randint(1, 20)
    sign = rng.choice(("+", "-"))
    lines = [f"def {name}(v):", f"    return v * {a} {sign} {b}", ""]
    start = rng.randint(1, 15)
    work = Working({"start": start})
    value, last, call = start, "start", str(start)
    for _ in range(level):
        product = work.step(f"call {name} with {{{last}}}: multiply by {a}", f"{name} does so with what it is given", f"{last} * {a}", value * a, f"{{{last}}} × {a}")  # fmt: skip
        value = value * a + b if sign == "+" else value * a - b
        word = "add" if sign == "+" else "subtract"
        last = work.step(
            f"{word} {b}",
            f"that is what {name} gives back",
            f"{product} {sign} {b}",
            value,
            f"{{{product}}} {sign} {b}",
        )
        call = f"{name}({call})"
    if rng.random() < 0.5:
        extra = rng.randint(2, 30)
        work.step(
            f"add {extra}",
            "the last line adds it to the result",
            f"{last} + {extra}",
            value + extra,
            f"{{{last}}} + {extra}",
        )
        call += f" + {extra}"
    return _done(rng, work, "function", [*lines, f"print({call})"])


def texts(rng: Random, level: int) -> Problem:
    """Texts: slices, upper case, reversing, lengths, counting."""
    word = rng.choice(WORDS)
    work = Working({"word": word})
    lines, name, value = [f's = "{word}"'], "word", word
    for _ in range(level):
        kind = rng.choice(("front", "back", "reverse", "upper", "double"))
        if kind in ("front", "back") and len(value) > 3:
            n = rng.randint(2, len(value) - 1)
            cut = f"[:{n}]" if kind == "front" else f"[{n}:]"
            value = value[:n] if kind == "front" else value[n:]
            lines.append(f"s = s{cut}")
            do, why, expression = (
                f"run `s = s{cut}`",
                f"it keeps the letters {'before' if kind == 'front' else 'from'} position {n}",
                f"{name}{cut}",
            )
        elif kind == "reverse":
            value = value[::-1]
            lines.append("s = s[::-1]")
            do, why, expression = "run `s = s[::-1]`", "it turns the text round", f"reversed({name})"
        elif kind == "upper":
            value = value.upper()
            lines.append("s = s.upper()")
            do, why, expression = "run `s = s.upper()`", "it makes capitals", f"upper({name})"
        else:
            other = rng.choice(WORDS)[:3]
            value += other
            lines.append(f's = s + "{other}"')
            do, why, expression = f'run `s = s + "{other}"`', "it appends", f'{name} + "{other}"'
        name = work.step(do, why, expression, value, says='s = "{r}"')
    if rng.random() < 0.5:
        factor = rng.randint(2, 9)
        length = work.step("take the length of s", "len counts the letters", f"len({name})", len(value))
        work.step(
            f"multiply by {factor}",
            "the last line prints that",
            f"{length} * {factor}",
            len(value) * factor,
            f"{{{length}}} × {factor}",
        )
        return _done(rng, work, "length", [*lines, f"print(len(s) * {factor})"])
    return _done(rng, work, "text", [*lines, "print(s)"])


def lists(rng: Random, level: int) -> Problem:
    """Lists: slices, sorting, indexing, sums."""
    items = rng.choice(ITEMS)
    numbers = rng.sample(range(1, 60), 4 + level)
    work = Working({items: numbers})
    lines, name, value = [f"{items} = {numbers}"], items, numbers
    for _ in range(level):
        kind = rng.choice(("sort", "slice", "reverse", "append"))
        if kind == "sort":
            value = sorted(value)
            lines.append(f"{items} = sorted({items})")
            expression, why = f"sorted({name})", "it puts them in order"
        elif kind == "slice" and len(value) > 3:
            n = rng.randint(1, len(value) - 2)
            value = value[n:]
            lines.append(f"{items} = {items}[{n}:]")
            expression, why = f"{name}[{n}:]", f"it drops the first {n}"
        elif kind == "reverse":
            value = value[::-1]
            lines.append(f"{items} = {items}[::-1]")
            expression, why = f"reversed({name})", "it turns the list round"
        else:
            more = rng.randint(1, 60)
            value = [*value, more]
            lines.append(f"{items} = {items} + [{more}]")
            expression, why = f"{name} + [{more}]", "it puts one more at the end"
        name = work.step(f"run `{lines[-1]}`", why, expression, value, says=f"{items} = [{{r}}]")
    at, other = rng.sample(range(len(value)), 2)
    if rng.random() < 0.5:
        first = work.step(f"read {items}[{at}]", "counting begins with 0", f"{name}[{at}]", value[at])
        second = work.step(f"read {items}[{other}]", "counting begins with 0", f"{name}[{other}]", value[other])
        work.step(
            "add them",
            "the last line prints the sum",
            f"{first} + {second}",
            value[at] + value[other],
            f"{{{first}}} + {{{second}}}",
        )
        return _done(rng, work, "index", [*lines, f"print({items}[{at}] + {items}[{other}])"])
    total = work.step("add the list up", "sum does that", f"sum({name})", sum(value), f"{{{name}_sum}}")
    top = work.step("find its largest", "max does that", f"max({name})", max(value))
    work.step(
        "subtract the largest from the sum",
        "the last line prints that",
        f"{total} - {top}",
        sum(value) - max(value),
        f"{{{total}}} - {{{top}}}",
    )
    return _done(rng, work, "sum", [*lines, f"print(sum({items}) - max({items}))"])


def branches(rng: Random, level: int) -> Problem:
    """An if with two ways, several times."""
    variable = rng.choice(VARIABLES[:7])
    value = rng.randint(1, 60)
    work = Working({"start": value})
    lines, name = [f"{variable} = {value}"], "start"
    for _ in range(level):
        bound, up, down = rng.randint(5, 70), rng.randint(2, 30), rng.randint(2, 30)
        lines += [f"if {variable} > {bound}:", f"    {variable} -= {down}", "else:", f"    {variable} += {up}"]
        over = value > bound
        work.step(f"test {variable} > {bound}", f"{variable} is {{{name}}}", f"{name} > {bound}", over, fixed=True)
        sign, by = ("-", down) if over else ("+", up)
        value = value - down if over else value + up
        name = work.step(f"run `{variable} {sign}= {by}`", "the test says " + ("yes" if over else "no"), f"{name} {sign} {by}", value, f"{variable} = {{{name}}} {sign} {by}")  # fmt: skip
    factor = rng.randint(2, 9)
    work.step(
        f"print {variable} * {factor}",
        "the last line multiplies",
        f"{name} * {factor}",
        value * factor,
        f"{{{name}}} × {factor}",
    )
    return _done(rng, work, "branches", [*lines, f"print({variable} * {factor})"])


KINDS: tuple[Callable[[Random, int], Problem], ...] = (
    assignments,
    loop,
    counting_down,
    functions,
    texts,
    lists,
    branches,
)


def _slot(name: str) -> str:
    """Return a name as a slot of a template; a literal stays as it is."""
    return f"{{{name}}}" if name.startswith("s") and name[1:].isdigit() else name


def _done(rng: Random, work: Working, kind: str, lines: list[str]) -> Problem:
    code = "\n".join(lines)
    asked = say(rng, "What does this program print?", "What is the output of this( Python|) program?", "Read the code. What does it print?", "Which value is printed?", "(Trace|Follow) this code and say what it prints.")  # fmt: skip
    question = f"{asked}\n\n```python\n{code}\n```" if rng.random() < 0.6 else f"```python\n{code}\n```\n\n{asked}"
    return work.done(kind, question, "it prints {r}")
