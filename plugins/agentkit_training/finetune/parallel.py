"""Data-parallel training on this machine: several processes by torchrun or `accelerate launch`, watched by the job's own.

`batch` is of each process: two processes that read 4 rows each take the steps of one that reads 8.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from agentkit.errors import InvalidParams, JobError
from agentkit.jobs import JobContext
from agentkit_training.finetune.params import DpoParams, GrpoParams, RewardParams, SftParams, TrainParams

__all__ = ["METHODS", "STEPS", "STOP", "accelerate_config", "fit_in_parallel", "launch_line"]

METHODS: dict[str, type[TrainParams]] = {"sft": SftParams, "dpo": DpoParams, "reward": RewardParams, "grpo": GrpoParams}
STEPS, STOP = "steps.jsonl", ".stop"
POLL_S = 0.1
TAIL = 2_000  # characters of the log in an error


def fit_in_parallel(params: TrainParams, checkpoints: Path, out: Path, context: JobContext) -> dict[str, Any]:
    """Train in `params.processes` processes; like `training.fit` otherwise.

    Raises:
        JobError: a process failed; says how it ended.
    """
    folder = context.run_dir / "workers"
    folder.mkdir(exist_ok=True)
    for name in (STEPS, STOP):
        (folder / name).unlink(missing_ok=True)
    method = next(name for name, kind in METHODS.items() if kind is type(params))
    asked = {
        "method": method,
        "params": params.model_dump(mode="json", exclude_none=True),
        "checkpoints": str(checkpoints),
        "out": str(out),
    }
    (folder / "params.json").write_text(json.dumps(asked))
    threads = params.threads or max(1, (os.cpu_count() or 1) // params.processes)
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    with (folder / "log.txt").open("ab") as log:
        process = subprocess.Popen(launch_line(params, folder), stdout=log, stderr=log, env=environment)
    try:
        figures = _relayed(process, folder, context)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
    if process.returncode or figures is None:
        tail = (folder / "log.txt").read_text(errors="replace")[-TAIL:]
        raise JobError(
            f"{params.processes} processes ended with status {process.returncode}; {folder / 'log.txt'} ends:\n{tail}"
        )
    return figures


def launch_line(params: TrainParams, folder: Path) -> list[str]:
    """Return the command that starts the workers: torchrun, or `accelerate launch` with the configuration that was named.

    Raises:
        InvalidParams: there is no such configuration.
    """
    worker = ["-m", "agentkit_training.finetune.worker", str(folder)]
    if params.accelerate is None:
        launcher = ["-m", "torch.distributed.run", f"--nproc_per_node={params.processes}", f"--master_port={_port()}"]
        return [sys.executable, *launcher, *worker]
    launcher = ["-m", "accelerate.commands.launch", "--config_file", str(accelerate_config(params.accelerate))]
    return [sys.executable, *launcher, f"--num_processes={params.processes}", f"--main_process_port={_port()}", *worker]


def accelerate_config(name: str) -> Path:
    """Return a configuration file of accelerate: one that TRL brings (`multi_gpu`, `zero3`, `fsdp2`, ...), or your own.

    Raises:
        InvalidParams: there is no such file.
    """
    shipped = Path(find_spec("trl").submodule_search_locations[0]) / "accelerate_configs"  # type: ignore[union-attr,index]
    for path in (Path(name).expanduser(), shipped / f"{name}.yaml"):
        if path.is_file():
            return path
    known = ", ".join(sorted(path.stem for path in shipped.glob("*.yaml")))
    raise InvalidParams(
        f"/accelerate: there is no configuration {name}; one of {known}, or a file of `accelerate config`"
    )


def _port() -> int:
    """Return a free port."""
    import socket  # noqa: PLC0415

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _relayed(process: subprocess.Popen[bytes], folder: Path, context: JobContext) -> dict[str, Any] | None:
    """Pass the workers' steps on until they end; return the figures they came to."""
    figures: dict[str, Any] | None = None
    path, offset = folder / STEPS, 0
    ended = False
    while not ended:
        ended = process.poll() is not None  # looked at before reading: no line is missed
        if path.exists():
            with path.open() as file:
                file.seek(offset)
                for line in iter(file.readline, ""):
                    if not line.endswith("\n"):
                        break
                    offset += len(line.encode())
                    told = json.loads(line)
                    if "figures" in told:
                        figures = told["figures"]
                    else:
                        context.step(told["step"], told["total"], told["metrics"])
        if context.should_stop():
            (folder / STOP).touch()
        if not ended:
            time.sleep(POLL_S)
    return figures
