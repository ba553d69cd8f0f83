"""One row for the user's own tools: drawn arguments, a request for them, the tool's own result, an answer.

Guarantees: every call that a row shows was made, twice, and gave the same both times; the same options, seed and index give
the same row in every process, as long as the tools do the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

from agentkit.errors import InvalidParams
from agentkit.protocols import Tool
from agentkit.types import ToolSpec
from agentkit_synthesis.chat import outside
from agentkit_synthesis.dataset.rows import Rejected, split_of
from agentkit_synthesis.stream import SYSTEMS
from agentkit_synthesis.talk import Talk
from agentkit_synthesis.tooluse.domains import DOMAINS
from agentkit_synthesis.tooluse.own import wording
from agentkit_synthesis.tooluse.own.drawing import Drawn, draw_arguments, spoiled
from agentkit_synthesis.tooluse.own.loading import load, runnable
from agentkit_synthesis.tooluse.own.running import Bench
from agentkit_synthesis.tooluse.own.script import Script
from agentkit_synthesis.tooluse.world import Given, World
from agentkit_synthesis.wording import dress

__all__ = ["OWN_SHARES", "bench_of", "make"]

OWN_SHARES: Mapping[str, float] = {"single": 0.5, "multi_step": 0.1, "parallel": 0.12, "ask": 0.1, "decline": 0.08}
DRAWS = 8  # of arguments, until the tool can do something with them
JOINS = ("{a}, and {b}", "{a}; also, {b}", "two things: {a}, and {b}", "{a}. And {b}")
AGAIN = ("and {v}?", "and with {v}?", "now {v}", "the same for {v}", "what about {v}?")


class NoRow(Exception):
    """This draw makes no row; the message says why."""


def make(options: Mapping[str, Any], seed: int, index: int) -> Mapping[str, Any] | Rejected:
    """Return row `index`, or why it was rejected.

    Args:
        options: `from`: what `load` takes; `tools`: names of those that are called; `errors`: the largest share of rows in
            which the tool fails; `allow_effects`; `timeout_s`; `distractors`: most tools beside the user's own; `test_share`;
            `families`: family -> weight.
        seed: of the data set.
        index: of the row.

    Raises:
        JobError: a tool hangs.
    """
    id = f"tools-{seed}-{index}"
    rng = Random(f"{id}/own")
    shares = {**(options.get("families") or OWN_SHARES)}
    if "recovery" not in shares and not options.get("families"):
        shares["recovery"] = float(options["errors"])
    family = rng.choices(list(shares), list(shares.values()))[0]
    tools = load(options["from"]).named(options["tools"])
    try:
        with bench_of(options).open() as bench:
            script = Script(bench, rng)
            _FAMILIES[family](script, rng.choice(tools), rng)
        row = _row(id, script, tools, rng, options)
    except NoRow as error:
        return Rejected(str(error))
    except InvalidParams as error:
        return Rejected(str(error).split(": ", 1)[-1][:120])
    from agentkit_synthesis.tooluse.own.checking import verify_own  # noqa: PLC0415  it needs this module

    wrong = verify_own(row)
    return Rejected(wrong[0]) if wrong else {**row, "verified": True}


def bench_of(options: Mapping[str, Any]) -> Bench:
    """Return where the tools that the options name can be called."""
    tools = load(options["from"]).named(options["tools"])
    how = {tool.name: runnable(tool, allow_effects=bool(options["allow_effects"])) for tool in tools}
    return Bench(tools, how, timeout_s=float(options["timeout_s"]), apart=bool(options["allow_effects"]))


def single(script: Script, tool: Tool, rng: Random) -> None:
    """One call that works."""
    drawn, given = _working(script, tool, rng)
    script.family = "single"
    script.user(_asked(tool.spec, drawn, rng))
    script.call(tool.name, drawn.arguments, given)
    script.answer(tool.spec, given)


def multi_step(script: Script, tool: Tool, rng: Random) -> None:
    """One call, its answer, and a second with one value changed."""
    drawn, given = _working(script, tool, rng)
    other, again = _working(script, tool, rng)
    changed = [name for name in other.arguments if other.arguments[name] != drawn.arguments.get(name)]
    if not changed or other.arguments.keys() != drawn.arguments.keys() or drawn.request:
        single(script, tool, rng)
        return
    script.family = "multi_step"
    script.user(_asked(tool.spec, drawn, rng))
    script.call(tool.name, drawn.arguments, given)
    script.answer(tool.spec, given)
    told = ", ".join(
        wording.said(other.arguments[name])
        if len(drawn.arguments) == 1
        else f"{wording.words_of(name)} {wording.said(other.arguments[name])}"
        for name in changed
    )
    script.user(rng.choice(AGAIN).replace("{v}", told))
    script.call(tool.name, other.arguments, again)
    script.answer(tool.spec, again)


def parallel(script: Script, tool: Tool, rng: Random) -> None:
    """Two calls that do not depend on each other."""
    one, first = _working(script, tool, rng)
    other, second = _working(script, tool, rng)
    if one.arguments == other.arguments:
        single(script, tool, rng)
        return
    script.family = "parallel"
    texts = [drawn.request or wording.request(tool.spec, drawn.arguments, rng, dressed=False) for drawn in (one, other)]
    script.user(dress(rng.choice(JOINS).replace("{a}", texts[0]).replace("{b}", texts[1]), rng, "train"))
    script.calls(tool.name, [(one.arguments, first), (other.arguments, second)])
    script.answers(tool.spec, [first, second])


def ask(script: Script, tool: Tool, rng: Random) -> None:
    """A required argument is missing: ask; half the time it is told, and the call is made."""
    drawn, given = _working(script, tool, rng)
    needed = [name for name in tool.spec.parameters.get("required", ()) if name in drawn.arguments]
    if not needed:
        single(script, tool, rng)
        return
    missing = rng.choice(needed)
    left = {name: value for name, value in drawn.arguments.items() if name != missing}
    value = wording.said(drawn.arguments[missing])
    text = wording.request(tool.spec, left, rng)
    if len(value) > 1 and value.casefold() in text.casefold():
        raise NoRow("the words tell what should be missing")
    script.family = "ask"
    script.user(text)
    script.ask(wording.question(tool.spec, missing, rng))
    script.called(tool.name)
    if rng.random() < 0.4:
        script.goal["end"] = "ask"
        return
    script.user(rng.choice(("{}", "{}", "it's {}", "{}, please", "let's say {}")).replace("{}", value))
    script.call(tool.name, drawn.arguments, given)
    script.answer(tool.spec, given)


def decline(script: Script, tool: Tool, rng: Random) -> None:
    """A request that none of the tools is for."""
    script.family = "decline"
    words = {
        word
        for spec in script.specs
        for word in f"{wording.words_of(spec.name)} {spec.description}".casefold().split()
        if len(word) > 3
    }
    for _ in range(20):
        talk = Talk(rng, "train")
        outside(talk)
        said, refused = talk.turns[0], talk.turns[1]
        text = getattr(said, "text", "")
        if not words & set(text.casefold().replace("?", "").split()):
            script.user(text)
            script.decline(getattr(refused, "text", ""))
            return
    raise NoRow("nothing is out of these tools' reach")


def recovery(script: Script, tool: Tool, rng: Random) -> None:
    """A call that fails on what the user gave: say so; now and then they give another value, and that works."""
    for attempt in range(2 * DRAWS):
        drawn = draw_arguments(tool.spec, rng)
        drawn = drawn if attempt % 2 else spoiled(drawn, tool.spec, rng)
        failed = script.bench.call(tool.name, drawn.arguments)
        if not failed.ok:
            break
    else:
        single(script, tool, rng)  # it never fails
        return
    script.family = "recovery"
    script.user(_asked(tool.spec, drawn, rng))
    script.call(tool.name, drawn.arguments, failed)
    script.report(failed)
    if rng.random() < 0.5:
        other, given = _working(script, tool, rng)
        script.user(
            f"{rng.choice(('then', 'sorry, I meant', 'try instead', 'ok, then'))}: {other.request or wording.request(tool.spec, other.arguments, rng, dressed=False)}"
        )
        script.call(tool.name, other.arguments, given)
        script.answer(tool.spec, given)


def _working(script: Script, tool: Tool, rng: Random) -> tuple[Drawn, Given]:
    """Return arguments that the tool can do something with, and what it gives."""
    error = ""
    for _ in range(DRAWS):
        drawn = draw_arguments(tool.spec, rng)
        given = script.bench.call(tool.name, drawn.arguments)
        if given.ok:
            return drawn, given
        error = given.text
    raise NoRow(f"'{tool.name}' fails on the values drawn, {error[:100]}")


def _asked(spec: ToolSpec, drawn: Drawn, rng: Random) -> str:
    if drawn.request and rng.random() < 0.85:
        return dress(drawn.request, rng, "train")
    return wording.request(spec, drawn.arguments, rng)


def _row(id: str, script: Script, tools: Sequence[Tool], rng: Random, options: Mapping[str, Any]) -> dict[str, Any]:
    problem = hashlib.sha256(
        json.dumps([script.asked, script.goal["end"]], sort_keys=True, default=str).encode()
    ).hexdigest()
    system = [{"role": "system", "content": rng.choice(SYSTEMS)}] if rng.random() < 0.25 else []
    schemas = [_schema(tool.spec) for tool in tools]
    names = {schema["function"]["name"] for schema in schemas}
    others = _strangers(id, rng, int(options.get("distractors", 4)), names)
    shown = [*schemas, *others] if len(schemas) <= 12 else _few(schemas, script.needed, rng)
    rng.shuffle(shown)
    about = {name: options[name] for name in ("from", "tools", "allow_effects", "timeout_s")}
    return {
        "id": id,
        "family": script.family,
        "split": split_of(problem, float(options.get("test_share", 0.1))),
        "messages": [*system, *script.messages],
        "tools": shown,
        "world": {**about, "needed": script.needed, "distractors": len(shown) - len(script.needed)},
        "goal": script.goal,
        "hash": problem,
    }


def _schema(spec: ToolSpec) -> dict[str, Any]:
    function = {
        "name": spec.name,
        "description": spec.description,
        "parameters": json.loads(json.dumps(spec.parameters)),
    }
    return {"type": "function", "function": function}


def _few(schemas: Sequence[dict[str, Any]], needed: Sequence[str], rng: Random) -> list[dict[str, Any]]:
    here = [one for one in schemas if one["function"]["name"] in needed]
    others = [one for one in schemas if one["function"]["name"] not in needed]
    return [*here, *rng.sample(others, min(len(others), 12 - len(here)))]


def _strangers(id: str, rng: Random, most: int, names: set[str]) -> list[dict[str, Any]]:
    """Return invented tools to stand beside the user's; none that does sums, which a user's tool may do too."""
    world = World(id, [DOMAINS[rng.choice([key for key in DOMAINS if key not in ("units", "files", "pages")])]])
    found = [face.schema() for face in world.faces.values() if face.name not in names]
    return rng.sample(found, min(len(found), rng.randint(0, most)))


_FAMILIES: Mapping[str, Callable[[Script, Tool, Random], None]] = {
    "single": single,
    "multi_step": multi_step,
    "parallel": parallel,
    "ask": ask,
    "decline": decline,
    "recovery": recovery,
}
