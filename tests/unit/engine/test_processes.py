"""Several engines in one process, and what a forked child may do with the engines of its parent: nothing, without hanging."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agentkit.engine.llama import LlamaEngine
from agentkit.engine.llama.sessions import Text
from agentkit.errors import EngineError

PROMPT = "the beginning of a text"


def letters(n: int) -> Text:
    return Text(regex=f"[abcd]{{{n}}}", max_tokens=n + 1)


def text_of(engine: LlamaEngine, n: int = 60) -> str:
    return engine.session(PROMPT).generate(letters(n)).step.text


def side_by_side(*calls: Callable[[], Any]) -> list[Any]:
    found: list[Any] = [None] * len(calls)

    def run(place: int, call: Callable[[], Any]) -> None:
        found[place] = call()

    threads = [threading.Thread(target=run, args=item, daemon=True) for item in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    return found


def test_two_models_side_by_side(tiny: Path, write_tiny: Any, tmp_path: Path) -> None:
    other = write_tiny(tmp_path / "other.gguf", extra={"agentkit.dialect": "plain/1"}, seed=5)
    with LlamaEngine(tiny, context=512, threads=1) as one, LlamaEngine(other, context=512, threads=1) as two:
        assert one._shared is not two._shared
        alone = [text_of(one), text_of(two)]
        assert alone[0] != alone[1]
        assert side_by_side(*[lambda: text_of(one), lambda: text_of(two)] * 3) == alone * 3


def test_one_model_with_two_contexts(tiny: Path) -> None:
    with LlamaEngine(tiny, context=256, threads=1) as small, LlamaEngine(tiny, context=1024, threads=2) as large:
        assert small._shared is not large._shared
        assert (small.capabilities.context, large.capabilities.context) == (256, 1024)
        alone = text_of(small)
        assert side_by_side(*[lambda: text_of(small), lambda: text_of(large)] * 3) == [alone] * 6
        assert len(text_of(large, 600)) == 600
        reply = small.session(PROMPT).generate(letters(600))
        assert reply.finish == "length"  # its own limit, not the other's


@pytest.mark.parametrize("same", [True, False])
def test_closing_one_while_another_decodes(tiny: Path, same: bool) -> None:
    other = LlamaEngine(tiny, context=1024 if same else 512, threads=1, live=4)
    with LlamaEngine(tiny, context=1024, threads=1, live=4) as engine:
        assert (engine._shared is other._shared) is same
        alone = text_of(engine, 300)
        stream = engine.session(PROMPT + " anew").stream(letters(600))
        next(stream)
        idle = other.session(PROMPT)
        other.close()
        *_, reply = stream
        assert len(reply.step.text) == 600
        assert text_of(engine, 300) == alone
        with pytest.raises(EngineError, match="closed"):
            other.embed(["x"])
        if not same:
            with pytest.raises(EngineError, match="closed"):
                idle.generate(letters(3))


def test_opening_and_closing_many_times(tiny: Path) -> None:
    texts = set()
    for _ in range(8):
        with LlamaEngine(tiny, context=256, threads=1, cache_mb=0) as engine:
            texts.add(text_of(engine, 20))
    assert len(texts) == 1


FORKING = """
import asyncio, gc, json, os, signal, sys, time, warnings
warnings.simplefilter("ignore")
from agentkit.engine.llama import LlamaEngine
from agentkit.engine.llama.sessions import Text
from agentkit.errors import EngineError
from agentkit.messages import user_message
from agentkit.protocols import Request
from agentkit.types import Step, Task

path, threads = sys.argv[1], int(sys.argv[2])
engine = LlamaEngine(path, context=1024, threads=threads, live=3)
other = LlamaEngine(path, context=512, threads=threads)
request = Request(messages=[user_message(Task.of("hello"))], max_tokens=5)
how = Text(regex="[abcd]{200}", max_tokens=201)
here = engine.session("a text that is held")
here.hold()
engine.embed(["made"])
expected = here.generate(how).step.text
running = here.stream(Text(regex="[abcd]{700}", max_tokens=701))
next(running)  # the engine's thread decodes while this process forks

def all_of(deltas):
    return list(deltas)

async def later(engine):
    return [delta async for delta in engine.astream(request)]

async def later_text():
    return [delta async for delta in here.astream(how)]

CALLS = {
    "stream": lambda: all_of(engine.stream(request)),
    "astream": lambda: asyncio.run(later(engine)),
    "branch": lambda: engine.branch(request, 2),
    "score": lambda: engine.score(request, [Step(kind="final", text="x")]),
    "count": lambda: engine.count(request),
    "embed": lambda: engine.embed(["x"]),
    "session": lambda: engine.session("x"),
    "load_adapter": lambda: engine.load_adapter("a", path),
    "append": lambda: here.append("x"),
    "hold": lambda: here.hold(),
    "generate": lambda: here.generate(how),
    "text stream": lambda: all_of(here.stream(how)),
    "text astream": lambda: asyncio.run(later_text()),
    "texts": lambda: here.branch(2, how),
    "candidates": lambda: here.score(["x", "y"]),
    "choose": lambda: here.choose(["x", "y"]),
    "on": lambda: next(running),
}
QUIET = {  # they tell, or let go, and need no model
    "capabilities": lambda: engine.capabilities,
    "stats": lambda: engine.stats,
    "unload_adapter": lambda: engine.unload_adapter("a"),
    "text": lambda: here.text,
    "fork": lambda: here.fork(2),
    "let go": lambda: here.close(),
    "close": lambda: engine.close(),
    "close again": lambda: engine.close(),
}

def child(out):
    global engine, other, here, running
    signal.alarm(30)  # a hang ends it
    found = {}
    for name, call in {**CALLS, **QUIET}.items():
        try:
            call()
            found[name] = ""
        except EngineError as error:
            found[name] = str(error)
        except BaseException as error:
            found[name] = f"!! {type(error).__name__}: {error}"
    del running, here
    engine = other = None
    gc.collect()
    with LlamaEngine(path, context=1024, threads=threads, live=3) as own:
        found["own"] = own.session("a text that is held").generate(how).step.text
    os.write(out, json.dumps(found).encode())
    os.close(out)

reading, writing = os.pipe()
pid = os.fork()
if pid == 0:
    child(writing)
    sys.exit(7)  # as a program does: with what is registered to be done at the end
os.close(writing)
*_, reply = running
found = json.loads(os.fdopen(reading).read() or "{}")
found["child"] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
found["whole"] = len(reply.step.text)
found["same"] = here.generate(how).step.text == expected
found["expected"] = expected
other.close()
engine.close()
print(json.dumps(found))
"""
REFUSED = (
    "stream", "astream", "branch", "score", "count", "embed", "session", "load_adapter", "append", "hold", "generate",
    "text stream", "text astream", "texts", "candidates", "choose", "on",
)  # fmt: skip


@pytest.mark.parametrize("threads", [1, 2])
def test_a_forked_child_is_refused_and_harms_nobody(tiny: Path, threads: int) -> None:
    command = [sys.executable, "-c", FORKING, str(tiny), str(threads)]
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert found["child"] == 7, "the child hung or was ended"
    assert {name: found[name] for name in REFUSED if "forked" not in found[name]} == {}
    assert {name: said for name, said in found.items() if isinstance(said, str) and said.startswith("!!")} == {}
    assert (found["whole"], found["same"]) == (700, True)  # the parent went on
    assert found["own"] == found["expected"]  # a child may open its own
    assert time.monotonic() - began < 60
