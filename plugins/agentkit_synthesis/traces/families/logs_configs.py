"""Logs and configurations: counting and comparing lines, times between them, which setting wins, what differs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random

from agentkit_synthesis.traces.pools import SERVICES, say
from agentkit_synthesis.traces.problem import Problem, Working

__all__ = ["make"]

LEVELS = ("INFO", "WARN", "ERROR", "DEBUG")
SAID = (
    "started", "stopped", "connected", "retrying", "timeout", "refused", "queued", "flushed", "reloaded", "accepted", "dropped", "saved",
    "denied", "expired", "opened", "closed", "waiting", "resumed", "synced", "rejected",
)  # fmt: skip
KEYS = {
    "port": (1024, 9999), "workers": (1, 64), "timeout": (1, 300), "retries": (0, 12), "cache_mb": (16, 4096), "batch": (1, 512),
    "max_conn": (10, 900), "log_days": (1, 90), "queue": (10, 999), "depth": (1, 40),
}  # fmt: skip


def make(rng: Random, level: int) -> Problem:
    """Return a problem; `level` is 1 to 3."""
    return rng.choice(KINDS)(rng, level)


class Log:
    """Lines `HH:MM:SS LEVEL service word 123ms`, and what they hold."""

    def __init__(self, rng: Random, level: int) -> None:
        self.services = rng.sample(SERVICES, 2 + level)
        time = datetime(2000, 1, 1, rng.randint(0, 20), rng.randint(0, 59), rng.randint(0, 59))
        self.entries: list[tuple[str, str, str, str, int]] = []
        for _ in range(rng.randint(4, 5 + 3 * level)):
            time += timedelta(seconds=rng.randint(1, 400))
            level_ = rng.choices(LEVELS, (4, 3, 4, 1))[0]
            self.entries.append(
                (f"{time:%H:%M:%S}", level_, rng.choice(self.services), rng.choice(SAID), rng.randint(1, 990))
            )
        self.lines = [f"{time} {level} {service} {said} {ms}ms" for time, level, service, said, ms in self.entries]
        self.intro = say(
            rng,
            "The log says:",
            "Here is (part of|an extract of|a piece of) a log:",
            "These lines are in the log:",
            "From the log:",
        )

    def ask(self, question: str) -> str:
        """Return the question with the log before it."""
        return f"{self.intro}\n\n" + "\n".join(self.lines) + f"\n\n{question}"


def counting(rng: Random, level: int) -> Problem:
    """Lines of a level, of a service, of both."""
    log = Log(rng, level)
    wanted, service = rng.choice(log.entries)[1:3]
    work = Working({"log": log.lines})
    entries = [entry for entry in log.entries if entry[1] == wanted]
    name = work.step(f"keep the lines that say {wanted}", "others do not count", f'with_word(log, "{wanted}")', [_line(entry) for entry in entries], says="{r}", fixed=True)  # fmt: skip
    if level == 1:
        work.step("count them", "the number is asked for", f"len({name})", len(entries))
        question = say(
            rng, "How many lines are at level {l}?", "How many {l} lines are there?", "Count the {l} entries.", l=wanted
        )
        return work.done("level count", log.ask(question), f"{{r}} lines say {wanted}")
    of = [entry for entry in entries if entry[2] == service]
    kept = work.step(f"of these keep those of {service}", "both must hold", f'with_word({name}, "{service}")', [_line(entry) for entry in of], fixed=True)  # fmt: skip
    if level == 2:
        work.step("count them", "the number is asked for", f"len({kept})", len(of))
        question = say(
            rng,
            "How many {l} lines does {s} have?",
            "How often does {s} log {l}?",
            "Count the {l} entries of {s}.",
            l=wanted,
            s=service,
        )
        return work.done("service count", log.ask(question), f"{{r}} {wanted} lines are from {service}")
    all_ = work.step(f"count all {wanted} lines", "the rest is what the others have", f"len({name})", len(entries))
    own = work.step(f"count those of {service}", "they are to be left out", f"len({kept})", len(of))
    work.step(
        "subtract", "the others have the rest", f"{all_} - {own}", len(entries) - len(of), f"{{{all_}}} - {{{own}}}"
    )
    question = say(
        rng,
        "How many {l} lines come from services other than {s}?",
        "Leaving {s} out, how many {l} entries are there?",
        l=wanted,
        s=service,
    )
    return work.done("others count", log.ask(question), f"the others have {{r}} {wanted} lines")


def noisiest(rng: Random, level: int) -> Problem:
    """The service with most lines, and by how many."""
    log = Log(rng, level)
    counts = Counter(entry[2] for entry in log.entries)
    order = counts.most_common()
    if len(order) < 2 or order[0][1] == order[1][1]:
        return noisiest(rng, level)
    work = Working({"log": log.lines})
    services = work.step(
        "read the third word of every line",
        "it names the service",
        "words(log, 3)",
        [entry[2] for entry in log.entries],
        fixed=True,
    )
    names = {}
    for service in dict.fromkeys(entry[2] for entry in log.entries):
        names[service] = work.step(f"count {service}", "every service is counted", f'count({services}, "{service}")', counts[service], says=f"{{r}} of {service}")  # fmt: skip
    top = work.step("take the largest count", f"{order[0][0]} has it", f"max({', '.join(names.values())})", order[0][1])
    if level == 1:
        question = say(
            rng,
            "How many lines has the service with the most lines?",
            "What is the number of lines of the busiest service?",
        )
        return work.done("most lines", log.ask(question), f"{order[0][0]} has most: {{r}}")
    if level == 2:
        share = work.step("count all lines", "the others are what is left", "len(log)", len(log.lines))
        work.step(
            "subtract",
            "all other services are asked for",
            f"{share} - {top}",
            len(log.lines) - order[0][1],
            f"{{{share}}} - {{{top}}}",
        )
        question = say(rng, "How many lines are not from the busiest service (the one with most lines)?", "Without the service that logs most, how many lines are left?")  # fmt: skip
        return work.done("other lines", log.ask(question), "{r} lines are of other services")
    rest = [names[service] for service, _ in order[1:]]
    second = work.step("take the largest of the other counts", "it is the second", f"max({', '.join(rest)})" if len(rest) > 1 else rest[0], order[1][1])  # fmt: skip
    work.step(
        "subtract", "the lead is asked for", f"{top} - {second}", order[0][1] - order[1][1], f"{{{top}}} - {{{second}}}"
    )
    question = say(rng, "By how many lines is the busiest service ahead of the next one?", "How many more lines has the service with most than the one after it?")  # fmt: skip
    return work.done("lead", log.ask(question), "it is ahead by {r}")


def durations(rng: Random, level: int) -> Problem:
    """The milliseconds of lines: total, largest, mean."""
    log = Log(rng, level)
    work = Working({"log": log.lines})
    service = rng.choice(log.entries)[2]
    entries = [entry for entry in log.entries if entry[2] == service]
    kept = work.step(f"keep the lines of {service}", "only these are asked about", f'with_word(log, "{service}")', [_line(entry) for entry in entries], fixed=True)  # fmt: skip
    values = [entry[4] for entry in entries]
    read = [work.step(f"read the milliseconds of line {n}", "they end each line", f"number(word({kept}[{n - 1}], 5))", value, says="{r} ms") for n, value in enumerate(values[:6], 1)]  # fmt: skip
    if len(values) > 6:
        return durations(rng, level)
    if level == 1 or len(values) == 1:
        work.step(
            "take the largest",
            "the slowest is asked for",
            f"max({', '.join(read)})" if len(read) > 1 else read[0],
            max(values),
            says="{r} ms",
        )
        question = say(
            rng,
            "How many milliseconds does the slowest line of {s} show?",
            "What is the largest time that {s} logs, in ms?",
            s=service,
        )
        return work.done("slowest", log.ask(question), f"the slowest of {service} has {{r}} ms", "ms")
    total = work.step(
        "add them up",
        "the total is asked for",
        " + ".join(read),
        sum(values),
        " + ".join(f"{{{name}}}" for name in read),
        "{r} ms",
    )
    if level == 2:
        question = say(
            rng,
            "How many milliseconds do the lines of {s} show together?",
            "Add up the times of {s}. How many ms are that?",
            s=service,
        )
        return work.done("total time", log.ask(question), f"{service} shows {{r}} ms together", "ms")
    work.step(f"divide by the {len(values)} lines and drop the rest", "the mean is asked for", f"{total} // len({kept})", sum(values) // len(values), f"{{{total}}} // {len(values)}", "{r} ms")  # fmt: skip
    question = say(rng, "What is the mean time of the lines of {s}, in whole ms (rest dropped)?", "Average the milliseconds of {s}; drop the rest.", s=service)  # fmt: skip
    return work.done("mean time", log.ask(question), f"the mean of {service} is {{r}} ms", "ms")


def first_line(rng: Random, level: int) -> Problem:
    """The first or last line of a sort, and what it says."""
    log = Log(rng, level)
    wanted = rng.choice(log.entries)[1]
    entries = [entry for entry in log.entries if entry[1] == wanted]
    last = rng.random() < 0.5
    entry = entries[-1 if last else 0]
    work = Working({"log": log.lines})
    name = work.step(f"keep the lines that say {wanted}", "others do not count", f'with_word(log, "{wanted}")', [_line(one) for one in entries], fixed=True)  # fmt: skip
    word = "last" if last else "first"
    at = f"len({name}) - 1" if last else "0"
    line = work.step(
        f"take the {word} of them", "lines stand in order of time", f"{name}[{at}]", _line(entry), fixed=True
    )
    position, what = rng.choice(((1, "time"), (3, "service"), (4, "message")))
    value = {1: entry[0], 3: entry[2], 4: entry[3]}[position]
    found = work.step(
        f"read its {what}", f"the {what} is word {position} of a line", f"word({line}, {position})", value
    )
    question = say(
        rng,
        "What is the {w} of the {p} {l} line?",
        "Give the {w} of the {p} line at level {l}.",
        w=what,
        p=word,
        l=wanted,
    )
    if level == 1 or what == "time":
        return work.done("which line", log.ask(question), f"the {what} is {{r}}")
    again = sum(other[position - 1] == value for other in log.entries)
    words = work.step(f"read word {position} of every line", "it is to be compared", f"words(log, {position})", [other[position - 1] for other in log.entries], fixed=True)  # fmt: skip
    work.step(f"count {{{found}}}", "its number is asked for", f"count({words}, {found})", again)
    question = say(rng, "How many lines of the log have the same {w} as the {p} {l} line (that line counts too)?", "Take the {w} of the {p} line at level {l}. How many lines of the whole log have it?", w=what, p=word, l=wanted)  # fmt: skip
    return work.done("same as", log.ask(question), f"{{r}} lines have {{{found}}}")


def precedence(rng: Random, level: int) -> Problem:
    """Defaults, a file, the environment, a flag: which value counts."""
    keys = rng.sample(sorted(KEYS), 3 + level)
    sources = ["defaults", "file", "environment", "flags"][: 2 + min(level, 2)]
    layers = {}
    for number, source in enumerate(sources):
        chosen = keys if number == 0 else rng.sample(keys, rng.randint(1, len(keys) - 1))
        layers[source] = [f"{key} = {rng.randint(*KEYS[key])}" for key in chosen]
    work = Working(dict(layers))
    text = "\n\n".join(f"# {source}\n" + "\n".join(lines) for source, lines in layers.items())
    order = " < ".join(sources)
    question = say(rng, "Settings come from {o}; later ones win.", "The order of precedence is {o} (the last wins).", "Values are taken in the order {o}; each overrides the one before.", o=order)  # fmt: skip
    asked = rng.sample(keys, 1 if level < 3 else 2)
    found, values = [], []
    for key in asked:
        names = []
        for source in reversed(sources):
            value = _of(layers[source], key)
            names.append(work.step(f"look for {key} in {source}", "what comes later wins", f'setting({source}, "{key}")', value, says="{r}" if value else "nothing{r}", fixed=True))  # fmt: skip
            if value:
                break
        found.append(work.step(f"take the first that was found, and read the number of {key}", "it overrides all before", f"number(first_of([{', '.join(names)}]))", int(value)))  # fmt: skip
        values.append(int(value))
    if level == 3:
        work.step(
            "add them up",
            "the sum is asked for",
            " + ".join(found),
            sum(values),
            " + ".join(f"{{{name}}}" for name in found),
        )
        question += say(rng, " What is the sum of {a} and {b} as they count in the end?", " Add the values of {a} and {b} that are in force.", a=asked[0], b=asked[1])  # fmt: skip
        return work.done("sum of settings", f"{text}\n\n{question}", "the sum is {r}")
    question += say(
        rng, " Which value of {k} counts?", " What is {k} in the end?", " Which {k} is in force?", k=asked[0]
    )
    return work.done("setting", f"{text}\n\n{question}", f"{asked[0]} is {{r}}")


def difference(rng: Random, level: int) -> Problem:
    """Two versions of a configuration: keys that came, went or changed."""
    keys = rng.sample(sorted(KEYS), 5 + level)
    old = {key: rng.randint(*KEYS[key]) for key in rng.sample(keys, 3 + level)}
    new = {
        key: old[key] if key in old and rng.random() < 0.6 else rng.randint(*KEYS[key])
        for key in rng.sample(keys, 3 + level)
    }
    lines = {name: [f"{key} = {value}" for key, value in one.items()] for name, one in (("old", old), ("new", new))}
    work = Working(dict(lines))
    text = "\n\n".join(f"# {name}\n" + "\n".join(one) for name, one in lines.items())
    one = work.step("list the keys of old", "they are to be compared", "keys(old)", list(old), fixed=True)
    other = work.step("list the keys of new", "they are to be compared", "keys(new)", list(new), fixed=True)
    if level < 3 and rng.random() < 0.6:
        came = rng.random() < 0.5
        result = sorted(set(new) - set(old)) if came else sorted(set(old) - set(new))
        word = "only in new" if came else "only in old"
        found = work.step(f"keep what is {word}", "keys in both did not come or go", f"without({other if came else one}, {one if came else other})", result)  # fmt: skip
        if level == 1:
            question = say(
                rng,
                "Which keys are {w}, in alphabetical order?",
                "Name the keys that are {w} (alphabetically).",
                w=word,
            )
            return work.done("keys", f"{text}\n\n{question}", f"{word}: {{r}}")
        work.step("count them", "the number is asked for", f"len({found})", len(result))
        return work.done("key count", f"{text}\n\n" + say(rng, "How many keys are {w}?", "What is the number of keys that are {w}?", w=word), f"{{r}} keys are {word}")  # fmt: skip
    both = sorted(set(old) & set(new))
    shared = work.step(
        "keep the keys that are in both", "only these can have changed", f"common({one}, {other})", both, fixed=True
    )
    changes = []
    for key in both:
        changes.append(work.step(f"compare {key} in both", "a change is another value", f'setting(old, "{key}") != setting(new, "{key}")', old[key] != new[key], says=f"changed: {{r}} ({old[key]} and {new[key]})"))  # fmt: skip
    terms = " + ".join(f"(1 if {name} else 0)" for name in changes) or f"len({shared})"
    work.step("count the changes", "their number is asked for", terms, sum(old[key] != new[key] for key in both))
    question = say(rng, "How many keys have another value in new than in old?", "How many settings that are in both versions differ?", "Of the keys in both, how many changed?")  # fmt: skip
    return work.done("changed", f"{text}\n\n{question}", "{r} changed")


KINDS: tuple[Callable[[Random, int], Problem], ...] = (
    counting,
    noisiest,
    durations,
    first_line,
    precedence,
    difference,
)


def _line(entry: tuple[str, str, str, str, int]) -> str:
    return f"{entry[0]} {entry[1]} {entry[2]} {entry[3]} {entry[4]}ms"


def _of(lines: list[str], key: str) -> str:
    return next((line.split(" = ")[1] for line in lines if line.startswith(f"{key} = ")), "")
