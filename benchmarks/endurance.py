"""Does the engine stay as it is? Memory over thousands of requests of every kind, and many threads at once.

python -m benchmarks.endurance [--requests 10000] [--hammer 60] [--model NAME] [--write]

First requests of every kind in turn, each with a text of its own, in a small context so that room must be made all the
time: answers under the grammar of tools, texts under grammars, branches, scores, choices, vectors, and requests that are
cancelled, run out of time or are left. Then threads on one engine, each of whose results is compared with that of a
single thread: on the float weights and `exact`, where what else is in a batch does not change what is chosen.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from rich.console import Console
from rich.progress import track

from agentkit.engine.llama import LlamaEngine
from agentkit.engine.llama.sessions import Text
from agentkit.errors import Cancelled, DeadlineExceeded
from agentkit.messages import user_message
from agentkit.models import resolve
from agentkit.protocols import Reply, Request, Sampling
from agentkit.types import Step, Task, ToolSpec
from benchmarks import render
from benchmarks.figures import Measured

CONTEXT, LIVE, CACHE_MB = 1024, 8, 8
SETTLED = 1000  # requests, after which pools and caches are as large as they become
SAMPLES = 100
GROWTH_MB = 4.0
THREADS, TEXTS = 8, 6
NEAR = 1e-2  # nats, or of a vector's entries
MEBIBYTE = 1 << 20
TOOLS = (
    ToolSpec(
        name="set_light",
        description="Switch a light.",
        parameters={
            "type": "object",
            "properties": {"room": {"enum": ["hall", "kitchen"]}, "level": {"type": "integer"}},
            "required": ["room", "level"],
        },
    ),
    ToolSpec(
        name="calculator",
        description="Work out a sum.",
        parameters={"type": "object", "properties": {"expression": {"type": "string"}}, "required": ["expression"]},
    ),
)
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}, "ok": {"type": "boolean"}}, "required": ["ok"]}

Call = Callable[[], Any]


class After:
    """A cancel flag that is set once it has been looked at so often."""

    def __init__(self, looks: int) -> None:
        self._left = looks

    def is_set(self) -> bool:
        """Count one look."""
        self._left -= 1
        return self._left < 0


@dataclass(slots=True)
class Hammered:
    """What the threads did."""

    calls: int = 0
    wrong: list[tuple[str, Any, Any]] = field(default_factory=list)  # kind, found, expected
    errors: list[str] = field(default_factory=list)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.endurance", description="Does the engine stay as it is?"
    )
    parser.add_argument(
        "--requests", type=int, default=10_000, help="one after the other (default: %(default)s; 0: none)"
    )
    parser.add_argument(
        "--hammer", type=float, default=60.0, help="seconds of many threads (default: %(default)s; 0: none)"
    )
    parser.add_argument("--model", default="sprout", help="of the requests one after the other")
    parser.add_argument("--write", action="store_true", help="put the rows into benchmarks/results/engine.json")
    wanted = parser.parse_args(argv)
    began = time.monotonic()
    measured: list[Measured] = []
    if wanted.requests:
        found = resolve(wanted.model, offline=True)
        assert found.path is not None, "a server's memory is its own"
        measured += memory(found.path, wanted.requests)
    if wanted.hammer:
        with tempfile.TemporaryDirectory() as folder:
            measured += threads(float_weights(Path(folder)), wanted.hammer)
    command = f"python -m benchmarks.endurance --requests {wanted.requests} --hammer {wanted.hammer:g} --write"
    render.publish("engine", measured, command=command, began=began, write=wanted.write)
    return 0


def memory(path: Path, requests: int) -> list[Measured]:
    """Return by how much resident memory grows from request `SETTLED` on, and how many requests failed."""
    sizes: list[tuple[int, float]] = []
    errors: list[str] = []
    every = max(1, requests // SAMPLES)
    with LlamaEngine(path, context=CONTEXT, threads=1, live=LIVE, cache_mb=CACHE_MB) as engine:
        todo = itertools.islice(_endless(engine), requests)
        shown = track(todo, "requests", requests, console=Console(stderr=True))
        for n, (kind, call) in enumerate(shown, 1):
            try:
                call()
            except Exception as error:  # noqa: BLE001  counted, and said
                errors.append(f"{kind}: {type(error).__name__}: {error}")
            if n % every == 0 or n == min(SETTLED, requests):
                sizes.append((n, resident() / MEBIBYTE))
    for line in dict.fromkeys(errors):
        print(line, file=sys.stderr)
    settled = next((size for n, size in sizes if n >= SETTLED), sizes[0][1])
    return [
        Measured(id="endurance-memory", value=round(sizes[-1][1] - settled, 2), unit="MB", n=requests, target=GROWTH_MB,
                 what=f"growth of resident memory from request {min(SETTLED, requests):,} on, all kinds in turn"),
        Measured(id="endurance-errors", value=len(errors), unit="requests", n=requests, target=0.0,
                 what="the same: requests that failed without having been told to"),
    ]  # fmt: skip


def threads(path: Path, seconds: float) -> list[Measured]:
    """Return how many results of many threads on one engine differ from those of a single one, and how many failed."""
    done = hammer(path, seconds)
    for kind, found, expected in done.wrong[:10]:
        print(f"{kind}: {found!r}, alone {expected!r}", file=sys.stderr)
    for line in dict.fromkeys(done.errors):
        print(line, file=sys.stderr)
    about = f"{THREADS} threads on one engine for {seconds:g} s"
    return [
        Measured(id="hammer-errors", what=f"{about}: calls that failed", value=len(done.errors), unit="calls",
                 n=done.calls, target=0.0),
        Measured(id="hammer-wrong", what=f"{about}: results that a single thread does not get", value=len(done.wrong),
                 unit="calls", n=done.calls, target=0.0),
    ]  # fmt: skip


def hammer(path: Path, seconds: float) -> Hammered:
    """Have the threads call in any order until the time is up."""
    with LlamaEngine(path, context=4 * CONTEXT, threads=1, live=LIVE, cache_mb=CACHE_MB, exact=True) as engine:
        expected = [(kind, call()) for n in range(TEXTS) for kind, call in steady(engine, n)]
    done, lock, end = Hammered(), threading.Lock(), time.monotonic() + seconds

    def work(engine: LlamaEngine, seed: int) -> None:
        rng, calls = Random(seed), [call for n in range(TEXTS) for call in steady(engine, n)]
        while time.monotonic() < end:
            place = rng.randrange(len(calls))
            kind, call = calls[place]
            try:
                found = call()
                wrong = [] if alike(found, expected[place][1]) else [(kind, found, expected[place][1])]
                errors = []
            except Exception as error:  # noqa: BLE001  counted, and said
                wrong, errors = [], [f"{kind}: {type(error).__name__}: {error}"]
            with lock:
                done.calls += 1
                done.wrong += wrong
                done.errors += errors

    with LlamaEngine(path, context=CONTEXT, threads=1, live=LIVE - 3, cache_mb=1, exact=True) as engine:
        workers = [threading.Thread(target=work, args=(engine, seed), daemon=True) for seed in range(THREADS)]
        for worker in workers:
            worker.start()
        ticks = range(max(1, round(seconds)))
        for _ in track(ticks, f"{THREADS} threads", console=Console(stderr=True)):
            time.sleep(min(1.0, max(0.0, end - time.monotonic())))
        for worker in workers:
            worker.join(60)
        done.errors += ["a thread hangs" for worker in workers if worker.is_alive()]
    return done


def steady(engine: LlamaEngine, n: int) -> list[tuple[str, Call]]:
    """Return a call of every kind on text `n`, each with the same result at any time."""
    asked = Request(messages=[user_message(Task.of(f"Set the light in the hall to {n}."))], tools=TOOLS, max_tokens=40)
    here = engine.session(f"Number {n} is a text of its own, and it goes on:")
    answers = [Step(kind="final", text=text) for text in ("yes", "no", f"it is {n}")]

    def answer() -> Step:
        *_, reply = engine.stream(asked)
        assert isinstance(reply, Reply)
        return reply.step

    def fork() -> list[str]:
        one, two = here.fork(2)
        one.append(" and so")
        two.rollback(3)
        return [each.generate(Text(regex="[a-z]{8}", max_tokens=9)).step.text for each in (one, two)]

    async def async_() -> Any:
        *_, reply = [delta async for delta in engine.astream(asked)]
        assert isinstance(reply, Reply)
        return reply.step

    drawn = Sampling(temperature=1.0, seed=n)
    return [
        ("answer", answer),
        ("async", lambda: asyncio.run(async_())),
        ("fork", fork),
        ("schema", lambda: here.generate(Text(schema=SCHEMA, max_tokens=24)).step.text),
        ("lark", lambda: here.generate(Text(lark='start: ("yes" | "no" | "may" "be"?)+', max_tokens=12)).step.text),
        ("drawn", lambda: here.generate(Text(regex="[ab]{12}", max_tokens=13, sampling=drawn)).step.text),
        ("branch", lambda: sorted(reply.step.kind for reply in engine.branch(asked, 3))),
        ("texts", lambda: sorted(reply.step.text for reply in here.branch(3, Text(regex="[abc]", max_tokens=2)))),
        ("score", lambda: [score.logprob for score in engine.score(asked, answers)]),
        ("choose", lambda: list(here.choose(["left", "right", "up"]).probabilities)),
        ("embed", lambda: engine.embed([f"text number {n}"])[0]),
    ]  # fmt: skip


def ended(engine: LlamaEngine, n: int) -> list[tuple[str, Call]]:
    """Return calls that are stopped: by a flag at any place, by the time, by leaving."""
    here = engine.session(f"{n} is where something begins that is never finished, whatever happens")
    long = "[a-z ]{300}"

    def stopped(**given: Any) -> None:
        with suppress(Cancelled, DeadlineExceeded):
            here.generate(Text(regex=long, max_tokens=301, **given))

    def left() -> None:
        for _ in here.stream(Text(regex=long, max_tokens=301)):
            return

    return [
        ("cancelled", lambda: stopped(cancel=After(n % 40))),
        ("out of time", lambda: stopped(deadline=time.monotonic() + (n % 10) / 1000)),
        ("left", left),
    ]


def alike(found: Any, expected: Any) -> bool:
    """Whether they are the same, numbers to within `NEAR`."""
    if isinstance(expected, list) and expected and isinstance(expected[0], float):
        return all(abs(one - other) <= NEAR for one, other in zip(found, expected, strict=True))
    return bool(found == expected)


def resident() -> int:
    """Return how many bytes of this process are in memory."""
    pages = Path("/proc/self/statm")
    if pages.exists():
        return int(pages.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    said = subprocess.run(["ps", "-o", "rss=", "-p", str(os.getpid())], capture_output=True, text=True, check=True)
    return int(said.stdout) * 1024


def float_weights(folder: Path) -> Path:
    """Write the shipped model with the weights that it was quantised from: no rounding hides a difference."""
    from agentkit_training.gguf_writer import write_gguf  # noqa: PLC0415  needs torch, and the rest does not
    from agentkit_training.tokenizer import TextTokenizer  # noqa: PLC0415
    from benchmarks import parity  # noqa: PLC0415

    tokenizer = TextTokenizer.load(parity.TOKENIZER)
    return write_gguf(parity.read(parity.WEIGHTS), tokenizer, folder / "float.gguf", dtype="f32")


def _endless(engine: LlamaEngine) -> Iterator[tuple[str, Call]]:
    for n in itertools.count():
        yield from steady(engine, n)
        yield from ended(engine, n)


if __name__ == "__main__":
    raise SystemExit(main())
