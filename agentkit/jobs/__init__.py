"""Long actions under one contract: training, synthesis, sweeps.

A job is planned first (what it would cost), then run in a process and a folder of its own. It reports
steps, can be cancelled and resumed, and ends in a small result. The folder is the truth: whoever can
read it can follow, cancel or resume the job, also after this process is gone.

    JOB = Job(name="count", home="my_plugin.jobs:JOB", plan=plan, run=run)
    handle = start(JOB, {"to": 10}, run_dir=Path("runs/count"))
    result = handle.wait()
"""

from __future__ import annotations

from agentkit.jobs.context import JobContext
from agentkit.jobs.folder import config_hash, write_atomic
from agentkit.jobs.running import JobHandle, cancel, follow, list_jobs, read, resume, run, start
from agentkit.jobs.values import Artifact, Budget, Job, JobPlan, JobResult, JobState, Resume

__all__ = [
    "Artifact",
    "Budget",
    "Job",
    "JobContext",
    "JobHandle",
    "JobPlan",
    "JobResult",
    "JobState",
    "Resume",
    "cancel",
    "config_hash",
    "follow",
    "list_jobs",
    "read",
    "resume",
    "run",
    "start",
    "write_atomic",
]
