"""How long grounded arguments take to prepare: new texts of 8,000 characters, the same again, and one message more.

python -m benchmarks.grounding [--times 60] [--write]

Everything between a request and the first mask is in it: finding the spans, writing the grammar of four tools, and
compiling it for a vocabulary of Llama 3's size, whose weights are of no account here. Not while anything else runs.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from math import sqrt
from pathlib import Path
from random import Random

from langchain_core.messages import BaseMessage

from agentkit.engine.dialects import Dialect, detect
from agentkit.engine.grammar import Grammars
from agentkit.engine.llama import Model
from agentkit.messages import result_message, step_message, user_message
from agentkit.protocols import Request
from agentkit.types import Done, Grounding, Step, Task, ToolCall, ToolRules, ToolSpec
from benchmarks import random_llama, render
from benchmarks.figures import Measured, Z

CHARS, SEED, TIMES = 8_000, 7, 60
COLD_MS, CACHED_MS = 5.0, 0.2
SHAPE = random_llama.Shape(layers=1, width=64, hidden=64, heads=2, kv_heads=1)
_SYLLABLES = ("ba", "den", "for", "gi", "ker", "lo", "mar", "ne", "ous", "pra", "ring", "sta", "tion", "ver")
_WORDS = ["".join(parts) for length in (1, 2, 3) for parts in itertools.product(_SYLLABLES, repeat=length)]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.grounding", description="How long grounding takes.")
    parser.add_argument("--times", type=int, default=TIMES, help="texts, at least 2 (default: %(default)s)")
    parser.add_argument("--write", action="store_true", help="put the rows into benchmarks/results/engine.json")
    wanted = parser.parse_args(argv)
    began = time.monotonic()
    measured = measure(wanted.times)
    render.publish(
        "engine", measured, command="python -m benchmarks.grounding --write", began=began, write=wanted.write
    )
    return 0


def measure(times: int, shape: random_llama.Shape = SHAPE) -> list[Measured]:
    """Return the three figures; the first text warms everything up and is not counted."""
    taken: dict[str, list[float]] = {"cold": [], "cached": [], "grown": []}
    counts: list[int] = []
    with tempfile.TemporaryDirectory() as folder, Model(random_llama.write(Path(folder, "m.gguf"), shape)) as model:
        dialect, grammars = detect(model), Grammars(model.constrainer, model.n_vocab)
        for n, text in enumerate(itertools.islice(texts(CHARS), times + 1)):
            request = asked(text)
            longer = replace(
                request, messages=[*request.messages, user(f"Now /new/{n}/file.txt, please, for {n}@x.org.")]
            )
            for name, one in (("cold", request), ("cached", request), ("grown", longer)):
                taken[name].append(_ms(partial(prepare, dialect, grammars, one)))
            counts.append(dialect.grounds(request)["read_file"]["path"].alternatives)
    about = f"of 8,000 characters with some {statistics.median(counts):.0f} spans, four tools, {shape.vocab:,} tokens"
    return [
        median(
            "grounding-cold", f"grammar of grounded arguments, a new text {about}; median", taken["cold"][1:], COLD_MS
        ),
        median("grounding-cached", "the same texts again; median", taken["cached"][1:], CACHED_MS),
        median(
            "grounding-grown", "the same texts and a new message with a path and an address; median", taken["grown"][1:]
        ),
    ]


def prepare(dialect: Dialect, grammars: Grammars, request: Request) -> None:
    """Do what an engine does with a request before its first token, prompt aside."""
    grammars.constraint(dialect.grammar(request), dialect.schemas(request))


def median(id: str, what: str, taken: Sequence[float], target: float | None = None) -> Measured:
    """Return the median of milliseconds with the interval of its order statistics."""
    ordered, n = sorted(taken), len(taken)
    reach = Z * sqrt(n) / 2
    low, high = ordered[max(0, int(n / 2 - reach))], ordered[min(n - 1, int(n / 2 + reach))]
    value = round(statistics.median(ordered), 4)
    return Measured(
        id=id, what=what, value=value, unit="ms", n=n, interval=(round(low, 4), round(high, 4)), target=target
    )


def asked(text: str) -> Request:
    """Return a request whose last message is a tool's result, `text`."""
    call = ToolCall(id="call_0", tool="search_files", arguments={})
    messages = [
        user("Look for the reports, and write what you find to notes/summary.md."),
        step_message(Step(kind="calls", calls=(call,))),
        result_message(call, Done(text=text), number=1, spec=None),
    ]
    return Request(messages=messages, tools=TOOLS)


def user(text: str) -> BaseMessage:
    """Return a person's turn."""
    return user_message(Task.of(text))


def texts(length: int, seed: int = SEED) -> Iterator[str]:
    """Yield ever new texts of `length` characters: prose, log lines, listings and JSON."""
    rng = Random(seed)
    kinds = (_prose, _log, _listing, _json)
    while True:
        lines: list[str] = []
        while sum(map(len, lines)) + len(lines) < length:
            lines.append(rng.choices(kinds, (5, 2, 2, 1))[0](rng))
        yield "\n".join(lines)[:length]


def _word(rng: Random) -> str:
    """Return a word; the first of the list are the commonest, as in a language."""
    return _WORDS[min(int(rng.paretovariate(0.7)) - 1, len(_WORDS) - 1)]


def _prose(rng: Random) -> str:
    words = [_word(rng) for _ in range(rng.randint(8, 30))]
    words[rng.randrange(len(words))] += ","
    if rng.random() < 0.3:
        words.append(f'"{_word(rng)} {_word(rng)}"')
    return " ".join(words).capitalize() + "."


def _log(rng: Random) -> str:
    time_of_day = f"{rng.randrange(24):02}:{rng.randrange(60):02}:{rng.randrange(60):02}.{rng.randrange(1000):03}"
    who = f"{_word(rng)}@{_word(rng)}.example"
    return f"2025-03-04T{time_of_day}Z WARN {_word(rng)}[{rng.randrange(9999)}]: {who} took {rng.randrange(9999)} ms"


def _listing(rng: Random) -> str:
    path = "/".join(_word(rng) for _ in range(3))
    return f"-rw-r--r-- 1 root {rng.randrange(10**6)} /srv/{path}-{rng.randrange(99)}.csv"


def _json(rng: Random) -> str:
    url = f"https://{_word(rng)}.example/{_word(rng)}?id={rng.randrange(10**5)}"
    return f'{{"id": "{rng.getrandbits(32):08x}", "url": "{url}", "title": "{_word(rng)} \\"{_word(rng)}\\""}}'


def _ms(action: Callable[[], None]) -> float:
    began = time.perf_counter()
    action()
    return 1000 * (time.perf_counter() - began)


def _tool(name: str, how: Grounding, **others: str) -> ToolSpec:
    properties = {
        "path": {"type": "string", "description": "Which."},
        **{key: {"type": kind} for key, kind in others.items()},
    }
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return ToolSpec(name=name, description="", parameters=parameters, rules=ToolRules(grounded={"path": how}))


TOOLS = (
    _tool("read_file", "context"),
    _tool("search_files", "context", pattern="string"),
    _tool("write_file", "trusted", content="string"),
    _tool("send", "trusted", subject="string", copies="integer"),
)


if __name__ == "__main__":
    raise SystemExit(main())
