"""What jobs are made of, and what they come to: frozen values, plain enough for JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from agentkit.jobs.context import JobContext

Resume = Literal["if_possible", "never", "always"]
Status = Literal["ok", "cancelled", "failed", "budget_exhausted"]

_EXIT_CODES: dict[str, int] = {"ok": 0, "failed": 1, "budget_exhausted": 124, "cancelled": 143}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPlan:
    """What a job would do and cost. `config` is everything its result depends on, resolved."""

    config: Mapping[str, Any]
    flops: float = 0.0  # predicted; 0: not known
    seconds: float = 0.0  # predicted; 0: not known
    memory_bytes: int = 0
    disk_bytes: int = 0
    backend: str = ""  # what it runs on
    why: str = ""  # why that backend


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How much this start of a job may use; it then ends as `budget_exhausted` and can be resumed."""

    seconds: float | None = None
    steps: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A long action.

    Attributes:
        name: what people call it.
        plan: params -> JobPlan; quick, changes nothing; raises `InvalidParams` for bad ones.
        run: (params, context) -> final metrics; calls `context.step`, heeds `context.should_stop`.
        home: `package.module:ATTRIBUTE` where this very value can be imported, for a process of its own.
    """

    name: str
    plan: Callable[[Mapping[str, Any]], JobPlan]
    run: Callable[[Mapping[str, Any], JobContext], Mapping[str, Any] | None]
    home: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A file that a job made."""

    path: str  # relative to the run folder where it lies inside
    kind: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """What a job came to: paths and figures, never tensors."""

    status: Status
    metrics: Mapping[str, Any] = field(default_factory=dict)
    artifacts: tuple[Artifact, ...] = ()
    config_hash: str = ""
    seed: int = 0
    versions: Mapping[str, str] = field(default_factory=dict)
    wall_s: float = 0.0  # of all its starts together
    memory_bytes: int = 0  # most that the process held which ended it; 0: not known
    warnings: tuple[str, ...] = ()
    error: str = ""  # one line, when it failed

    @property
    def exit_code(self) -> int:
        """The process exit status for this end."""
        return _EXIT_CODES[self.status]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> JobResult:
        """Return the result that `to_json` wrote."""
        artifacts = tuple(Artifact(**artifact) for artifact in data["artifacts"])
        return cls(**{**data, "artifacts": artifacts, "warnings": tuple(data["warnings"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class JobState:
    """How far a job is: what its folder says now."""

    run_dir: Path
    job: str
    status: Literal["running", "interrupted", "ok", "cancelled", "failed", "budget_exhausted"]
    started_at: float
    step: int = 0
    total: int | None = None
    eta_s: float | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    result: JobResult | None = None
    params: Mapping[str, Any] = field(default_factory=dict)  # that it was started with
    plan: Mapping[str, Any] = field(
        default_factory=dict
    )  # what it was expected to cost: a `JobPlan` but for its config

    @property
    def resumable(self) -> bool:
        """Whether starting it again goes on where it stopped."""
        return self.status not in {"running", "ok"}
