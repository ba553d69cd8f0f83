"""How quickly one tool call is written under its schema, against llama-cpp-python's grammars and guidance, in one run.

python -m benchmarks.engine_calls [--realistic] [--repeats 5] [--every N] [--only WAY ...] [--turn] [--write]

Each of the tools in `data/tool_schemas.json` comes with a call that a good model would write. Decoding is teacher-forced
to it: every engine runs its own grammar and its own choice over logits in which the call's next token was raised. All
write after the same prompt, which they have read before; with `--turn` also after a message that they have not, and
reading it is part of the time. What is compared is the sum of the times over those schemas that both could hold, by
repetition, the engines in turn; a figure is the ratio of the medians. `--every N` times only every N-th tool; all are
written once. Peers run in processes of their own, as some schemas end theirs. `--realistic` makes a random model of the
shape of Llama 3.2 1B, with sprout's words filled up to 128,256; `--vocabulary` takes another GGUF's words, such as
`ggml-vocab-llama-bpe.gguf` in llama.cpp's source. guidance asks for another llguidance than agentkit:
`--guidance-python` names the interpreter of an environment that has it and llama-cpp-python. Not while anything else runs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jsonschema
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from agentkit.engine.llama.library import physical_cores
from agentkit.models import resolve
from benchmarks import engine_vocabulary, figures, render
from benchmarks.engine_bench import ratio
from benchmarks.engine_calls_own import Ours
from benchmarks.engine_peers import Answer, Peer, Question, has
from benchmarks.figures import Measured

TOOLS = Path(__file__).parent / "data" / "tool_schemas.json"
NAMES_BESIDE = 8  # tools that the call's name is chosen among
CONTEXT = 2048
WAYS = {"gbnf": "llama-cpp-python's grammars", "guidance": "guidance", "unforced": "itself without fast-forward",
        "own-gbnf": "itself with llama.cpp's grammars in place of llguidance"}  # fmt: skip
Way = Callable[[Question], Answer]
TARGETS = {"gbnf": 1 / 1.7, "guidance": 1 / 1.2}
PROMPT = (
    "You are an assistant with tools. Decide which tool helps with the last message, and write one call of it as JSON, "
    "with the name of the tool and its parameters, and nothing else. Give only parameters that the message asks for. "
    "Dates are written as YYYY-MM-DD, times as HH:MM, and amounts of money in the smallest unit of their currency.\n\n"
    "user: Good morning! Could you look at the numbers from last week first?\n"
    "assistant: Of course. The visits went up by a third, mostly from the search page.\n"
    "user: Fine. Then please do now what we talked about yesterday, with the same details as in my note, and tell me "
    "when it is done. If anything is missing in it, take what is usual, and do not ask back.\n"
    "assistant:\n"
)
ASKED = "Which call do you mean?\nuser:"  # all messages begin with it: an engine that keeps the last one has it already


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool with a good call."""

    name: str
    schema: dict[str, Any]  # of the whole call
    call: str
    prompt: str = PROMPT
    message: str = ""  # to be read after the prompt, before the call

    @property
    def question(self) -> Question:
        """What each engine is asked."""
        return Question(self.prompt, self.message, self.schema, self.call)

    def fits(self, text: str) -> bool:
        """Whether a text is a call that the schema allows."""
        checker = jsonschema.Draft202012Validator(self.schema, format_checker=jsonschema.FormatChecker())
        try:
            return bool(checker.is_valid(json.loads(text)))
        except ValueError:
            return False


def tools(count: int | None = None, *, turn: bool = False) -> list[Tool]:
    """Return the recorded tools; of `count`, some from all over the list; with `turn`, each after a message of its own."""
    read = json.loads(TOOLS.read_text(encoding="utf-8"))
    names = [one["name"] for one in read]
    made = []
    for place, one in enumerate(read):
        beside = [names[(place + n) % len(names)] for n in range(NAMES_BESIDE)]
        call = {"name": one["name"], "parameters": one["arguments"]}
        schema, text = _schema(beside, one["parameters"]), json.dumps(call, ensure_ascii=False)
        made.append(
            Tool(one["name"], schema, text, PROMPT + ASKED, _message(one["name"], one["arguments"]))
            if turn
            else Tool(one["name"], schema, text)
        )
    step = max(1, len(made) // count) if count else 1
    return made[::step][:count]


def _message(name: str, arguments: Mapping[str, Any]) -> str:
    """Return a message that asks for a call in plain words, as people do who give all details."""
    details = "; ".join(f"{key.replace('_', ' ')} {_plain(value)}" for key, value in arguments.items())
    return f" {name.replace('_', ' ').capitalize()}, please: {details}.\nassistant:\n"


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(inner)}" for key, inner in value.items())
    return " and ".join(map(_plain, value)) if isinstance(value, list) else str(value)


def _schema(names: Sequence[str], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of a whole call: a name among `names`, and the parameters of the one."""
    inner = {key: value for key, value in parameters.items() if key != "$defs"}
    whole = {
        "type": "object",
        "properties": {"name": {"enum": list(names)}, "parameters": {"additionalProperties": False, **inner}},
        "required": ["name", "parameters"],
        "additionalProperties": False,
    }
    return {**whole, "$defs": parameters["$defs"]} if "$defs" in parameters else whole


@dataclass(slots=True)
class Ledger:
    """What one way of writing calls did."""

    clock: str = "seconds"  # or "processor_s"
    first: dict[str, Answer] = field(default_factory=dict)  # by tool; not timed: it warms up
    valid: set[str] = field(default_factory=set)
    same: set[str] = field(default_factory=set)  # written as recorded: only these are timed
    seconds: list[dict[str, float]] = field(default_factory=list)  # a repetition, by tool

    @property
    def crashes(self) -> int:
        """How many schemas ended the process."""
        return sum(bool(answer.crashed) for answer in self.first.values())


def measure(
    ways: Mapping[str, Way], asked: Sequence[Tool], repeats: int, *, every: int = 1, clock: str = "seconds"
) -> dict[str, Ledger]:
    """Have every way write every call once, then of every few those that it could `repeats` times, the ways in turn."""
    ledgers = {name: Ledger(clock=clock, seconds=[{} for _ in range(repeats)]) for name in ways}
    columns = TextColumn("{task.description:32}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("", total=(len(asked) + len(asked[::every]) * repeats) * len(ways))
        for tool in asked:
            for name, answer in ways.items():
                progress.update(bar, description=f"{tool.name}: {name}")
                ledger = ledgers[name]
                ledger.first[tool.name] = found = answer(tool.question)
                if tool.fits(found.text):
                    ledger.valid.add(tool.name)
                if found.text.strip() == tool.call:
                    ledger.same.add(tool.name)
                progress.advance(bar)
        for repeat in range(repeats):
            for tool in asked[::every]:
                for name, answer in ways.items():
                    progress.update(bar, description=f"{tool.name}: {name}")
                    if tool.name in ledgers[name].same:
                        ledgers[name].seconds[repeat][tool.name] = getattr(answer(tool.question), ledgers[name].clock)
                    progress.advance(bar)
    return ledgers


def rows(ledgers: Mapping[str, Ledger], asked: Sequence[Tool], forced: tuple[int, int]) -> list[Measured]:
    """Return the figures; `forced` are the tokens that were, and all. After messages they have ids of their own."""
    if any(tool.message for tool in asked):
        return [replace(one, id=one.id.replace("calls", "calls-turn", 1), what=f"{one.what}; a new message read first")
                for one in rows(ledgers, [replace(tool, message="") for tool in asked], forced)]  # fmt: skip
    ours, n = ledgers["agentkit"], len(asked)
    decodes = [answer.decodes for answer in ours.first.values()]
    times = [sum(one.values()) / max(1, len(one)) for one in ours.seconds]
    measured = [
        figures.share("calls-valid", f"calls of {n} tools: written, and valid under the schema", len(ours.valid), n, 1.0),
        Measured(id="calls-forced", what="tokens of these calls that were forced, and not decoded one by one",
                 value=round(forced[0] / max(1, forced[1]), 4), unit=figures.SHARE, n=forced[1]),
        _spread("calls-decodes", "batches decoded a call, median", decodes, "decodes"),
        _spread("calls-seconds", "time of a call, mean over the tools, median", times, "s"),
        _spread("calls-compile", "compiling a schema for the first time, median",
                [1000 * one.compile_s for one in ours.first.values()], "ms"),
    ]  # fmt: skip
    for name, ledger in ledgers.items():
        if name == "agentkit":
            continue
        what = WAYS[name]
        both = [name_ for name_ in (ledger.seconds or [{}])[0] if name_ in ours.same]
        measured.append(_ratio(f"calls-{name}", f"time of a call against {what}", ours, ledger, both))
        if name in TARGETS:
            valid = figures.share(f"calls-{name}-valid", f"the same calls by {what}: valid", len(ledger.valid), n)
            crashes = f"of these {n} schemas, those that end the process of {what}"
            measured.append(valid)
            measured.append(
                Measured(id=f"calls-{name}-crashes", what=crashes, value=ledger.crashes, unit="schemas", n=n)
            )
    return measured


def _ratio(id: str, what: str, ours: Ledger, other: Ledger, both: Sequence[str]) -> Measured:
    """Return the ratio of the medians of the sums."""
    sums = [[sum(one[name] for name in both) for one in ledger.seconds] for ledger in (ours, other)]
    if not both or not sums[0]:
        return Measured(id=id, what=f"{what} (none was timed)", value=0.0, unit="ratio", n=0)
    return ratio(id, f"{what}, over {len(both)} schemas", *sums, target=TARGETS.get(id.removeprefix("calls-")))


def _spread(id: str, what: str, values: Sequence[float], unit: str) -> Measured:
    """Return a median."""
    return Measured(id=id, what=what, value=round(statistics.median(values or [0.0]), 4), unit=unit, n=len(values))


def run(model: Path, threads: int, only: Sequence[str], asked: Sequence[Tool], repeats: int,
        guidance_python: str = sys.executable, *, every: int = 1, clock: str = "seconds",
        ) -> tuple[list[Measured], dict[str, Ledger]]:  # fmt: skip
    """Measure on one model."""
    gbnf = Peer("llama-cpp-python", str(model), threads=threads, context=CONTEXT)
    guidance = Peer("guidance", str(model), threads=threads, context=CONTEXT, python=guidance_python)
    with Ours(model, threads=threads, context=CONTEXT, prompt=asked[0].prompt) as ours:
        by_gbnf, own_gbnf = _after(gbnf.ask, ours.answer_by_gbnf)
        ways = {"gbnf": by_gbnf, "guidance": guidance.ask, "unforced": ours.answer_unforced, "own-gbnf": own_gbnf}
        try:
            asked_for = {name: way for name, way in ways.items() if name in only}
            ledgers = measure({"agentkit": ours.answer, **asked_for}, asked, repeats, every=every, clock=clock)
        finally:
            gbnf.close()
            guidance.close()
        return rows(ledgers, asked, (ours.forced, ours.tokens)), ledgers


def _after(first: Way, then: Way) -> tuple[Way, Way]:
    """Return both, the second one only for questions that the first has survived: they end this process, too."""
    survived: dict[str, bool] = {}

    def ask(question: Question) -> Answer:
        answer = first(question)
        survived[question.target] = not (answer.crashed or answer.refused)
        return answer

    def ask_then(question: Question) -> Answer:
        if question.target not in survived:
            ask(question)
        return then(question) if survived[question.target] else Answer(refused="llama.cpp cannot hold the schema")

    return ask, ask_then


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and write what was asked for."""
    wanted = _parser().parse_args(argv)
    began = time.monotonic()
    if "guidance" in wanted.only and not has(wanted.guidance_python, "guidance", "llama_cpp"):
        print("guidance is not installed there; it is left out (--guidance-python)", file=sys.stderr)
        wanted.only = [name for name in wanted.only if name != "guidance"]
    with tempfile.TemporaryDirectory() as folder:
        path = wanted.model or Path(str(resolve("sprout").path))
        if wanted.realistic and not wanted.model:
            path = engine_vocabulary.write(Path(folder) / "random-1b.gguf", wanted.vocabulary or path)
        threads = wanted.threads or (physical_cores() if wanted.realistic and not wanted.processor else 1)
        asked = tools(wanted.schemas, turn=wanted.turn)
        clock = "processor_s" if wanted.processor else "seconds"
        measured, ledgers = run(
            path, threads, wanted.only, asked, wanted.repeats, wanted.guidance_python, every=wanted.every, clock=clock
        )
    turn = " --turn" if wanted.turn else ""
    words = f" --vocabulary {wanted.vocabulary.name}" if wanted.vocabulary else ""
    every = f" --every {wanted.every}" if wanted.every > 1 else ""
    realistic = " --realistic" if wanted.realistic else ""
    command = f"python -m benchmarks.engine_calls{realistic}{turn}{words}{every} --write"
    made = figures.rows(measured, command=command, seconds=time.monotonic() - began)
    area = "engine-1b" if wanted.realistic else "engine"
    Console(width=None if sys.stdout.isatty() else 150).print(render.table([(area, made)]))
    for line in _failures(ledgers):
        print(line)
    if wanted.write and not (wanted.processor or wanted.schemas):
        figures.write(area, made)
    return 0


def _failures(ledgers: Mapping[str, Ledger]) -> list[str]:
    """Return a line for each call that was not written as recorded."""
    return [
        f"{name}: {tool}: {answer.crashed or answer.refused or answer.text[:200]}"
        for name, ledger in ledgers.items()
        for tool, answer in ledger.first.items()
        if tool not in ledger.same
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine_calls", description="One tool call, timed.")
    parser.add_argument("--model", type=Path, help="a GGUF (default: sprout)")
    parser.add_argument("--realistic", action="store_true", help="a random model of 1.1 billion weights instead")
    parser.add_argument("--vocabulary", type=Path, help="a GGUF with the words of that one (default: sprout)")
    parser.add_argument("--threads", type=int, help="default: 1 for sprout, the physical cores for a bigger one")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--every", type=int, default=1, help="time only every so many of the tools")
    parser.add_argument("--schemas", type=int, help="only so many of the tools; not written")
    parser.add_argument("--only", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--guidance-python", default=sys.executable, help="an interpreter that has guidance")
    parser.add_argument("--turn", action="store_true", help="each call after a new message, which is read, too")
    parser.add_argument(
        "--processor", action="store_true", help="processor time in place of time, for a busy machine; not written"
    )
    parser.add_argument("--write", action="store_true", help="put the rows into benchmarks/results/")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
