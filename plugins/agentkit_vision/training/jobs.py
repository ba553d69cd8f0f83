"""Training the embedded model, as a job: what `agentkit see train` starts."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from agentkit.errors import InvalidParams
from agentkit.extensions import Plugin
from agentkit.jobs import Job, JobContext, JobPlan
from agentkit_vision.training.params import TrainVisionParams

__all__ = ["TRAIN"]

NEEDS = ("torch", "transformers", "safetensors", "PIL")
NAME = "picture encoder"
ENCODER_S, CONNECTOR_S = 1.0e-3, 4.0e-3  # seconds a picture, and a question, on two cores
READ_S, START_S = 2.5e-4, 15.0  # seconds a file; for libraries and figures


def plan(params: Mapping[str, Any]) -> JobPlan:
    """Return what a training would do and cost; reads the data set's table.

    Raises:
        InvalidParams: a parameter, the table or a place is off.
        MissingDependency: the extra `vision` is not installed.
    """
    checked = TrainVisionParams.parse(params)
    Plugin(name="vision", needs=NEEDS, extra="vision").require()
    from agentkit_vision.training.data import digest_of  # noqa: PLC0415  Pillow is of the extra
    from agentkit_vision.world.reading import read_examples  # noqa: PLC0415

    if not (checked.language_model / "config.json").is_file():
        raise InvalidParams(f"/language_model: {checked.language_model} holds no model as transformers saves it (config.json)")  # fmt: skip
    if checked.gguf is not None and not checked.gguf.is_file():
        raise InvalidParams(f"/gguf: {checked.gguf} is no file; name the language model's GGUF, or leave it out")
    if checked.out.exists() and not checked.force and any(checked.out.iterdir()):
        raise InvalidParams(f"/out: {checked.out} holds something already; name another folder, or set force")
    files = len(read_examples(checked.data))
    pictures, questions = checked.encoder_steps * checked.encoder_batch, checked.steps * checked.batch
    told = checked.model_dump(mode="json", exclude={"force"})
    return JobPlan(
        config={**told, "digest": digest_of(checked.data), "threads": checked.threads or os.cpu_count() or 1},
        seconds=START_S + files * READ_S + pictures * ENCODER_S + questions * CONNECTOR_S,
        memory_bytes=(2 << 30) + files * 3 * checked.size**2,
        disk_bytes=60 << 20,
        backend="torch",
        why=f"{files:,} pictures; {pictures:,} views of them for the towers, {questions:,} questions for the resampler",
    )


def run(params: Mapping[str, Any], context: JobContext) -> Mapping[str, Any]:
    """Train, measure, and put the model where it was asked for."""
    import torch  # noqa: PLC0415  2 s

    from agentkit_vision.embedded.folder import About, write_about  # noqa: PLC0415
    from agentkit_vision.training import fitting  # noqa: PLC0415
    from agentkit_vision.training.data import read_parts  # noqa: PLC0415

    checked = TrainVisionParams.parse(params)
    torch.set_num_threads(checked.threads or os.cpu_count() or 1)
    total = checked.encoder_steps + checked.steps + 1
    train, held_out = read_parts(checked.data, checked.size, checked.held_out, checked.seed)

    def told(phase: str, step: int, loss: float) -> None:
        done = step + (checked.encoder_steps if phase == "connector" else 0)
        context.step(done, total, {"loss": round(loss, 5)} if step % 10 == 0 else None, phase=phase)

    towers = fitting.fit_towers(checked, train, context.checkpoint_dir, told, context.should_stop)
    if towers is None:
        return {}
    connector = fitting.fit_connector(checked, towers, train, context.checkpoint_dir, told, context.should_stop)
    if connector is None:
        return {}
    figures = fitting.measured(towers, connector, held_out, checked.seed)
    made = context.run_dir / "model"
    shutil.rmtree(made, ignore_errors=True)
    towers.save(made)
    fitting.save_connector(connector, made)
    about = About(
        name=NAME, size=checked.size, vocabulary={name: tuple(found) for name, found in train.vocabulary.items()},
        language_model=_digest(checked.gguf), reads_words=checked.reads_words, figures=figures, recipe=fitting.recipe_of(checked),
    )  # fmt: skip
    write_about(made, about)
    _put(made, checked.out)
    for path in sorted(checked.out.rglob("*")):
        if path.is_file():
            context.artifact(path, "model")
    context.step(total, total, phase="saved")
    return {"out": str(checked.out), "pictures": len(train), "held_out": len(held_out), **figures}


def _put(made: Path, out: Path) -> None:
    """Copy a folder to where it is to be; whoever is stopped meanwhile leaves none or all of it there."""
    new = out.with_name(f"{out.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(made, new, copy_function=shutil.copyfile)  # safetensors writes files that only their owner reads
    if out.exists():
        shutil.rmtree(out)
    new.rename(out)


def _digest(path: Path | None) -> str:
    return "" if path is None else sha256(path.read_bytes()).hexdigest()


TRAIN = Job(name="train_vision", home="agentkit_vision.training.jobs:TRAIN", plan=plan, run=run)
