"""`agentkit train dpo` and its sisters, as processes: help, plan, a run, several processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("trl")

from agentkit_training.finetune.parallel import accelerate_config, launch_line
from agentkit_training.finetune.params import DpoParams, SftParams
from tests.plugins.finetune_models import pairs, tiny, write


def agentkit(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "agentkit", *words],
        env={**os.environ, "AGENTKIT_HOME": str(home)},
        capture_output=True,
        text=True,
        cwd=home,
    )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    tiny(tmp_path / "tiny")
    write(tmp_path / "prefs.jsonl", pairs(12))
    write(tmp_path / "more.jsonl", pairs(16)[12:])
    return tmp_path


WORDS = (
    "-m",
    "tiny",
    "--steps",
    "4",
    "--batch",
    "4",
    "--eval-data",
    "more.jsonl",
    "--learning-rate",
    "0.0001",
    "--threads",
    "1",
)


def test_help_has_an_option_for_every_parameter(home: Path) -> None:
    for method, kind in (("dpo", DpoParams), ("sft", SftParams)):
        shown = agentkit(home, "train", method, "--help").stdout
        for name in set(kind.model_fields) - {"data"}:
            assert f"--{name.replace('_', '-')}" in shown, name


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_plan_a_run_and_the_same_run_with_two_processes(home: Path) -> None:
    planned = agentkit(home, "train", "dpo", "prefs.jsonl", "-o", "tuned", "--plan", "--json", *WORDS)
    assert planned.returncode == 0, planned.stderr
    plan = json.loads(planned.stdout)["data"]
    assert plan["flops"] > 0
    assert plan["config"]["steps"] == 4
    assert not (home / "tuned").exists()

    done = agentkit(home, "train", "dpo", "prefs.jsonl", "-o", "tuned", "--json", *WORDS)
    assert done.returncode == 0, done.stderr
    alone = json.loads(done.stdout)["data"]
    assert (alone["status"], alone["steps"]) == ("ok", 4)
    assert "step 4/4" in done.stderr
    assert (home / "tuned" / "model.safetensors").exists()

    done = agentkit(
        home, "train", "dpo", "prefs.jsonl", "-o", "shared", *WORDS, "--batch", "2", "--processes", "2", "--json"
    )
    assert done.returncode == 0, done.stderr
    shared = json.loads(done.stdout)["data"]
    ours, theirs = (_losses(home / "jobs" / f"dpo-{name}") for name in ("tuned", "shared"))
    assert theirs == pytest.approx(ours, abs=1e-5)
    assert shared["steps"] == 4
    assert (home / "shared" / "model.safetensors").exists()


def _losses(folder: Path) -> list[float]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [row["loss"] for row in rows if "loss" in row]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nothing.jsonl", "-o", "out"), "there is no file"),
        (("prefs.jsonl", "-o", "out", "--beta", "-1"), "/beta: Input should be greater than 0"),
        (("prefs.jsonl", "-o", "tiny", "-m", "tiny"), "/out: "),
    ],
)
def test_what_cannot_be_is_a_usage_error_in_a_line(home: Path, words: tuple[str, ...], said: str) -> None:
    done = agentkit(home, "train", "dpo", *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_hub_that_cannot_be_reached_says_how_to_get_the_model(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setenv("HF_HUB_CACHE", str(home / "hub"))
    done = agentkit(home, "train", "dpo", "prefs.jsonl", "-o", "out", "-m", "nobody/nothing")
    assert done.returncode == 3
    assert "nobody/nothing is not in the cache, and the hub did not give it" in done.stderr
    assert "hf download nobody/nothing" in done.stderr


@pytest.mark.slow
def test_a_configuration_of_accelerate_is_what_it_is_launched_with(home: Path) -> None:
    (home / "cpu.yaml").write_text(
        "compute_environment: LOCAL_MACHINE\ndistributed_type: 'NO'\nmixed_precision: 'no'\nnum_machines: 1\n"
        "num_processes: 1\nuse_cpu: true\n"
    )
    done = agentkit(home, "train", "dpo", "prefs.jsonl", "-o", "out", "--accelerate", "cpu.yaml", "--json", *WORDS)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["data"]["steps"] == 4
    assert (home / "out" / "model.safetensors").exists()


def test_processes_are_started_by_torchrun_or_by_a_configuration_of_accelerate(tmp_path: Path) -> None:
    told = {"data": "rows.jsonl", "out": "tuned", "processes": 2}
    line = launch_line(DpoParams.parse(told), tmp_path)
    assert line[1:4] == ["-m", "torch.distributed.run", "--nproc_per_node=2"]
    line = launch_line(DpoParams.parse({**told, "accelerate": "zero3"}), tmp_path)
    assert line[2] == "accelerate.commands.launch"
    assert Path(line[4]).name == "zero3.yaml"
    own = tmp_path / "mine.yaml"
    own.write_text("")
    assert accelerate_config(str(own)) == own
    with pytest.raises(Exception, match=r"/accelerate: there is no configuration zero9; one of fsdp1, .*zero3"):
        accelerate_config("zero9")
