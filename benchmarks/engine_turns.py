"""A ten-turn agent trace, scripted: what is read again each turn, and how long until the first token."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from langchain_core.messages import BaseMessage

from agentkit.messages import result_message, step_message, system_message, user_message
from agentkit.protocols import Reply, Request
from agentkit.types import Done, Step, Task, ToolCall, ToolRules, ToolSpec
from benchmarks.engine_bench import FEW, ONE, Bench, interleaved, ratio
from benchmarks.figures import Measured

SYSTEM = "You keep the books of a small shop. Use the tools; answer briefly, and only from what they gave."
TASK = "Go through last week's orders, say which items are to be ordered again, and what that will cost."
CALLS: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("list_files", {"path": "orders"}, "orders/mon.csv\norders/tue.csv\norders/wed.csv\norders/notes.txt"),
    ("read_file", {"path": "orders/mon.csv"}, "item,sold\npears,14\napples,3\nplums,22\nquinces,1"),
    ("read_file", {"path": "orders/tue.csv"}, "item,sold\npears,9\napples,30\nplums,2\nfigs,5"),
    ("read_file", {"path": "orders/wed.csv"}, "item,sold\npears,11\nplums,8\nfigs,1\nquinces,4"),
    ("calculate", {"expression": "14 + 9 + 11"}, "34"),
    ("stock_level", {"item": "pears"}, "There are 6 crates of pears left; the last delivery was on the 3rd."),
    ("stock_level", {"item": "plums"}, "There are 41 crates of plums left; the last delivery was on the 9th."),
    ("search_notes", {"query": "price of pears", "limit": 2}, "12.40 a crate from Miller; 11.90 from 20 crates on"),
    ("calculate", {"expression": "20 * 11.90"}, "238"),
    ("write_file", {"path": "orders/next.csv", "content": "item,crates\npears,20"}, "wrote 21 bytes"),
)  # fmt: skip


def _tool(name: str, description: str, **properties: str) -> ToolSpec:
    parameters = {
        "type": "object",
        "properties": {key: {"type": kind} for key, kind in properties.items()},
        "required": list(properties),
    }
    return ToolSpec(name=name, description=description, parameters=parameters, rules=ToolRules())


TOOLS = (
    _tool("list_files", "List the files of a folder.", path="string"),
    _tool("read_file", "Read a text file.", path="string"),
    _tool("write_file", "Write a text file, in place of what is there.", path="string", content="string"),
    _tool("calculate", "Work out an arithmetic expression.", expression="string"),
    _tool("stock_level", "Tell how much of an item is in stock.", item="string"),
    _tool("search_notes", "Find notes by their words, best first.", query="string", limit="integer"),
)


def turns(bench: Bench, repeats: int) -> list[Measured]:
    """The trace as tokens, in the engine and in the class; and what the engine adds as requests under their grammar."""
    requests = trace(bench)
    prompts = [bench.loaded.dialect.prompt(request) for request in requests]
    waits: dict[str, list[list[float]]] = {"requests": [], "tokens": [], "class": []}
    read: list[int] = []

    def handed() -> None:
        before = bench.fresh()
        waits["tokens"].append([_timed(partial(bench.engine.session(prompt).generate, ONE)) for prompt in prompts])
        read.append(bench.engine.stats.tokens - before)

    def asked() -> None:  # all of it was read just now
        waits["requests"].append([_timed(partial(_first_token, bench, request)) for request in requests])

    def theirs() -> None:
        bench.peer.reset()
        waits["class"].append([_timed(partial(bench.peer_reads, prompt)) for prompt in prompts])

    _first_token(bench, requests[0])  # compiles the grammar's tokenizer
    interleaved(bench, {"tokens": handed, "requests": asked, "class": theirs}, min(repeats, FEW))
    later = {name: [statistics.median(times[1:]) for times in found] for name, found in waits.items()}
    written = later["requests"]
    return [
        Measured(id="turns", what=f"a trace of {len(requests)} turns with tools: prompt tokens read against new tokens",
                 value=round(max(read) / len(prompts[-1]), 4), unit="ratio", n=len(requests), target=1.0),
        ratio("turns-first-token", "the same as tokens, from turn 2 on: time to first token against the class `Llama`",
              later["tokens"], later["class"]),
        Measured(id="turns-request", what="the same as requests, all of it read before: until the first token",
                 value=round(1000 * statistics.median(written), 3), unit="ms", n=len(written)),
        Measured(id="turns-wait", what="a turn's request to its first token, both together, median",
                 value=round(statistics.median(map(sum, zip(written, later["tokens"], strict=True))), 4), unit="s",
                 n=len(written)),
    ]  # fmt: skip


def trace(bench: Bench) -> list[Request]:
    """Return what is asked each turn: the request so far, with the steps as the tokens that the model wrote them in."""
    messages: list[BaseMessage] = [system_message(SYSTEM), user_message(Task.of(TASK))]
    specs = {spec.name: spec for spec in TOOLS}
    found = []
    for number, (tool, arguments, result) in enumerate(CALLS, 1):
        request = Request(messages=tuple(messages), tools=TOOLS, max_tokens=1)
        found.append(request)
        call = ToolCall(id=f"call_{number}", tool=tool, arguments=arguments)
        step = Step(kind="calls", calls=(call,))
        step = replace(step, token_ids=tuple(bench.loaded.dialect.step(step, request)))
        messages += [step_message(step), result_message(call, Done(text=result), number=number, spec=specs[tool])]
    return found


def _first_token(bench: Bench, request: Request) -> None:
    """Have the engine write the first token of a step, under its grammar."""
    *_, reply = bench.engine.stream(request)
    assert isinstance(reply, Reply)
    assert reply.usage.decoded == 1, "the first token was forced, so nothing was read"


def _timed(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began
