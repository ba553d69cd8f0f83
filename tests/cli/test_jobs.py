"""`agentkit jobs` over run folders."""

import time

import pytest

from agentkit.jobs import Job, JobPlan, run

SLOW = """
import time
from agentkit.jobs import Job, JobPlan

def work(params, context):
    for step in range(1, 600):
        context.step(step, 600, {"loss": 1 / step})
        if context.should_stop():
            return {}
        time.sleep(0.05)

JOB = Job(name="walk", home="slow_job:JOB", plan=lambda params: JobPlan(config=dict(params)), run=work)
"""


@pytest.fixture
def finished(agentkit):
    def work(params, context):
        context.step(1, 2, {"loss": 0.5})
        context.step(2, 2, {"loss": 0.25})
        return {"loss": 0.25}

    job = Job(name="walk", plan=lambda params: JobPlan(config=dict(params)), run=work)
    run(job, {"to": 2}, run_dir=agentkit.home / "jobs" / "walk-1")


def test_a_finished_job(agentkit, finished) -> None:
    rows = agentkit("jobs", "--json").document["data"]
    assert [(row["name"], row["job"], row["status"], row["resumable"]) for row in rows] == [
        ("walk-1", "walk", "ok", False)
    ]
    assert "walk-1" in agentkit("jobs").out
    shown = agentkit("jobs", "show", "walk").out
    assert "2/2 (100%)" in shown
    assert "0.25" in shown
    by_path = agentkit("jobs", "show", str(agentkit.home / "jobs" / "walk-1"), "--json").document["data"]
    assert by_path["result"]["metrics"] == {"loss": 0.25}
    refused = agentkit("jobs", "cancel", "walk-1")
    assert refused.code == 2
    assert "not running" in refused.one_line()


def test_a_running_job_is_watched_cancelled_and_resumed(agentkit, tmp_path, monkeypatch) -> None:
    from agentkit.jobs import start

    (tmp_path / "slow_job.py").write_text(SLOW)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    from slow_job import JOB

    handle = start(JOB, {}, run_dir=agentkit.home / "jobs" / "walk-2")
    end = time.monotonic() + 30
    while not handle.state().step and time.monotonic() < end:
        time.sleep(0.05)
    assert agentkit("jobs", "--json").document["data"][0]["status"] == "running"
    assert agentkit("jobs", "cancel", "walk-2").code == 0
    assert handle.wait(30).status == "cancelled"
    watched = agentkit("jobs", "watch", "walk-2", "--json")
    assert watched.document["data"]["resumable"]
    assert "step 1/600" in watched.err
    resumed = agentkit("jobs", "resume", "walk-2", "--steps", "3", "--watch", "--json")
    assert resumed.document["data"]["status"] == "budget_exhausted"
    assert resumed.code == 0
    assert agentkit("jobs", "resume", "walk-2").code == 0
    assert agentkit("jobs", "cancel", "walk-2").code == 0
    assert agentkit("jobs", "watch", "walk-2", "--json").document["data"]["status"] == "cancelled"


def test_what_is_done_and_what_has_no_home_does_not_go_on(agentkit, finished) -> None:
    done = agentkit("jobs", "resume", "walk-1")
    assert done.code == 2
    assert "is done" in done.one_line()
    (agentkit.home / "jobs" / "walk-1" / "result.json").unlink()
    homeless = agentkit("jobs", "resume", "walk-1")
    assert homeless.code != 0
    assert "run that again" in homeless.one_line()


def test_no_jobs(agentkit) -> None:
    ran = agentkit("jobs")
    assert (ran.code, ran.out) == (0, "")
    assert agentkit("jobs", "show", "nothing").code == 2
