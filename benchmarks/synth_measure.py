"""What synthetic data is worth to students: digits from the diffusion model, and explanation traces.

python -m benchmarks.synth_measure [--only digits|traces] [--family NAME ...] [--workers 2] [--steps N] [--slice] [--write]

Digits: a generator that saw all real labels, measured at 1, 10, 50 and 100 % of them; and, honestly, three generators that saw a tenth
of the labels, and the other images without theirs, measured with that same tenth. (From a tenth of the images alone, 144, the model
learns those images: nearly all that it makes is rejected as a copy.) Beside each stands plain augmentation of the real images. Traces:
students taught with explanations beside students of answers alone, three seeds, each student on one family. The traces are those of the two
system messages that ask for bare steps, at the first level, because the students are so small. The family is code reading, where every
step is a line that is run: of all seven together such a student learns little in any way (`--family all`, an hour and more).
Every student is tested on real digits, or problems, that no generator and no student saw.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from agentkit import jobs
from agentkit_synthesis.dataset.rows import Rejected
from agentkit_synthesis.images.jobs import IMAGES
from agentkit_synthesis.measure.equal import labels_saved
from agentkit_synthesis.measure.intervals import difference, mean
from agentkit_synthesis.measure.measuring import JSON, MEASURE, PICTURE
from agentkit_synthesis.traces.source import FAMILIES, make, style_at
from benchmarks import render
from benchmarks.figures import ROOT, SHARE, Measured

COMMAND = "python -m benchmarks.synth_measure --write"
TSTR, POINTS, GAIN = 0.90, 2.0, 0.01
IMAGES_MADE, TENTH, GENERATORS = 2_000, 0.1, (1, 2, 3)
SHARES, CURVE = [0.01, 0.1, 0.5, 1.0], [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0]
TRAIN, TEST, LEVEL, TEST_SHARE, STYLE = 8_000, 300, 1, 0.06, "terse"
FAMILY, ALL, STEPS = "code_reading", "all", 1_500
PICTURES = {"digits": ROOT / "docs" / "synth-measure.png", "traces": ROOT / "docs" / "synth-explained.png"}
NAMES = {"real": "real", "real, augmented": "augmented", "real + synthetic": "mixed", "real + synthetic, augmented": "mixed-augmented"}  # fmt: skip

Found = Mapping[str, Any]


def done(job: jobs.Job, params: Mapping[str, Any], folder: Path) -> Found:
    """Run a job in a process of its own; return its figures, and say on stderr how far it is."""
    handle = jobs.start(job, params, run_dir=folder)
    while handle.state().status == "running":
        state = handle.state()
        print(f"\r{folder.name}: {state.step} of {state.total or '?'}, {state.eta_s or 0:.0f} s left   ", end="", file=sys.stderr)  # fmt: skip
        time.sleep(2)
    result = handle.wait()
    print(f"\r{folder.name}: {result.status} after {result.wall_s:.0f} s{' ' * 30}", file=sys.stderr)
    if result.status != "ok":
        raise SystemExit(f"{folder.name}: {result.status}: {result.error}")
    return result.metrics


def digits(folder: Path, *, workers: int, small: bool) -> list[Measured]:
    """Make digits, measure them, and return the rows."""
    less: dict[str, Any] = {"train_steps": 60, "judge_steps": 60, "confidence": 0.0} if small else {}
    count, seeds = (60, 3) if small else (IMAGES_MADE, 5)
    steps: dict[str, Any] = {"steps": 20} if small else {}
    shared = {"against": "digits", "workers": workers, "curve": CURVE, **steps}
    made = {"source": "digits", "count": count, "threads": workers, **less}
    done(IMAGES, {**made, "out": str(folder / "all"), "seed": 0}, folder / "make-all")
    whole = done(MEASURE, {**shared, "data": str(folder / "all"), "out": str(folder / "digits"), "shares": SHARES, "student": ["cnn", "svm"], "seeds": seeds}, folder / "measure-all")  # fmt: skip
    honest = []
    for seed in GENERATORS:
        name = f"tenth-{seed}"
        done(IMAGES, {**made, "out": str(folder / name), "seed": seed, "labelled": TENTH}, folder / f"make-{name}")  # fmt: skip
        told = {**shared, "data": str(folder / name), "out": str(folder / f"{name}-worth"), "labels_seed": seed, "shares": [TENTH], "seeds": 3, "seed": 100 * seed}  # fmt: skip
        honest.append(done(MEASURE, told, folder / f"measure-{name}")["students"]["cnn"])
    return [*of_all(whole["students"]), *of_tenth(honest)]


def of_all(students: Mapping[str, Found]) -> list[Measured]:
    """Return the rows of the generator that saw all labels."""
    rows = []
    for student, found in students.items():
        for row in found["rows"]:
            if row["arm"] == "synthetic":
                rows.append(accuracy(f"synth-digits-tstr-{student}", f"{student} taught on synthetic digits alone, tested on real ones", row, TSTR))  # fmt: skip
            elif row["arm"] in NAMES and (student == "cnn" or row["share"] == 1) and row["share"] in SHARES:
                name, share = NAMES[row["arm"]], f"{100 * row['share']:g}"
                what = f"{student} taught on {row['arm']}, {row['labels']} real labels ({share} %)"
                rows.append(accuracy(f"synth-digits-{name}-{share}-{student}", what, row))
    return rows


def of_tenth(honest: Sequence[Found]) -> list[Measured]:
    """Return the rows of the generators that saw a tenth of the labels: a value for each generator, its students' mean."""

    def values(arm: str, share: float) -> list[float]:
        return [
            next(row["mean"] for row in one["rows"] if (row["arm"], row["share"]) == (arm, share)) for one in honest
        ]

    labels = {row["share"]: row["labels"] for row in honest[0]["rows"]}
    counts, curve = [labels[share] for share in CURVE], np.array([values("real", share) for share in CURVE])
    rows = [accuracy("synth-digits-tenth-tstr", f"taught on synthetic digits alone, of generators that saw {labels[TENTH]} labels", mean(values("synthetic", 0.0)))]  # fmt: skip
    for arm, name in NAMES.items():
        rows.append(accuracy(f"synth-digits-tenth-{name}", f"taught on {arm}, {labels[TENTH]} real labels, the generator's own", mean(values(arm, TENTH))))  # fmt: skip
        if arm == "real":
            continue
        gap = difference(values("real", 1.0), values(arm, TENTH))
        rows.append(Measured(id=f"synth-digits-tenth-gap-{name}", what=f"points that {arm} with {labels[TENTH]} labels is behind all {labels[1.0]} real labels", value=round(100 * gap["mean"], 2), unit="points", n=len(honest), interval=points(gap), target=POINTS if "synthetic" in arm else None))  # fmt: skip
        saved = labels_saved(counts, curve, labels[TENTH], np.array(values(arm, TENTH)))
        least = ", at least" if saved["at_least"] else ""
        ends = saved["interval"]
        rows.append(Measured(id=f"synth-digits-tenth-saved-{name}", what=f"real labels saved at equal accuracy by {arm} with {labels[TENTH]}{least}", value=saved["saved"], unit="labels", n=len(honest), interval=tuple(ends) if ends else None))  # fmt: skip
    return rows


def accuracy(id: str, what: str, row: Found, target: float | None = None) -> Measured:
    """Return an accuracy with its interval over seeds, within 0 and 1."""
    ends = row["interval"]
    interval = (max(0.0, round(ends[0], 4)), min(1.0, round(ends[1], 4))) if ends else None
    return Measured(id=id, what=what, value=round(row["mean"], 4), unit=SHARE, n=row["seeds"], interval=interval, target=target)  # fmt: skip


def points(row: Found) -> tuple[float, float] | None:
    """Return an interval in points."""
    return (round(100 * row["interval"][0], 2), round(100 * row["interval"][1], 2)) if row["interval"] else None


def write_traces(folder: Path, families: Sequence[str], *, train: int, test: int, seed: int = 0) -> None:
    """Write rows of the traces' own source, for each of the families the first ones that ask for bare steps."""
    if folder.exists():
        return
    new = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    with (new / "train.jsonl").open("w") as first, (new / "test.jsonl").open("w") as second:
        files, wanted = {"train": first, "test": second}, {"train": train, "test": test}
        for family in families:
            options = {"families": [family], "difficulty": [LEVEL], "explain": True, "pairs": False, "test_share": TEST_SHARE}  # fmt: skip
            left, index = dict(wanted), -1
            while any(left.values()):
                index += 1
                if style_at(seed, index)[1] != STYLE:
                    continue
                row = make(options, seed, index)
                if isinstance(row, Rejected) or not left[row["split"]]:
                    continue
                left[row["split"]] -= 1
                files[row["split"]].write(json.dumps(row) + "\n")
    new.rename(folder)


def traces(folder: Path, *, workers: int, small: bool, steps: int = STEPS, family: str = FAMILY) -> list[Measured]:
    """Teach students of a family, or of all together, with explanations and with answers alone; return the rows."""
    train, test = (60, 20) if small else (TRAIN, TEST)
    write_traces(folder / "traces", list(FAMILIES) if family == ALL else [family], train=train, test=test)
    told: dict[str, Any] = {"data": str(folder / "traces"), "out": str(folder / "explained"), "workers": workers, "train_rows": train, "test_rows": test}  # fmt: skip
    found = done(MEASURE, {**told, "steps": 10 if small else steps}, folder / "measure-traces")
    together = [{"family": ALL, **found["all"]}] if family == ALL else []
    rows = []
    for one in [*found["families"], *together]:
        name = one["family"]
        for arm, words in (("explained", "explanations"), ("answers", "answers alone"), ("answers_as_many_tokens", "answers alone, as many tokens")):  # fmt: skip
            rows.append(accuracy(f"synth-traces-{name}-{arm.replace('_', '-')}", f"held-out problems of {name} right, taught with {words}", one[arm]))  # fmt: skip
        for gain, words in (("gain", "as many steps"), ("gain_at_equal_tokens", "as many tokens")):
            ends = one[gain]["interval"]
            rows.append(Measured(id=f"synth-traces-{name}-{gain.replace('_', '-')}", what=f"share of {name} that explanations add to answers alone at {words}", value=round(one[gain]["mean"], 4), unit=SHARE, n=one[gain]["seeds"], interval=(round(ends[0], 4), round(ends[1], 4)) if ends else None, target=GAIN if name == family else None))  # fmt: skip
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.synth_measure", description="What synthetic data is worth."
    )
    parser.add_argument("--only", choices=("digits", "traces"), help="one of the two (default: both)")
    parser.add_argument(
        "--family", choices=(*FAMILIES, ALL), default=FAMILY, help="of the traces (default: %(default)s)"
    )
    parser.add_argument("--workers", type=int, default=2, help="(default: %(default)s)")
    parser.add_argument(
        "--steps", type=int, metavar="N", default=STEPS, help="of each student of traces (default: %(default)s)"
    )
    parser.add_argument("--slice", action="store_true", help="a moment of each, to see that it works; writes nothing")
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="work there, and go on where an earlier start stopped"
    )
    parser.add_argument("--write", action="store_true", help="write rows into benchmarks/results/synth.json, and pictures into docs/")  # fmt: skip
    wanted = parser.parse_args(argv)
    began = time.monotonic()
    rows: list[Measured] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = (wanted.keep or Path(scratch)).absolute()
        for name, measured, made in (
            ("digits", digits, "digits"),
            ("traces", partial(traces, steps=wanted.steps, family=wanted.family), "explained"),
        ):
            if wanted.only in (None, name):
                rows += measured(folder, workers=wanted.workers, small=wanted.slice)
                assert (folder / made / JSON).exists()
                if wanted.write and not wanted.slice:
                    shutil.copyfile(folder / made / PICTURE, PICTURES[name])
    render.publish("synth", rows, command=COMMAND, began=began, write=wanted.write and not wanted.slice)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
