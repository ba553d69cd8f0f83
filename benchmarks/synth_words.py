"""Whether the embedded model has data made when it is asked to: forty ways to say it, through the real program.

python -m benchmarks.synth_words [--write] [--wish examples|images] [--only ID] [--fresh] [--errors FILE]

Each request of tests/data/handwritten/synth_images.jsonl is an `agentkit run --allow-tool make_images` of its own; it counts where a
job made 200 images of red circles and the answer has its figures. Those of synth_tools.jsonl want 500 training examples for
the calculator. Equal calls are one job, as the tools promise, so that what all ask for is made once; `--fresh` makes it for each, by the model
that the first one trained. Beside it: the everyday calculations, with the tools installed and without.

The tools' words were chosen on synth_development.jsonl, and never on the forty.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agentkit import jobs
from agentkit_synthesis.wishes import ImageWish, image_wish
from benchmarks import figures, sprout_tasks
from benchmarks.asking import Asked, ask, everyday, shares, show

COMMAND = "python -m benchmarks.synth_words --write"
PLUGINS = ("basics", "synthesis")
TARGET = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What all requests of one file are for."""

    file: str
    id: str
    what: str
    tool: str
    asks: Callable[[Mapping[str, Any]], bool]  # arguments -> whether they ask for it
    job: str
    params: Mapping[str, Any]  # that the job must have had
    said: Callable[[Mapping[str, Any]], Sequence[str]]  # metrics -> what the answer must show of them


RED_CIRCLES = ImageWish(source="products", where={"colour": "red", "shape": "circle"})
IMAGES = Wish(
    file="synth_images.jsonl", id="synth-images", what="ways to ask for 200 images of red circles", tool="make_images",
    asks=lambda given: given.get("count") == 200 and image_wish(given["what"]) == RED_CIRCLES, job="images",
    params={"source": "products", "count": 200, "where": ["colour=red", "shape=circle"]}, said=lambda found: (f"{found['images']:,}", f"{found['agreement_before']:.1%}"),
)  # fmt: skip
EXAMPLES = Wish(
    file="synth_tools.jsonl", id="synth-examples", what="ways to ask for 500 training examples for the calculator",
    tool="make_examples", asks=lambda given: given.get("count") == 500 and given["tool"] == "calculator", job="tools", params={"source": "calculator", "count": 500}, said=lambda found: (f"{found['count']:,}", f"{found['tried']:,}"),
)  # fmt: skip
WISHES = {"examples": EXAMPLES, "images": IMAGES}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.synth_words", description="Synthesis in words.")
    parser.add_argument("--write", action="store_true", help="put the rows into benchmarks/results/synth_words.json")
    parser.add_argument("--wish", choices=sorted(WISHES), help="only these requests")
    parser.add_argument("--only", action="append", metavar="ID", help="only this request; can be repeated")
    parser.add_argument("--fresh", action="store_true", help="make it for each request anew")
    parser.add_argument("--errors", type=Path, metavar="FILE", help="write all that was asked here, as JSON Lines")
    wanted = parser.parse_args(argv)
    began, everything, measured = time.monotonic(), [], []
    for wish in [WISHES[wanted.wish]] if wanted.wish else WISHES.values():
        asked = []
        for one in ask_all(wish, wanted.only, fresh=wanted.fresh):
            asked.append(one)
            show(one)
        print(f"{wish.file}: {sum(one.right for one in asked)} of {len(asked)}")
        everything += asked
        if asked:
            what = f"{len(asked)} {wish.what}"
            measured += shares(asked, id=wish.id, what=what, ran="the job ran", target=TARGET)
    if wanted.errors:
        figures.write_whole(wanted.errors, "\n".join(json.dumps(asdict(one)) for one in everything) + "\n")
    if wanted.write and not wanted.only:
        measured += [] if wanted.wish else everyday("synth", PLUGINS)
        figures.write("synth_words", figures.rows(measured, command=COMMAND, seconds=time.monotonic() - began))
        for row in measured:
            print(row.id, row.value, row.n)
    return 0


def ask_all(wish: Wish, only: Sequence[str] | None = None, *, fresh: bool = False) -> Iterator[Asked]:
    """Ask all requests of one file, one after the other, in one workspace that is as before each time but for what was made."""
    with tempfile.TemporaryDirectory() as place:
        home, work = Path(place, "home"), Path(place, "work")
        home.mkdir()
        work.mkdir()
        for row in sprout_tasks.lines(wish.file):
            if only and row["id"] not in only:
                continue
            if fresh:
                shutil.rmtree(home / "jobs", ignore_errors=True)
                shutil.rmtree(work)
                work.mkdir()
            (work / "notes.txt").write_text("The set is for the second round.\n", encoding="utf-8")
            yield ask(row, home, work, tools=(wish.tool,), plugins=PLUGINS, judge=_judge(wish, home))


def _judge(wish: Wish, home: Path) -> Any:
    def judge(data: Mapping[str, Any]) -> tuple[bool, bool, bool]:
        states = [state for state in jobs.list_jobs(home / "jobs") if _is_it(state, wish)]
        done = next((state.result for state in states if state.status == "ok"), None)
        called = any(
            step["tool"] == wish.tool and step["ok"] and wish.asks(step["arguments"]) for step in data["steps"]
        )
        told = done is not None and all(text in data["answer"] for text in wish.said(done.metrics))
        return called, done is not None, told

    return judge


def _is_it(state: jobs.JobState, wish: Wish) -> bool:
    """Whether a job is the one that is asked for."""
    found = {
        name: sorted(value) if isinstance(value, list) else value
        for name, value in state.params.items()
        if name in wish.params
    }
    return state.job == wish.job and found == wish.params


if __name__ == "__main__":
    raise SystemExit(main())
