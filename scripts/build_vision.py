"""Rebuild the embedded picture model from nothing: draw its world, train towers and resampler, measure, and install.

    python scripts/build_vision.py                    everything; under 20 minutes on two idle cores
    python scripts/build_vision.py --install          and put the result where agentkit ships it
    python scripts/build_vision.py --encoder-steps 60 --steps 40 --count 600     a look

Stop it with Ctrl-C and start it again: it goes on where it was. Everything lands in the run folder (`runs/vision` unless `--run-dir`
says otherwise). For each of the sixteen kinds of things one colour is left out of the training: those pairs are only measured with.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agentkit import jobs
from agentkit_synthesis.images.jobs import IMAGES
from agentkit_synthesis.images.renderer import COLOURS, SHAPES
from agentkit_synthesis.images.silhouettes import SILHOUETTES
from agentkit_training.sprout_hf import sprout_folder
from agentkit_vision.training.jobs import TRAIN

ROOT = Path(__file__).parents[1]
SPROUT = ROOT / "agentkit" / "models" / "weights" / "sprout.gguf"
SHIPPED = ROOT / "plugins" / "agentkit_vision" / "weights"
SIZE, COUNT = 64, 24_000
SETS = {"train": (COUNT, 0), "test": (1_200, 1), "pairs": (800, 2)}  # pictures, seed


def held_out_pairs() -> list[str]:
    """Return the conditions that no picture of the training fulfils: a colour of each silhouette, and of each shape."""
    colours = list(COLOURS)
    things = [("category", list(SILHOUETTES), 1), ("shape", list(SHAPES), 5)]
    return [f"{name}={kind},colour={colours[(3 * n + first) % len(colours)]}" for name, kinds, first in things for n, kind in enumerate(kinds)]  # fmt: skip


def draw(folder: Path, name: str, count: int, seed: int) -> Path:
    """Draw one of the sets, if it is not there."""
    out = folder / name
    if not (out / "metadata.jsonl").is_file():
        pairs = held_out_pairs()
        order: dict[str, Any] = {"source": "shop", "method": "render", "size": SIZE, "count": count, "seed": seed, "out": str(out)}  # fmt: skip
        done(IMAGES, {**order, ("only" if name == "pairs" else "without"): pairs}, folder / f"draw-{name}")
    return out


def done(job: jobs.Job, params: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
    """Run a job in a process of its own, or go on with it; say on stderr how far it is."""
    handle = jobs.start(job, params, run_dir=folder)
    try:
        while (state := handle.state()).status == "running":
            told = f"{state.step} of {state.total or '?'}, {state.eta_s or 0:.0f} s left"
            print(f"\r{folder.name}: {told}   ", end="", file=sys.stderr)
            time.sleep(1)
    except KeyboardInterrupt:
        handle.cancel()
        raise
    result = handle.wait()
    print(f"\r{folder.name}: {result.status} after {result.wall_s:.0f} s{' ' * 30}", file=sys.stderr)
    if result.status != "ok":
        raise SystemExit(f"{folder.name}: {result.status}: {result.error}")
    return result.metrics


def build(folder: Path, *, count: int, options: Mapping[str, Any]) -> Path:
    """Draw and train; return the model's folder."""
    sets = {
        name: draw(folder / "data", name, count if name == "train" else few, seed) for name, (few, seed) in SETS.items()
    }
    # over what an earlier start left: a finished training is not done again, and one that is asked for otherwise is
    told = {"data": str(sets["train"]), "out": str(folder / "model"), "language_model": str(sprout_folder()), "gguf": str(SPROUT), "force": True, **options}  # fmt: skip
    print(done(TRAIN, told, folder / "train"), file=sys.stderr)
    return folder / "model"


def main(argv: Sequence[str] | None = None) -> int:
    """Build, and install if asked to."""
    parser = argparse.ArgumentParser(description="Rebuild the embedded picture model.")
    parser.add_argument("--run-dir", type=Path, default=ROOT / "runs" / "vision", help="(default: %(default)s)")
    parser.add_argument("--count", type=int, default=COUNT, help="pictures to learn from (default: %(default)s)")
    parser.add_argument("--encoder-steps", type=int, help="of the towers (default: the job's own)")
    parser.add_argument("--steps", type=int, help="of the resampler (default: the job's own)")
    parser.add_argument("--threads", type=int, help="(default: all cores)")
    parser.add_argument("--install", action="store_true", help="copy the model to where agentkit ships it")
    wanted = parser.parse_args(argv)
    given = {"encoder_steps": wanted.encoder_steps, "steps": wanted.steps, "threads": wanted.threads}
    model = build(wanted.run_dir, count=wanted.count, options={name: value for name, value in given.items() if value is not None})  # fmt: skip
    if wanted.install:
        shutil.rmtree(SHIPPED, ignore_errors=True)
        shutil.copytree(model, SHIPPED, copy_function=shutil.copyfile)  # as readable as other files
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
