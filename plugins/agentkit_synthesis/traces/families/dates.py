"""Dates and times: deadlines, spans, weekdays, repeated events, working days, timetables, shifts."""

from __future__ import annotations

import calendar
from collections.abc import Callable
from datetime import date, datetime, timedelta
from random import Random

from agentkit_synthesis.traces.calendar_functions import WEEKDAYS
from agentkit_synthesis.traces.pools import CITIES, PEOPLE, date_in_words, say
from agentkit_synthesis.traces.problem import Problem, Working

__all__ = ["make"]

THINGS = ("contract", "licence", "report", "parcel", "invoice", "visa", "test run", "backup", "warranty", "course", "trial", "audit", "certificate", "subscription", "ticket")  # fmt: skip
EVENTS = (
    "meeting",
    "backup",
    "inspection",
    "delivery",
    "rehearsal",
    "training",
    "check-up",
    "release",
    "cleaning",
    "review",
)


def make(rng: Random, level: int) -> Problem:
    """Return a problem; `level` is 1 to 3."""
    return rng.choice(KINDS)(rng, level)


def deadline(rng: Random, level: int) -> Problem:
    """A date so many days later, extended, with its weekday."""
    day, thing = _day(rng), rng.choice(THINGS)
    days = rng.randint(3, 40 * level)
    work = Working({"start": day.isoformat(), "days": days})
    question = say(rng, "The {t} starts on {d} and ends {n} days later.", "A {t} begins on {d}; {n} days after that it is due.", "The {t} is dated {d}. It (is due|ends) {n} days later.", t=thing, d=date_in_words(rng, day.isoformat()), n=days)  # fmt: skip
    day += timedelta(days)
    name = work.step("go {days} days on from {start}", "the span begins there", "add_days(start, days)", day.isoformat(), "{start} + {days} days")  # fmt: skip
    for n in range(1, level):
        more = rng.randint(2, 30)
        work.given[f"more{n}"] = more
        question += say(rng, " It is extended by {n} days.", " Then {n} days are added.", " {who} is given {n} more days.", n=more, who=rng.choice(PEOPLE))  # fmt: skip
        day += timedelta(more)
        name = work.step(f"go {{more{n}}} days further", "the extension counts from the old end", f"add_days({name}, more{n})", day.isoformat(), f"{{{name}}} + {{more{n}}} days")  # fmt: skip
    if rng.random() < 0.4:
        question += say(
            rng, " On which weekday is that?", " What day of the week is it then?", " Which weekday does it fall on?"
        )
        work.step(
            f"look up the weekday of {{{name}}}", "a date has one weekday", f"weekday({name})", WEEKDAYS[day.weekday()]
        )
        return work.done("weekday", question, f"{{{name}}} is a {{r}}")
    question += say(rng, " Which date is that?", " When is that?", " What is the date then?")
    return work.done("deadline", question, "it is {r}")


def span(rng: Random, level: int) -> Problem:
    """Days between two dates, in weeks and days, with days that do not count."""
    first = _day(rng)
    last = first + timedelta(rng.randint(8, 60 if level == 1 else 500))
    work = Working({"first": first.isoformat(), "last": last.isoformat()})
    days = (last - first).days
    question = say(rng, "{who} (leaves|starts) on {a} and (returns|stops) on {b}.", "Work began on {a} and ended on {b}.", "One {t} is from {a}, the next from {b}.", who=rng.choice(PEOPLE), t=rng.choice(THINGS), a=date_in_words(rng, first.isoformat()), b=date_in_words(rng, last.isoformat()))  # fmt: skip
    name = work.step("count the days from {first} to {last}", "the span is asked for", "days_between(first, last)", days, says="{r} days")  # fmt: skip
    if level == 1:
        question += say(rng, " How many days lie between the two?", " How many days are that?", " How long is it from the one to the other, in days?")  # fmt: skip
        return work.done("days", question, "{r} days lie between them", "days")
    if level == 3:
        off = rng.randint(1, 6)
        work.given["off"] = off
        question += say(rng, " {n} of these days do not count.", " Of the days between, {n} are left out.", n=off)
        days -= off
        name = work.step("leave out the {off} days that do not count", "they are no part of it", f"{name} - off", days, f"{{{name}}} - {{off}}", "{r} days")  # fmt: skip
    weeks = work.step(
        "divide by 7 and drop the rest",
        "a week has seven days",
        f"{name} // 7",
        days // 7,
        f"{{{name}}} // 7",
        "{r} weeks",
    )
    if rng.random() < 0.5:
        question += say(rng, " How many whole weeks are that?", " How many full weeks is it?")
        return work.done("weeks", question, "it is {r} whole weeks", "weeks")
    whole = work.step(
        "turn these weeks into days",
        "they can be taken away then",
        f"{weeks} * 7",
        days // 7 * 7,
        f"{{{weeks}}} × 7",
        "{r} days",
    )
    question += say(
        rng, " How many days are left over beyond whole weeks?", " Counted in whole weeks, how many days remain?"
    )
    work.step(
        "take them from all days",
        "the rest is no whole week",
        f"{name} - {whole}",
        days % 7,
        f"{{{name}}} - {{{whole}}}",
        "{r} days",
    )
    return work.done("rest", question, "{r} days are left over", "days")


def repeated(rng: Random, level: int) -> Problem:
    """The n-th of a regular event, and what comes to it."""
    day, every, number = _day(rng), rng.randint(2, 21), rng.randint(3, 4 + 5 * level)
    event = rng.choice(EVENTS)
    work = Working({"first": day.isoformat(), "every": every, "number": number})
    question = say(rng, "There is a {e} every {n} days, the first on {d}.", "The {e} takes place on {d} for the first time, and then every {n} days.", e=event, n=every, d=date_in_words(rng, day.isoformat()))  # fmt: skip
    steps = work.step(
        "take 1 from {number}", "the first one needs no waiting", "number - 1", number - 1, "{number} - 1"
    )
    days = work.step("multiply by {every}", "so many days lie between one and the next", f"{steps} * every", (number - 1) * every, f"{{{steps}}} × {{every}}", "{r} days")  # fmt: skip
    day += timedelta((number - 1) * every)
    name = work.step(f"go {{{days}}} days on from {{first}}", "counting begins with the first", f"add_days(first, {days})", day.isoformat(), f"{{first}} + {{{days}}} days")  # fmt: skip
    if level > 1:
        late = rng.randint(1, 6)
        work.given["late"] = late
        question += say(
            rng, " Number {k} is {m} days late.", " The one with number {k} is put off by {m} days.", k=number, m=late
        )
        day += timedelta(late)
        name = work.step("add the delay of {late} days", "it is put off", f"add_days({name}, late)", day.isoformat(), f"{{{name}}} + {{late}} days")  # fmt: skip
    if level > 2:
        question += say(rng, " On which weekday is number {k}?", " Which weekday does number {k} fall on?", k=number)
        work.step(
            f"look up the weekday of {{{name}}}", "a date has one weekday", f"weekday({name})", WEEKDAYS[day.weekday()]
        )
        return work.done("nth weekday", question, "it is on a {r}")
    question += say(rng, " What is the date of number {k}?", " When is number {k}?", k=number)
    return work.done("nth", question, "it is on {r}")


def months(rng: Random, level: int) -> Problem:
    """Lengths of months and years, the rest of a month."""
    day = _day(rng)
    work = Working({"today": day.isoformat()})
    length = calendar.monthrange(day.year, day.month)[1]
    end = day.replace(day=length)
    question = say(rng, "Today is {d}.", "It is {d}.", "The date is {d}.", d=date_in_words(rng, day.isoformat()))
    last = work.step("find the last day of the month", "the month ends there", "end_of_month(today)", end.isoformat())
    left = work.step(f"count the days from {{today}} to {{{last}}}", "these are still to come", f"days_between(today, {last})", (end - day).days, says="{r} days")  # fmt: skip
    if level == 1:
        question += say(
            rng, " How many days are left in this month?", " How many days does the month still have after today?"
        )
        return work.done("rest of month", question, "{r} days are left", "days")
    amount, unit = rng.randint(2, 60), rng.choice(("pages", "euros", "parts", "litres", "tasks", "orders"))
    work.given["amount"] = amount
    question += say(
        rng, " From tomorrow to the end of the month, {n} {u} are (needed|used|made) every day.", n=amount, u=unit
    )
    total = work.step(f"multiply by {{amount}} {unit}", "every day takes the same", f"{left} * amount", (end - day).days * amount, f"{{{left}}} × {{amount}}", f"{{r}} {unit}")  # fmt: skip
    if level == 2:
        question += say(rng, " How many are that?", " How many {u} is that in all?", u=unit)
        return work.done("month's need", question, f"it is {{r}} {unit}", unit)
    have = rng.randint(1, max(2, (end - day).days * amount))
    work.given["have"] = have
    question += say(rng, " {n} are there already. How many are still missing (or 0)?", " How many more than the {n} in stock does that take (0 if none)?", n=have)  # fmt: skip
    work.step("take away the {have} in stock, but not below 0", "what is there need not be got", f"max(0, {total} - have)", max(0, (end - day).days * amount - have))  # fmt: skip
    return work.done("month's rest", question, f"{{r}} {unit} are missing", unit)


def working_days(rng: Random, level: int) -> Problem:
    """A date so many working days later."""
    day, days = _day(rng), rng.randint(2, 5 + 6 * level)
    work = Working({"start": day.isoformat(), "days": days})
    question = say(rng, "An order of {d} takes {n} working days (Monday to Friday).", "{who} files the form on {d}. The office answers {n} working days later (Saturdays and Sundays do not count).", d=date_in_words(rng, day.isoformat()), n=days, who=rng.choice(PEOPLE))  # fmt: skip
    work.step(
        "look up the weekday of {start}",
        "weekends have to be seen",
        "weekday(start)",
        WEEKDAYS[day.weekday()],
        fixed=True,
    )
    left = days
    end = day
    while left:
        end += timedelta(1)
        left -= end.weekday() < 5
    name = work.step(
        "count {days} days on, without Saturdays and Sundays",
        "only working days count",
        "add_workdays(start, days)",
        end.isoformat(),
    )
    if level > 1:
        all_days = work.step(f"count all days from {{start}} to {{{name}}}", "weekends are in between as well", f"days_between(start, {name})", (end - day).days, says="{r} days")  # fmt: skip
        if level == 2:
            question += say(
                rng, " After how many calendar days is that?", " How many days, weekends included, have gone by then?"
            )
            return work.done("calendar days", question, "that is after {r} days", "days")
        question += say(
            rng,
            " How many days of weekend lie in between?",
            " How many of the days until then are Saturdays or Sundays?",
        )
        work.step("take the working days away", "all others are weekend", f"{all_days} - days", (end - day).days - days, f"{{{all_days}}} - {{days}}", "{r} days")  # fmt: skip
        return work.done("weekend days", question, "{r} days of weekend lie in between", "days")
    question += say(rng, " When is that?", " Which date is that?")
    return work.done("working days", question, "it is {r}")


def timetable(rng: Random, level: int) -> Problem:
    """Times of day: arrivals, changes, waiting."""
    time = datetime(2000, 1, 1, rng.randint(4, 20), rng.choice((0, 5, 7, 12, 18, 20, 25, 33, 40, 48, 55)))
    cities = rng.sample(CITIES, level + 1)
    work = Working({"start": _clock(time)})
    question = say(
        rng,
        "A train leaves at {t}.",
        "{who} sets out at {t}.",
        "The bus departs at {t}.",
        t=_clock(time),
        who=rng.choice(PEOPLE),
    )
    name = "start"
    for n, city in enumerate(cities, 1):
        minutes = rng.randint(8, 95 * level)
        work.given[f"ride{n}"] = minutes
        question += say(rng, " The way to {c} takes {m} minutes.", " To {c} it is {m} minutes.", c=city, m=minutes)
        time += timedelta(minutes=minutes)
        name = work.step(f"add the {{ride{n}}} minutes to {city}", "the way takes that long", f"add_minutes({name}, ride{n})", _clock(time), f"{{{name}}} + {{ride{n}}} min")  # fmt: skip
        if n <= level and level > 1:
            wait = rng.randint(3, 40)
            work.given[f"wait{n}"] = wait
            question += say(
                rng,
                " There it waits {m} minutes.",
                " The stop there is {m} minutes.",
                " {m} minutes are spent there.",
                m=wait,
            )
            time += timedelta(minutes=wait)
            name = work.step(f"add the {{wait{n}}} minutes in {city}", "it goes on only after that", f"add_minutes({name}, wait{n})", _clock(time), f"{{{name}}} + {{wait{n}}} min")  # fmt: skip
    question += say(
        rng, " What time is it then?", " At what time is that all over?", " When is that done, by the clock?"
    )
    return work.done("arrival", question, "it is {r} then")


def shift(rng: Random, level: int) -> Problem:
    """Time worked between two clock times, over several days."""
    start = datetime(2000, 1, 1, rng.randint(5, 22), rng.choice((0, 15, 30, 45)))
    end = start + timedelta(minutes=rng.randint(9, 38) * 15)
    length = int((end - start).total_seconds()) // 60
    pause = rng.choice((15, 20, 30, 45, 60))
    work = Working({"start": _clock(start), "end": _clock(end), "pause": pause})
    question = say(rng, "{who} works from {a} to {b} with a break of {p} minutes.", "A shift goes from {a} to {b}; {p} minutes of it are break.", who=rng.choice(PEOPLE), a=_clock(start), b=_clock(end), p=pause)  # fmt: skip
    name = work.step("count the minutes from {start} to {end}", "that is the time there", "minutes_between(start, end)", length, says="{r} minutes")  # fmt: skip
    net = work.step(
        "take the break off",
        "a break is no work",
        f"{name} - pause",
        length - pause,
        f"{{{name}}} - {{pause}}",
        "{r} minutes",
    )
    if level == 1:
        question += say(rng, " How many minutes of work is that?", " How many minutes are worked?")
        return work.done("shift", question, "{r} minutes are worked", "minutes")
    days = rng.randint(2, 6)
    work.given["days"] = days
    question += say(rng, " That is so on {n} days.", " There are {n} such (days|shifts).", n=days)
    total = work.step("multiply by {days}", "every shift is as long", f"{net} * days", (length - pause) * days, f"{{{net}}} × {{days}}", "{r} minutes")  # fmt: skip
    hours = (length - pause) * days // 60
    full = work.step(
        "divide by 60 and drop the rest",
        "an hour has 60 minutes",
        f"{total} // 60",
        hours,
        f"{{{total}}} // 60",
        "{r} hours",
    )
    if level == 2:
        question += say(rng, " How many whole hours are that?", " How many full hours come together?")
        return work.done("hours", question, "it is {r} whole hours", "hours")
    question += say(
        rng, " How many minutes are over beyond whole hours?", " Apart from whole hours, how many minutes are that?"
    )
    work.step("find what 60 does not divide", "the rest is no whole hour", f"{total} - {full} * 60", (length - pause) * days % 60, f"{{{total}}} - {{{full}}} × 60", "{r} minutes")  # fmt: skip
    return work.done("minutes", question, "{r} minutes are over", "minutes")


KINDS: tuple[Callable[[Random, int], Problem], ...] = (deadline, span, repeated, months, working_days, timetable, shift)


def _day(rng: Random) -> date:
    return date(2015, 1, 1) + timedelta(rng.randrange(365 * 25))


def _clock(time: datetime) -> str:
    return f"{time.hour:02}:{time.minute:02}"
