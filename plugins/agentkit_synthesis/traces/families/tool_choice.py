"""Tool choice: which of several tools serves a request, what it must be told, when to ask back and when to decline."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from agentkit_synthesis.traces.pools import CITIES, GOODS, PEOPLE, SERVICES, say
from agentkit_synthesis.traces.problem import Problem, Working

__all__ = ["make"]

# what a tool does, how people ask for it, what it must be told
ACTIONS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("show the weather", "How is the weather", ("city", "day")),
    ("book a room", "Book a room", ("city", "day", "guests")),
    ("send a message", "Send a message", ("person", "text")),
    ("count the stock", "How much do we have in stock", ("item",)),
    ("order goods", "Order some", ("item", "amount")),
    ("restart a service", "Restart", ("service",)),
    ("read a log", "Show me the log", ("service", "day")),
    ("find a person", "Look up", ("person",)),
    ("plan a trip", "Plan a trip", ("city", "day", "person")),
    ("set a reminder", "Remind somebody", ("person", "day", "text")),
    ("scale a service", "Scale", ("service", "amount")),
    ("cancel an order", "Cancel the order", ("order",)),
    ("track a parcel", "Where is the parcel", ("order",)),
    ("rent a car", "Rent a car", ("city", "day", "amount")),
    ("print labels", "Print labels", ("item", "amount")),
    ("check the backup", "Check the backup", ("service", "day")),
)
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
TEXTS = ("I am late", "the lift is broken", "all done", "please call back", "lunch is at noon", "the code is ready")
PREFIX = ("", "get_", "do_", "run_", "my_", "x_", "v2_", "new_", "team_", "local_")


def make(rng: Random, level: int) -> Problem:
    """Return a problem; `level` is 1 to 3."""
    return rng.choice(KINDS)(rng, level)


class Kit:
    """Some tools and a request."""

    def __init__(self, rng: Random, level: int) -> None:
        self.actions = rng.sample(ACTIONS, 3 + level)
        self.tools = [self._tool(rng, does, needs) for does, _, needs in self.actions]
        form = rng.choice(("{name}: {does}; needs {needs}", "- {name} ({needs}): {does}", "{name}({needs}) -- {does}"))
        self.text = "\n".join(
            form.format(name=tool["name"], does=tool["does"], needs=", ".join(tool["needs"])) for tool in self.tools
        )
        self.intro = say(
            rng,
            "These tools are there:",
            "You can use these tools:",
            "The tools:",
            "There are {n} tools:",
            n=len(self.tools),
        )

    def _tool(self, rng: Random, does: str, needs: tuple[str, ...]) -> dict[str, Any]:
        verb, *rest = does.replace(" a ", " ").replace(" the ", " ").split()
        name = rng.choice((f"{rng.choice(PREFIX)}{rest[-1]}_{rng.choice('abcdefghkmpqrstuvwxyz')}{rng.randint(1, 99)}", f"{rng.choice(PREFIX)}{verb}_{rest[-1]}"))  # fmt: skip
        return {"name": name, "does": does, "needs": list(needs)}

    def ask(self, request: str, question: str) -> str:
        """Return the question."""
        return f"{self.intro}\n{self.text}\n\n{request}\n\n{question}"


def one_tool(rng: Random, level: int) -> Problem:
    """One request: call a tool, ask for what is missing, or decline."""
    kit = Kit(rng, level)
    outcome = rng.choices(("call", "ask", "decline"), (4, 3, 2))[0]
    if outcome == "decline":
        does, asks, needs = rng.choice([action for action in ACTIONS if action not in kit.actions])
    else:
        does, asks, needs = rng.choice(kit.actions)
    known = list(needs)
    if outcome == "ask":
        known = rng.sample(known, rng.randint(0, len(known) - 1))
    request, details = _request(rng, does, asks, known)
    work = Working({"tools": kit.tools, "action": does, "known": known})
    able = [tool["name"] for tool in kit.tools if tool["does"] == does]
    name = work.step(
        "look for a tool that can {action}", "that is what is wanted", "able(tools, action)", able, fixed=True
    )
    if outcome == "decline":
        work.step(
            "decide between a call, asking back and declining",
            "no tool does it",
            f'"call" if {name} else "decline"',
            "decline",
        )
        question = _decide(rng)
        return work.done("decide", kit.ask(f"{request}{details}", question), "no tool can do it, so the answer is {r}")
    needed = work.step(
        f"read what {able[0]} needs", "it cannot run without", f"needs(tools, {name}[0])", list(needs), fixed=True
    )
    lacking = [one for one in needs if one not in known]
    gap = work.step("compare that with what the request tells", "whatever is not told is missing", f"missing({needed}, known)", lacking, fixed=level < 3)  # fmt: skip
    if level == 1 or rng.random() < 0.4:
        work.step("decide between a call, asking back and declining", "a call must be complete", f'"ask" if {gap} else "call"', "ask" if lacking else "call")  # fmt: skip
        return work.done(
            "decide", kit.ask(f"{request}{details}", _decide(rng)), f"the tool {able[0]} fits, so the answer is {{r}}"
        )
    if level == 2:
        work.step("name the tool", "it is the one that does it", f"{name}[0]", able[0])
        question = say(rng, "Which tool serves this request?", "Name the tool to use.", "Which tool fits?")
        return work.done("tool", kit.ask(f"{request}{details}", question), "the tool is {r}")
    question = say(
        rng,
        "What is still missing for the call (or none)?",
        "Which arguments must be asked for (none if all are there)?",
    )
    return work.done("missing", kit.ask(f"{request}{details}", question), f"for {able[0]} is missing: {{r}}")


def several(rng: Random, level: int) -> Problem:
    """Several requests at once: how many calls can be made, how many need a question."""
    kit = Kit(rng, level)
    wanted = rng.sample(kit.actions, level + 1)
    work = Working({"tools": kit.tools})
    requests, gaps, ready = [], [], 0
    for n, (does, asks, needs) in enumerate(wanted, 1):
        known = list(needs) if rng.random() < 0.5 else rng.sample(needs, len(needs) - 1)
        request, details = _request(rng, does, asks, known)
        requests.append(f"{n}. {request}{details}")
        work.given |= {f"action{n}": does, f"known{n}": known}
        lacking = [one for one in needs if one not in known]
        tool = work.step(f"find the tool for request {n}", "it must do what is wanted", f"able(tools, action{n})[0]", next(t["name"] for t in kit.tools if t["does"] == does), fixed=True)  # fmt: skip
        gaps.append(work.step(f"see what request {n} leaves out", f"the tool needs {', '.join(needs)}", f"missing(needs(tools, {tool}), known{n})", lacking, says="missing: {r}"))  # fmt: skip
        ready += not lacking
    asked = rng.random() < 0.5
    terms = " + ".join(f"(0 if {gap} else 1)" if asked else f"(1 if {gap} else 0)" for gap in gaps)
    work.step("count the requests that are complete" if asked else "count the requests that need a question", "these are asked for", terms, ready if asked else len(wanted) - ready)  # fmt: skip
    question = say(rng, "How many of these requests can be (carried out|done) at once, without asking back?", "For how many of them is everything there that the tool needs?") if asked else say(rng, "For how many of these requests must one ask back?", "How many of them leave something out that the tool needs?")  # fmt: skip
    return work.done("ready" if asked else "to ask", kit.ask("\n".join(requests), question), "{r} of them" + (" can be done at once" if asked else " need a question"))  # fmt: skip


def coverage(rng: Random, level: int) -> Problem:
    """What the tools need together: arguments shared, arguments of one only."""
    kit = Kit(rng, level)
    chosen = rng.sample(kit.tools, 2)
    work = Working({"tools": kit.tools, "one": chosen[0]["name"], "other": chosen[1]["name"]})
    if chosen[0]["name"] == chosen[1]["name"]:
        return coverage(rng, level)
    first = work.step("read what {one} needs", "it is to be compared", "needs(tools, one)", chosen[0]["needs"])
    second = work.step("read what {other} needs", "it is to be compared", "needs(tools, other)", chosen[1]["needs"])
    a, b = set(chosen[0]["needs"]), set(chosen[1]["needs"])
    operation, result, told = rng.choice((("common", a & b, "both need"), ("union", a | b, "at least one of them needs"), ("without", a - b, "only the first needs")))  # fmt: skip
    found = sorted(result)
    name = work.step(f"take what {told}", "that is asked for", f"{operation}({first}, {second})", found)
    request = say(
        rng,
        "Compare {a} and {b} (in this order).",
        "Look at {a} first and {b} second.",
        a=chosen[0]["name"],
        b=chosen[1]["name"],
    )
    if level == 1:
        question = say(
            rng,
            "Which arguments are those that {t} (alphabetically)?",
            "Name, in alphabetical order, what {t}.",
            t=told,
        )
        return work.done("arguments", kit.ask(request, question), f"{told}: {{r}}")
    work.step("count them", "the number is asked for", f"len({name})", len(found))
    question = say(rng, "How many arguments are there that {t}?", "Count the arguments that {t}.", t=told)
    return work.done("argument count", kit.ask(request, question), f"{{r}} arguments: {told}")


KINDS: tuple[Callable[[Random, int], Problem], ...] = (one_tool, one_tool, several, coverage)


def _decide(rng: Random) -> str:
    return say(rng, "What is right: call, ask or decline?", "Call a tool, ask back, or decline? Answer call, ask or decline.", "Decide: call (all is there), ask (something is missing) or decline (no tool does it).")  # fmt: skip


def _request(rng: Random, does: str, asks: str, known: list[str]) -> tuple[str, str]:
    """Return a request and what it tells, argument by argument."""
    values: Mapping[str, str] = {
        "city": rng.choice(CITIES),
        "day": rng.choice(DAYS),
        "guests": str(rng.randint(1, 9)),
        "person": rng.choice(PEOPLE),
        "text": f'"{rng.choice(TEXTS)}"',
        "item": rng.choice(GOODS),
        "amount": str(rng.randint(2, 400)),
        "service": rng.choice(SERVICES),
        "order": f"{rng.choice('ABCDEFGH')}-{rng.randint(100, 9999)}",
    }
    request = say(
        rng,
        "The user wants to {d}: {a}.",
        "Request: {a} ({d}).",
        '"{a}", says {p}, and means: {d}.',
        a=asks,
        d=does,
        p=rng.choice(PEOPLE),
    )
    details = "; ".join(f"{one}: {values[one]}" for one in known)
    return request, f" Told: {details}." if details else " Nothing more is told."
