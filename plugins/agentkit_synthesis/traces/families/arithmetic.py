"""Arithmetic and units: stock kept, shopping, wages, journeys, mixtures, measures, averages, bare sums."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from random import Random

from agentkit_synthesis.traces.pools import CITIES, GOODS, PEOPLE, say
from agentkit_synthesis.traces.problem import Problem, Working

__all__ = ["make"]


def make(rng: Random, level: int) -> Problem:
    """Return a problem; `level` is 1 to 3."""
    return rng.choice(KINDS)(rng, level)


def stock(rng: Random, level: int) -> Problem:
    """A stock that goes up and down."""
    goods, who = rng.choice(GOODS), rng.choice(PEOPLE)
    left = rng.randint(20, 60 * 10 ** (level - 1))
    work = Working({"start": left})
    told = [say(rng, "{who} (starts|begins) with {n} {goods}.", "{who} has {n} {goods} in stock.", "There are {n} {goods} in {who}'s store.", who=who, n=left, goods=goods)]  # fmt: skip
    name = "start"
    for number in range(1, level * 2 + rng.randint(0, 1) + 1):
        event = rng.choice(("gets", "gives", "gets", "gives", "doubles" if left < 4_000 else "gives", "boxes"))
        key = f"n{number}"
        if event == "gives" and left > 2:
            n = rng.randint(1, left - 1)
            told.append(say(rng, "{n} are sold.", "{n} of them are (given away|sent to {city}|used up).", "Then {n} are (broken|lost).", n=n, city=rng.choice(CITIES)))  # fmt: skip
            left, expression, shown = left - n, f"{name} - {key}", f"{{{name}}} - {{{key}}}"
            do, why = f"take away the {{{key}}} that are gone", "what is gone is no longer in stock"
        elif event == "doubles":
            n = rng.choice((2, 3))
            told.append(say(rng, "A delivery makes the stock {n} times as large.", "After a (delivery|purchase) there are {n} times as many as before.", n=n))  # fmt: skip
            left, expression, shown = left * n, f"{name} * {key}", f"{{{name}}} × {{{key}}}"
            do, why = f"multiply by {{{key}}}", "the stock grows by that factor"
        elif event == "boxes":
            n, size = rng.randint(2, 9), rng.randint(3, 24)
            work.given |= {key: n, f"m{number}": size}
            told.append(say(rng, "{n} boxes of {m} (arrive|come in|are delivered).", "{who} buys {n} packs of {m}.", who=who, n=n, m=size))  # fmt: skip
            name2 = work.step(f"multiply {{{key}}} by {{m{number}}}", "every box holds the same number", f"{key} * m{number}", n * size, f"{{{key}}} × {{m{number}}}", f"{{r}} {goods}")  # fmt: skip
            left, expression, shown = left + n * size, f"{name} + {name2}", f"{{{name}}} + {{{name2}}}"
            do, why = f"add these {{{name2}}}", "they come to what is there"
        else:
            n = rng.randint(2, 40 * 5 ** (level - 1))
            told.append(say(rng, "{n} more (arrive|come in|are found|are bought).", "{who} (buys|makes|gets) {n} more.", who=who, n=n))  # fmt: skip
            left, expression, shown = left + n, f"{name} + {key}", f"{{{name}}} + {{{key}}}"
            do, why = f"add the {{{key}}} that come in", "they come to what is there"
        work.given[key] = n
        name = work.step(do, why, expression, left, shown, f"{{r}} {goods}")
    told.append(say(rng, "How many {goods} are there now?", "How many {goods} are left (at the end|in the end)?", "What is the stock then?", goods=goods))  # fmt: skip
    return work.done("stock", " ".join(told), f"there are {{r}} {goods}", "")


def shopping(rng: Random, level: int) -> Problem:
    """Several goods at a price each, a discount, change."""
    who = rng.choice(PEOPLE)
    things = rng.sample(GOODS, level + 1)
    work, total, parts, sums = Working(), Fraction(0), [], []
    for n, goods in enumerate(things, 1):
        count, price = (
            rng.randint(2, 12 * level),
            Fraction(rng.randint(2, 90) * 5 if level > 1 else rng.randint(1, 20) * 100, 100),
        )
        work.given |= {f"count{n}": count, f"price{n}": _money(price)}
        parts.append(say(rng, "{c} {goods} at {p} euros each", "{c} {goods} for {p} euros (each|apiece)", c=count, goods=goods, p=_said(price)))  # fmt: skip
        sums.append(work.step(f"multiply the {{count{n}}} {goods} by their price of {{price{n}}}", f"each of the {goods} costs the same", f"count{n} * price{n}", count * price, f"{{count{n}}} × {{price{n}}}", "{r} euros"))  # fmt: skip
        total += count * price
    name = work.step("add the sums up", "all of it is paid together", " + ".join(sums), total, " + ".join(f"{{{one}}}" for one in sums), "{r} euros")  # fmt: skip
    question = say(
        rng,
        "{who} buys {list}.",
        "{who} orders {list}.",
        "In {who}'s basket are {list}.",
        who=who,
        list=" and ".join(parts),
    )
    if level > 1:
        percent = rng.choice([p for p in (5, 10, 20, 25, 30, 40, 50) if (total * p).denominator == 1] or [100])
        work.given["percent"] = percent
        question += say(rng, " There is a discount of {p} %.", " The shop takes {p} % off.", p=percent)
        off = total * percent / 100
        cut = work.step("work out {percent} % of the sum", "the discount is a share of the sum", f"{name} * percent / 100", off, f"{{{name}}} × {{percent}} / 100", "{r} euros")  # fmt: skip
        total -= off
        name = work.step("take the discount off", "a discount need not be paid", f"{name} - {cut}", total, f"{{{name}}} - {{{cut}}}", "{r} euros")  # fmt: skip
    if level == 1 or rng.random() < 0.5:
        paid = (int(total) // 50 + rng.randint(1, 2)) * 50
        work.given["paid"] = paid
        question += say(rng, " {who} pays with {n} euros. How much change is there?", " {n} euros are put down. What comes back?", who=who, n=paid)  # fmt: skip
        work.step("take the price from what was paid", "change is what was paid too much", f"paid - {name}", paid - total, f"{{paid}} - {{{name}}}", "{r} euros")  # fmt: skip
        return work.done("change", question, "the change is {r} euros", "euros")
    question += say(rng, " What does it cost?", " How much is to be paid?", " What is the total?")
    return work.done("total", question, "{r} euros are to be paid", "euros")


def journey(rng: Random, level: int) -> Problem:
    """Distances, times and speeds."""
    who, work, told, names, hours = rng.choice(PEOPLE), Working(), [], [], []
    distance = time = Fraction(0)
    for n, city in enumerate(rng.sample(CITIES, level + 1), 1):
        speed, taken = rng.randint(3, 26) * 5, Fraction(rng.randint(1, 10), rng.choice((1, 2)))
        work.given |= {f"speed{n}": speed, f"hours{n}": _money(taken)}
        told.append(
            say(
                rng,
                "{h} hours at {v} km/h (to|towards) {city}",
                "{h} h to {city} at {v} km/h",
                h=_said(taken),
                v=speed,
                city=city,
            )
        )
        distance, time = distance + speed * taken, time + taken
        names.append(work.step(f"multiply the speed of {{speed{n}}} km/h by {{hours{n}}} h", "distance is speed times time", f"speed{n} * hours{n}", speed * taken, f"{{speed{n}}} × {{hours{n}}}", "{r} km"))  # fmt: skip
        hours.append(f"hours{n}")
    total = work.step("add the distances", "the legs follow each other", " + ".join(names), distance, " + ".join(f"{{{one}}}" for one in names), "{r} km")  # fmt: skip
    question = say(rng, "{who} (drives|travels) {list}.", "A lorry goes {list}.", "{who}'s train takes {list}.", who=who, list=", then ".join(told))  # fmt: skip
    average = distance / time
    if level > 1 and (average * 100).denominator == 1:
        whole = work.step("add the hours", "the average is over the whole time", " + ".join(hours), time, " + ".join(f"{{{one}}}" for one in hours), "{r} h")  # fmt: skip
        work.step("divide the distance by the time", "speed is distance by time", f"{total} / {whole}", average, f"{{{total}}} / {{{whole}}}", "{r} km/h")  # fmt: skip
        question += say(rng, " What is the average speed?", " How fast is that on average?")
        return work.done("speed", question, "the average speed is {r} km/h", "km/h")
    question += say(
        rng, " How far is that?", " How many kilometres are that (in all|altogether)?", " What is the whole distance?"
    )
    return work.done("distance", question, "the distance is {r} km", "km")


MEASURES = (("l", "ml", "juice", "glasses"), ("kg", "g", "flour", "bags"), ("m", "cm", "ribbon", "pieces"), ("h", "min", "work", "shifts"), ("GB", "MB", "data", "parts"), ("km", "m", "cable", "reels"), ("t", "kg", "gravel", "loads"))  # fmt: skip


def measures(rng: Random, level: int) -> Problem:
    """A stock in one unit, portions in another."""
    big, small, stuff, portions = rng.choice(MEASURES)
    factor = {"l": 1000, "kg": 1000, "m": 100, "h": 60, "GB": 1000, "km": 1000, "t": 1000}[big]
    count, size = rng.randint(2, 9 * level), Fraction(rng.randint(2, 40), rng.choice((1, 2, 4)))
    portion = rng.choice(
        [
            n
            for n in (15, 20, 25, 30, 35, 40, 45, 60, 75, 80, 120, 125, 150, 180, 225, 250, 300, 350, 400, 450)
            if n < factor
        ]
    )
    work = Working({"count": count, "size": _money(size), "portion": portion})
    container = rng.choice(("containers", "deliveries", "units", "lots", "sets"))
    question = say(rng, "There are {c} {box} of {s} {big} of {stuff} each.", "{c} {box} hold {s} {big} of {stuff} each.", c=count, box=container, s=_said(size), big=big, stuff=stuff)  # fmt: skip
    total = count * size
    name = work.step(
        "multiply the {count} by {size}",
        "each holds the same",
        "count * size",
        total,
        "{count} × {size}",
        f"{{r}} {big}",
    )
    if level > 1:
        used = Fraction(rng.randint(1, max(1, int(total * 2))), 4)
        if used < total:
            work.given["used"] = _money(used)
            question += say(rng, " {u} {big} of it (are|were) (used up|lost|kept back).", u=_said(used), big=big)
            total -= used
            name = work.step("take away {used}", "that part is not there to be shared out", f"{name} - used", total, f"{{{name}}} - {{used}}", f"{{r}} {big}")  # fmt: skip
    asked = (
        (" How many (full|whole) {portions} of {p} {small} does that make?", " It is divided into {portions} of {p} {small}. How many full ones are there?")
        if level < 3
        else (" As many {portions} of {p} {small} as possible are filled. How much is left over, in {small}?", " It is divided into full {portions} of {p} {small}. How many {small} remain?")
    )  # fmt: skip
    question += say(rng, *asked, portions=portions, p=portion, small=small)
    fine = work.step(f"turn {{{name}}} {big} into {small}", "both must be in one unit", f'convert({name}, "{big}", "{small}")', total * factor, f"{{{name}}} × {factor}", f"{{r}} {small}")  # fmt: skip
    whole = int(total * factor // portion)
    last = work.step("divide by {portion} and drop the rest", "only full ones count", f"{fine} // portion", whole, f"{{{fine}}} // {{portion}}")  # fmt: skip
    if level > 2:
        rest = total * factor - whole * portion
        taken = work.step("multiply the full ones by {portion}", "so much they take", f"{last} * portion", whole * portion, f"{{{last}}} × {{portion}}", f"{{r}} {small}")  # fmt: skip
        work.step("take that from the whole", "the rest is what they leave", f"{fine} - {taken}", rest, f"{{{fine}}} - {{{taken}}}", f"{{r}} {small}")  # fmt: skip
        return work.done("rest", question, f"{{{last}}} {portions} are full, and {{r}} {small} are left", small)
    return work.done("portions", question, f"that makes {{r}} full {portions}", portions)


def wages(rng: Random, level: int) -> Problem:
    """Hours at a wage, overtime, deductions."""
    who, hours, wage = rng.choice(PEOPLE), rng.randint(10, 45), rng.randint(11, 60)
    work = Working({"hours": hours, "wage": wage})
    question = say(
        rng,
        "{who} works {h} hours at {w} euros an hour.",
        "{who} is paid {w} euros for each of {h} hours.",
        who=who,
        h=hours,
        w=wage,
    )
    total = Fraction(hours * wage)
    name = work.step(
        "multiply hours by wage", "every hour is paid alike", "hours * wage", total, "{hours} × {wage}", "{r} euros"
    )
    if level > 1:
        extra, more = rng.randint(2, 12), rng.choice((25, 50, 100))
        work.given |= {"extra": extra, "more": more}
        question += say(rng, " {e} further hours are paid {m} % more.", " There are {e} hours of overtime at {m} % above that wage.", e=extra, m=more)  # fmt: skip
        rate = wage * Fraction(100 + more, 100)
        high = work.step("raise the wage by {more} %", "overtime is dearer", "wage * (100 + more) / 100", rate, "{wage} × (100 + {more}) / 100", "{r} euros")  # fmt: skip
        over = work.step("multiply the overtime by it", "these hours have that wage", f"extra * {high}", extra * rate, f"{{extra}} × {{{high}}}", "{r} euros")  # fmt: skip
        total += extra * rate
        name = work.step(
            "add both", "both are paid out", f"{name} + {over}", total, f"{{{name}}} + {{{over}}}", "{r} euros"
        )
    if level > 2:
        tax = rng.choice([n for n in (10, 15, 20, 25, 30, 40) if (total * n).denominator == 1] or [50])
        work.given["tax"] = tax
        question += say(rng, " {t} % of the whole goes to taxes.", " From the whole, {t} % are withheld.", t=tax)
        kept = work.step("work out {tax} % of that", "tax is a share of the whole", f"{name} * tax / 100", total * tax / 100, f"{{{name}}} × {{tax}} / 100", "{r} euros")  # fmt: skip
        total -= total * tax / 100
        name = work.step(
            "take the tax off", "it is not paid out", f"{name} - {kept}", total, f"{{{name}}} - {{{kept}}}", "{r} euros"
        )
    question += say(
        rng, " How much is that?", " What does {who} (get|receive|earn)?", " How much is paid out?", who=who
    )
    return work.done("wages", question, f"{who} gets {{r}} euros", "euros")


def averages(rng: Random, level: int) -> Problem:
    """The mean of numbers, or the number that is missing for one."""
    count = level + rng.randint(2, 3)
    numbers = [rng.randint(1, 60 * level) for _ in range(count)]
    what = rng.choice(
        ("scores", "temperatures", "counts", "ages", "lengths in cm", "waiting times in minutes", "marks")
    )
    if level > 1 and rng.random() < 0.5:
        goal = sum(numbers) // count + rng.randint(1, 12)
        work = Working({"numbers": numbers, "goal": goal})
        needed = goal * (count + 1) - sum(numbers)
        question = say(rng, "So far the {w} are {list}. What must the next one be so that the mean is {g}?", "The {w}: {list}. One more comes, and then the average is {g}. What is it?", w=what, list=_list(numbers), g=goal)  # fmt: skip
        have = work.step(
            "add up what is there", "the mean goes by the sum", "sum(numbers)", sum(numbers), "{numbers_sum}"
        )
        n = work.step(
            "count them, and the one to come",
            "the mean is over all of them",
            "len(numbers) + 1",
            count + 1,
            f"{count} + 1",
        )
        want = work.step("multiply that by the mean that is wanted", "the sum must be the mean times the number", f"goal * {n}", goal * (count + 1), f"{{goal}} × {{{n}}}")  # fmt: skip
        work.step("take away the sum that is there", "the next one must bring the rest", f"{want} - {have}", needed, f"{{{want}}} - {{{have}}}")  # fmt: skip
        return work.done("missing", question, "the next one must be {r}")
    numbers[-1] += -sum(numbers) % count
    work = Working({"numbers": numbers})
    question = say(rng, "What is the (mean|average) of these {w}: {list}?", "The {w} are {list}. What is their (average|mean)?", w=what, list=_list(numbers))  # fmt: skip
    have = work.step(
        "add them up", "the mean is the sum divided by the number", "sum(numbers)", sum(numbers), "{numbers_sum}"
    )
    n = work.step("count them", "the sum is shared out among all", "len(numbers)", count)
    work.step("divide", "each gets an equal share", f"{have} / {n}", sum(numbers) // count, f"{{{have}}} / {{{n}}}")
    return work.done("mean", question, "the mean is {r}")


def bare(rng: Random, level: int) -> Problem:
    """An expression with brackets, worked out in the order that the rules ask for."""
    a, b, c, d = (rng.randint(2, 30 * level) for _ in range(4))
    e, f = rng.randint(2, 12), rng.randint(2, 12)
    work = Working()
    if level == 1:
        text, total = f"{a} + {b} * {e}", a + b * e
        one = work.step("multiply first", "multiplication goes before addition", f"{b} * {e}", b * e, f"{b} × {e}")
        work.step("add", "the sum comes last", f"{a} + {one}", total, f"{a} + {{{one}}}")
    elif level == 2:
        text, total = f"({a} + {b}) * {e} - {c}", (a + b) * e - c
        one = work.step("work out the bracket", "brackets go first", f"{a} + {b}", a + b, f"{a} + {b}")
        two = work.step(
            "multiply", "multiplication goes before subtraction", f"{one} * {e}", (a + b) * e, f"{{{one}}} × {e}"
        )
        work.step("subtract", "it is what is left", f"{two} - {c}", total, f"{{{two}}} - {c}")
    else:
        product = d * f
        text, total = f"({a} + {b}) * {e} - {product} / {f} + {c} % {e}", (a + b) * e - d + c % e
        one = work.step("work out the bracket", "brackets go first", f"{a} + {b}", a + b, f"{a} + {b}")
        two = work.step(
            "multiply it", "multiplication goes before sums", f"{one} * {e}", (a + b) * e, f"{{{one}}} × {e}"
        )
        three = work.step("divide", "division goes before sums", f"{product} / {f}", d, f"{product} / {f}")
        four = work.step(
            "find the remainder", "the remainder counts like a division", f"{c} % {e}", c % e, f"{c} % {e}"
        )
        five = work.step("subtract from left to right", "sums go from left to right", f"{two} - {three}", (a + b) * e - d, f"{{{two}}} - {{{three}}}")  # fmt: skip
        work.step("add the remainder", "it is the last term", f"{five} + {four}", total, f"{{{five}}} + {{{four}}}")
    question = say(
        rng,
        "What is {x}?",
        "(Work out|Calculate|Evaluate|Compute) {x}.",
        "What does {x} come to?",
        "How much is {x}?",
        x=text,
    )
    return work.done("bare", question, f"{text} is {{r}}")


KINDS: tuple[Callable[[Random, int], Problem], ...] = (stock, shopping, journey, measures, wages, averages, bare)


def _money(amount: Fraction) -> int | float:
    return int(amount) if amount.denominator == 1 else float(amount)


def _said(amount: Fraction) -> str:
    return str(amount.numerator) if amount.denominator == 1 else str(float(amount))


def _list(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))
