"""Sets and graphs: members of groups, shared and different items, roads and their lengths, what needs what."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import pairwise
from random import Random

from agentkit_synthesis.traces.pools import CITIES, GOODS, PEOPLE, say
from agentkit_synthesis.traces.problem import Problem, Working

__all__ = ["make"]

CLUBS = ("chess club", "choir", "running group", "book circle", "chemistry course", "night shift", "planning team", "first-aid course", "garden group", "German course", "support team", "board")  # fmt: skip
TASKS = ("build", "clean", "deploy", "document", "export", "index", "install", "lint", "migrate", "notify", "package", "publish", "restore", "sign", "test", "upload", "verify")  # fmt: skip


def make(rng: Random, level: int) -> Problem:
    """Return a problem; `level` is 1 to 3."""
    return rng.choice(KINDS)(rng, level)


def groups(rng: Random, level: int) -> Problem:
    """Members of groups: in both, in one, in none, and how many."""
    names = rng.sample(PEOPLE, 5 + 2 * level)
    labels = rng.sample(CLUBS, 2 if level == 1 else 3)
    sets = [sorted(rng.sample(names, rng.randint(3, len(names) - 2))) for _ in labels]
    work = Working({"a": sets[0], "b": sets[1]})
    question = " ".join(say(rng, "In the {l} are {m}.", "The {l}: {m}.", "{m} belong to the {l}.", l=label, m=", ".join(rng.sample(members, len(members)))) for label, members in zip(labels, sets, strict=True))  # fmt: skip
    first, second = labels[:2]
    operation = rng.choice(("common", "union", "without", "unlike"))
    one, other = map(set, sets[:2])
    result = sorted(
        {"common": one & other, "union": one | other, "without": one - other, "unlike": one ^ other}[operation]
    )
    do, why, told = {
        "common": (f"find who is in both the {first} and the {second}", "both are asked for", f"in both the {first} and the {second}"),
        "union": (f"join the {first} and the {second}, each name once", "nobody counts twice", f"in the {first} or the {second} or both"),
        "without": (f"leave out of the {first} whoever is in the {second}", "these are not wanted", f"in the {first} but not in the {second}"),
        "unlike": (f"find who is in one of the {first} and the {second} only", "members of both do not count", f"in exactly one of the {first} and the {second}"),
    }[operation]  # fmt: skip
    name = work.step(do, why, f"{operation}(a, b)", result)
    if level > 1:
        work.given["c"] = sets[2]
        keep = rng.random() < 0.5
        result = sorted(set(result) & set(sets[2]) if keep else set(result) - set(sets[2]))
        word = "also" if keep else "not"
        told += f" and {word} in the {labels[2]}"
        name = work.step(f"keep those who are {word} in the {labels[2]}", "that is the second condition", f"{'common' if keep else 'without'}({name}, c)", result)  # fmt: skip
    if level == 3 or rng.random() < 0.5:
        question += say(rng, " How many people are {t}?", " Count those who are {t}.", t=told)
        work.step("count them", "the number is asked for", f"len({name})", len(result))
        return work.done("count", question, f"{{r}} people are {told}")
    question += say(
        rng, " Who is {t}?", " Name those who are {t}, in alphabetical order.", " Which people are {t}?", t=told
    )
    return work.done("members", question, f"{{r}}: {told}")


def numbers(rng: Random, level: int) -> Problem:
    """Sets of numbers: what is shared, and sums or extremes of it."""
    top = 15 * level + 10
    a, b = (sorted(rng.sample(range(1, top), rng.randint(4, 5 + 2 * level))) for _ in range(2))
    shared = rng.sample(range(1, top), 3)
    a, b = sorted({*a, *shared}), sorted({*b, *shared})
    work = Working({"a": a, "b": b})
    one, other = set(a), set(b)
    operation, told, result = rng.choice((("common", "in both", one & other), ("union", "in at least one of them", one | other), ("unlike", "in exactly one of them", one ^ other)))  # fmt: skip
    found = sorted(result)
    question = say(rng, "A = {{a}} and B = {{b}}.", "Take the sets A = {{a}}, B = {{b}}.", "Let A be {{a}} and B be {{b}}.", a=", ".join(map(str, a)), b=", ".join(map(str, b)))  # fmt: skip
    name = work.step(f"find the numbers that are {told}", "only these are asked about", f"{operation}(a, b)", found)
    if level > 1:
        divisor = rng.choice((2, 3, 5))
        drop = [n for n in found if n % divisor == 0]
        if len(drop) not in (0, len(found)):
            work.given["drop"] = drop
            found = [n for n in found if n % divisor]
            told += f" and are not divisible by {divisor}"
            name = work.step(f"leave out what {divisor} divides", "these do not count", f"without({name}, drop)", found)
    what, do, why, expression, value = rng.choice(
        (
            ("the sum of", "add them up", "their sum is asked for", f"sum({name})", sum(found)),
            ("the largest of", "take the largest", "the others are smaller", f"max({name})", max(found)),
            ("the count of", "count them", "their number is asked for", f"len({name})", len(found)),
        )
    )
    question += say(
        rng, " What is {w} the numbers that are {t}?", " Find {w} the numbers that are {t}.", w=what, t=told
    )
    last = work.step(do, why, expression, value)
    if level == 3:
        factor = rng.randint(2, 9)
        question += say(rng, " Multiply it by {f}.", " Give {f} times that.", f=factor)
        work.step(
            f"multiply by {factor}",
            "that is asked for in the end",
            f"{last} * {factor}",
            value * factor,
            f"{{{last}}} × {factor}",
        )
    return work.done("numbers", question, "it is {r}")


def _road_map(rng: Random, level: int) -> tuple[list[str], list[list[object]]]:
    """Return cities and roads between them, all connected."""
    cities = rng.sample(CITIES, 4 + level)
    roads = [[rng.choice(cities[:n]), cities[n], rng.randint(2, 60)] for n in range(1, len(cities))]
    known = {frozenset(road[:2]) for road in roads}
    for _ in range(level + 1):
        a, b = rng.sample(cities, 2)
        if frozenset((a, b)) not in known:
            known.add(frozenset((a, b)))
            roads.append([a, b, rng.randint(2, 60)])
    rng.shuffle(roads)
    return cities, roads


def routes(rng: Random, level: int) -> Problem:
    """Two ways between cities compared, and the shortest of all."""
    cities, roads = _road_map(rng, level)
    start, end = rng.sample(cities, 2)
    length, path = _shortest(roads, start, end)
    work = Working({"roads": roads, "start": start, "end": end})
    question = say(
        rng,
        "Roads: {r}.",
        "There are these roads, with their length in km: {r}.",
        "The map shows {r}.",
        r=_told(rng, roads),
    )
    names = []
    for n, (a, b) in enumerate(pairwise(path), 1):
        work.given |= {f"p{n}": a, f"q{n}": b}
        names.append(work.step(f"look up the road from {{p{n}}} to {{q{n}}}", "it is on the shortest way", f"path_weight(roads, [p{n}, q{n}])", _length(roads, a, b), says="{r} km"))  # fmt: skip
    if len(names) > 1:
        work.step("add them up", "the roads are taken one after the other", " + ".join(names), length, " + ".join(f"{{{name}}}" for name in names), "{r} km")  # fmt: skip
    last = work.step("look whether any other way from {start} to {end} is shorter", "the shortest of all is asked for", "distance(roads, start, end)", length, says="none is, the least is {r} km")  # fmt: skip
    question += say(
        rng,
        " How long is the shortest way from {a} to {b}?",
        " What is the least distance between {a} and {b}, in km?",
        a=start,
        b=end,
    )
    if level > 1:
        speed = rng.choice((2, 4, 5, 10))
        work.given["speed"] = speed
        question += say(
            rng,
            " How many kilometres are that there and back, {n} times?",
            " {n} return trips: how many km are that?",
            n=speed,
        )
        both = work.step("double it", "it is there and back", f"{names[0]} * 2" if len(names) == 1 else f"s{len(names) + 1} * 2", length * 2, f"{{{last}}} × 2", "{r} km")  # fmt: skip
        work.step(
            "multiply by {speed}",
            "so many trips are made",
            f"{both} * speed",
            length * 2 * speed,
            f"{{{both}}} × {{speed}}",
            "{r} km",
        )
        return work.done("trips", question, "that is {r} km", "km")
    return work.done("shortest", question, "the shortest way has {r} km", "km")


def neighbours(rng: Random, level: int) -> Problem:
    """What is next to a place, what is next to two, and the fewest roads."""
    cities, roads = _road_map(rng, level)
    one, other = rng.sample(cities, 2)
    edges = [road[:2] for road in roads]
    work = Working({"roads": edges, "one": one})
    question = say(rng, "Direct lines: {r}.", "Trains run both ways between {r}.", "These pairs are connected: {r}.", r=", ".join(f"{a} and {b}" if rng.random() < 0.2 else f"{a}-{b}" for a, b in edges))  # fmt: skip
    near = _next(edges, one)
    name = work.step("list what is next to {one}", "a direct line counts", "next_to(roads, one)", near)
    if level == 1:
        question += say(
            rng,
            " To how many places is there a direct line from {a}?",
            " How many direct neighbours does {a} have?",
            a=one,
        )
        work.step("count them", "the number is asked for", f"len({name})", len(near))
        return work.done("degree", question, "it is {r}")
    work.given["other"] = other
    near_other = _next(edges, other)
    second = work.step("list what is next to {other}", "it is to be compared", "next_to(roads, other)", near_other)
    both = sorted(set(near) & set(near_other))
    if level == 2:
        question += say(rng, " Which places are direct neighbours of both {a} and {b}?", " Where can one change once between {a} and {b}? Name all such places.", a=one, b=other)  # fmt: skip
        work.step("keep those in both lists", "both must be reached", f"common({name}, {second})", both)
        return work.done("changes", question, f"next to both {one} and {other}: {{r}}")
    every = sorted({*near, *near_other} - {one, other})
    joined = work.step("join both lists, without the two themselves", "each place counts once", f"without(union({name}, {second}), [one, other])", every)  # fmt: skip
    question += say(rng, " How many places, other than these two, are direct neighbours of {a} or {b}?", " Without {a} and {b} themselves: how many places are next to at least one of them?", a=one, b=other)  # fmt: skip
    work.step("count them", "the number is asked for", f"len({joined})", len(every))
    return work.done("around", question, "there are {r}")


def ranks(rng: Random, level: int) -> Problem:
    """When tasks that need others can end, at the earliest."""
    tasks = rng.sample(TASKS, 3 + level)
    times = [rng.randint(2, 40) for _ in tasks]
    edges = [[tasks[rng.randrange(n)], tasks[n]] for n in range(1, len(tasks))]
    for _ in range(level - 1):
        a, b = sorted(rng.sample(range(len(tasks)), 2))
        if [tasks[a], tasks[b]] not in edges:
            edges.append([tasks[a], tasks[b]])
    work = Working({"needs": edges, **{f"t_{task}": time for task, time in zip(tasks, times, strict=True)}})
    parts = ", ".join(f"{task} {time} min" for task, time in zip(tasks, times, strict=True))
    rules = ", ".join(f"{b} needs {a}" for a, b in edges)
    question = say(rng, "Durations: {p}. {r}. Tasks run at the same time where nothing forbids it.", "The tasks take {p}. {r}. Whatever can run in parallel does.", p=parts, r=rules)  # fmt: skip
    ends: dict[str, int] = {}
    names: dict[str, str] = {}
    goal = tasks[-1]
    for task, time in zip(tasks, times, strict=True):
        if task not in _before(edges, goal) | {goal}:
            continue
        first = [a for a, b in edges if b == task]
        ends[task] = max((ends[a] for a in first), default=0) + time
        waits = [names[a] for a in first]
        start = "0" if not waits else waits[0] if len(waits) == 1 else f"max({', '.join(waits)})"
        do = (
            f"let {task} begin at once"
            if not waits
            else f"let {task} begin when {' and '.join(first)} {'is' if len(first) == 1 else 'are'} done"
        )
        shown = f"{start.replace('(', '(') if not waits else _braced(start, waits)} + {{t_{task}}}"
        names[task] = work.step(do, "it needs nothing" if not waits else "it needs the last of them", f"{start} + t_{task}", ends[task], shown)  # fmt: skip
    question += say(rng, " When is {g} done at the earliest (in minutes from the start)?", " After how many minutes can {g} be finished at the earliest?", g=goal)  # fmt: skip
    return work.done("schedule", question, f"the task {goal} is done after {{r}} minutes", "min")


def inventory(rng: Random, level: int) -> Problem:
    """What is wanted and not there."""
    items = rng.sample(GOODS, 6 + 2 * level)
    wanted, there = rng.sample(items, 4 + level), rng.sample(items, 4 + level)
    work = Working({"wanted": wanted, "there": there})
    question = say(rng, "Needed are {a}. In stock are {b}.", "The list says {a}. The shelf has {b}.", "{who} wants {a}; {b} are there already.", a=", ".join(wanted), b=", ".join(there), who=rng.choice(PEOPLE))  # fmt: skip
    lacking = sorted(set(wanted) - set(there))
    name = work.step(
        "leave out of the list what is there", "only the rest must be got", "without(wanted, there)", lacking
    )
    told = "still missing"
    if level > 1:
        ordered = rng.sample(items, 3)
        work.given["ordered"] = ordered
        question += say(rng, " {c} are ordered.", " On their way are {c}.", c=", ".join(ordered))
        lacking = sorted(set(lacking) - set(ordered))
        told = "neither there nor on the way"
        name = work.step("leave out what is ordered", "it comes anyway", f"without({name}, ordered)", lacking)
    if level == 3:
        question += say(rng, " How many of the things needed are {t}?", " Count what is needed and {t}.", t=told)
        work.step("count them", "the number is asked for", f"len({name})", len(lacking))
        return work.done("missing count", question, f"{{r}} of them are {told}")
    question += say(
        rng, " What is {t} (in alphabetical order)?", " Name what is needed and {t}, in alphabetical order.", t=told
    )
    return work.done("missing", question, f"{told}: {{r}}")


KINDS: tuple[Callable[[Random, int], Problem], ...] = (groups, numbers, routes, neighbours, ranks, inventory)


def _told(rng: Random, roads: list[list[object]]) -> str:
    form = rng.choice(("{a}-{b} {w} km", "{a} to {b} ({w} km)", "{a}/{b}: {w} km"))
    return ", ".join(form.format(a=a, b=b, w=w) for a, b, w in roads)


def _braced(expression: str, names: list[str]) -> str:
    for name in names:
        expression = expression.replace(name, f"{{{name}}}")
    return expression


def _length(roads: list[list[object]], a: str, b: str) -> int:
    return next(int(str(weight)) for one, other, weight in roads if {one, other} == {a, b})


def _next(edges: list[list[object]], city: str) -> list[str]:
    return sorted(str(b if a == city else a) for a, b in edges if city in (a, b))


def _before(edges: list[list[str]], task: str) -> set[str]:
    found = {a for a, b in edges if b == task}
    return found.union(*(_before(edges, one) for one in found))


def _shortest(roads: list[list[object]], start: str, end: str) -> tuple[int, list[str]]:
    """Return the least length and a way that has it (Dijkstra)."""
    heap: list[tuple[int, list[str]]] = [(0, [start])]
    done: set[str] = set()
    while heap:
        length, path = heapq.heappop(heap)
        if path[-1] == end:
            return length, path
        if path[-1] in done:
            continue
        done.add(path[-1])
        for a, b, weight in roads:
            if path[-1] in (a, b):
                heapq.heappush(heap, (length + int(str(weight)), [*path, str(b if path[-1] == a else a)]))
    raise ValueError(f"{start} and {end} are not connected")
