"""What a running job is handed: where to put things, whom to tell, when to stop."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from agentkit.jobs import folder
from agentkit.jobs.values import Budget

EVENT_EVERY_S = 0.5  # steps between are counted, not told
_RATE_WINDOW = 64  # events that the remaining time is reckoned from


class JobContext:
    """One start of a job.

    Attributes:
        run_dir: the job's folder.
        checkpoint_dir: for what a resumed run needs; survives cancelling and crashes.
        artifact_dir: for what is made; every file in it becomes an artifact.
        seed: the run's seed.
        resumed: whether an earlier start of the same configuration left something here.
    """

    def __init__(
        self,
        run_dir: Path,
        *,
        run_id: str,
        seed: int,
        resumed: bool,
        budget: Budget,
        cancelled: threading.Event,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.run_dir, self.seed, self.resumed = run_dir, seed, resumed
        self.checkpoint_dir, self.artifact_dir = run_dir / folder.CHECKPOINTS, run_dir / folder.ARTIFACTS
        self.checkpoint_dir.mkdir(parents=True, exist_ok=True)
        self.artifact_dir.mkdir(parents=True, exist_ok=True)
        self.warnings: list[str] = []
        self.kinds: dict[Path, str] = {}
        self._run_id, self._budget, self._cancelled, self._clock = run_id, budget, cancelled, clock
        self._started = clock()
        last = (folder.read_lines(run_dir / folder.EVENTS)[0] or [{}])[-1]
        self._seq, self._wall_before = int(last.get("seq", 0)), float(last.get("wall_s", 0.0))
        self._step: int | None = None
        self._first_step = 0
        self._total: int | None = None
        self._told = float("-inf")
        self._rate: deque[tuple[float, int]] = deque(maxlen=_RATE_WINDOW)
        self._stopped = ""

    @property
    def wall_s(self) -> float:
        """Seconds spent, in all starts of this job together."""
        return self._wall_before + self._clock() - self._started

    def step(
        self,
        step: int,
        total: int | None = None,
        metrics: Mapping[str, Any] | None = None,
        *,
        phase: str = "",
        message: str = "",
    ) -> None:
        """Say that `step` of `total` is done; metrics are kept for every step they are given for.

        Events are written at most twice a second, and always for the last step.
        """
        now = self._clock()
        if self._step is None:
            self._first_step = max(0, step - 1)  # step 0: what was found before the first
            self._rate.append((self._started, self._first_step))
        self._step, self._total = step, total
        if metrics is not None:
            folder.append_line(self.run_dir / folder.METRICS, {"step": step, **metrics})
        if now - self._told < EVENT_EVERY_S and step != total:
            return
        self._told = now
        self._rate.append((now, step))
        known = {"phase": phase, "step": step, "total": total, "eta_s": self._eta()}
        self.event("step", {**known, "metrics": dict(metrics or {}), "message": message})

    def should_stop(self) -> bool:
        """Whether to write a checkpoint and return now: somebody cancelled, or the budget is used up."""
        if not self._stopped:
            if self._cancelled.is_set() or (self.run_dir / folder.CANCEL).exists():
                self._stopped = "cancelled"
            elif self._used_up():
                self._stopped = "budget_exhausted"
        return bool(self._stopped)

    def warn(self, text: str) -> None:
        """Keep a warning for the result."""
        self.warnings.append(text)
        self.event("warning", {"message": text})

    def artifact(self, path: Path, kind: str) -> Path:
        """Name a file's kind, or a file outside `artifact_dir` that belongs to the result; return it."""
        self.kinds[path.absolute()] = kind
        return path

    def event(self, type: str, data: Mapping[str, Any]) -> None:
        """Append one event to the job's stream."""
        self._seq += 1
        known = {"run_id": self._run_id, "seq": self._seq, "t": round(time.time(), 3), "type": type}
        folder.append_line(self.run_dir / folder.EVENTS, {**known, "wall_s": round(self.wall_s, 3), **data})

    def ended(self) -> str:
        """Return the status of a run that came back: it was stopped, or it is done."""
        finished = self._total is not None and self._step == self._total
        return self._stopped if self._stopped and not finished else "ok"

    def _used_up(self) -> bool:
        if self._budget.seconds is not None and self._clock() - self._started >= self._budget.seconds:
            return True
        done = 0 if self._step is None else self._step - self._first_step
        return self._budget.steps is not None and done >= self._budget.steps

    def _eta(self) -> float | None:
        (then, first), (now, last) = self._rate[0], self._rate[-1]
        if self._total is None or last <= first:
            return None
        return round((self._total - last) * (now - then) / (last - first), 1)
