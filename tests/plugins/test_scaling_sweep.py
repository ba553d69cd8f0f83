"""`agentkit train scaling sweep` and `double` as jobs: exact whatever happens to them, cheap when done, typed when refused."""

from __future__ import annotations

import json
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("tokenizers")
pytest.importorskip("scipy")
pytest.importorskip("matplotlib")

from agentkit.cli import main  # noqa: E402
from agentkit.errors import InvalidParams, JobError, UsageError  # noqa: E402
from agentkit.jobs import Budget, JobResult, run, start  # noqa: E402
from agentkit_training.scaling import Chinchilla, fit, load_fit, read_runs, save_fit  # noqa: E402
from agentkit_training.scaling.sweep.doubling import DOUBLE  # noqa: E402
from agentkit_training.scaling.sweep.doubling import cells_of as doubled_cells_of  # noqa: E402
from agentkit_training.scaling.sweep.sweeping import SWEEP, cells_of  # noqa: E402
from agentkit_training.scaling.sweep.texts import read_text  # noqa: E402
from agentkit_training.scaling.sweep.worker import result_of  # noqa: E402
from tests.plugins.scaling_runs import made, prose  # noqa: E402

LAW = Chinchilla(E=1.0, A=60.0, B=80.0, alpha=0.49, beta=0.38)
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "prose.txt"
    path.write_bytes(prose(400_000))
    return path


def micro(text: Path, **more: Any) -> dict[str, Any]:
    return {"budgets": [2e9, 6e9], "sizes": [9_000, 20_000], "text": str(text), **more}


@pytest.fixture(scope="module")
def whole(text: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[JobResult, Path]:
    """Four cells, trained without a stop by one worker."""
    folder = tmp_path_factory.mktemp("whole")
    return run(SWEEP, micro(text), run_dir=folder), folder


def put(results: Path, cells: list[Any], law: Chinchilla = LAW, noise: float = 0.0) -> None:
    """Write cells' results as if they had been trained, with losses that follow a law."""
    results.mkdir(parents=True, exist_ok=True)
    chance = np.random.default_rng(0)
    for cell in cells:
        loss = law.predict(cell.params, cell.tokens) * float(np.exp(noise * chance.standard_normal()))
        result_of(results, cell.key).write_text(json.dumps({"loss": loss, "loss_se": 0.01}))


def test_four_cells_are_trained_and_too_few_for_a_law(whole: tuple[JobResult, Path]) -> None:
    done, folder = whole
    assert done.status == "ok", done.error
    rows = done.metrics["runs"]
    assert [row["budget"] for row in rows] == [2e9, 2e9, 6e9, 6e9]
    small, large = rows[:2], rows[2:]
    assert all(one["loss"] > other["loss"] for one, other in zip(small, large, strict=True))  # more compute, less loss
    assert [(run.params, run.tokens, run.loss) for run in read_runs(folder / "artifacts" / "runs.csv")] == [
        (row["params"], row["tokens"], row["loss"]) for row in rows
    ]
    assert any("no law is fitted: 4 runs are too few" in warning for warning in done.warnings)
    assert any("exponents say nothing of language models at large" in warning for warning in done.warnings)
    assert list((folder / "checkpoints").glob("*.pt")) == []


def test_two_workers_and_another_order_give_the_same_bytes(
    whole: tuple[JobResult, Path], text: Path, tmp_path: Path
) -> None:
    params = micro(text, workers=2, budgets=[6e9, 2e9], sizes=[20_000, 9_000])
    done = run(SWEEP, params, run_dir=tmp_path)
    assert done.status == "ok", done.error
    assert done.config_hash == whole[0].config_hash
    assert (tmp_path / "artifacts" / "runs.csv").read_bytes() == (whole[1] / "artifacts" / "runs.csv").read_bytes()


def test_stopped_and_killed_in_the_middle_gives_the_same_bytes(
    whole: tuple[JobResult, Path], text: Path, tmp_path: Path
) -> None:
    """Its budget used up in the middle, then SIGKILL in a process of its own, then to the end."""

    def left(suffix: str) -> int:
        return len(list((tmp_path / "checkpoints").glob(f"n*{suffix}")))

    def told() -> int:
        return (tmp_path / "events.jsonl").read_text().count('"type": "step"')

    assert run(SWEEP, micro(text), run_dir=tmp_path, budget=Budget(steps=1)).status == "budget_exhausted"
    assert 1 <= left(".pt") + left(".json") < 4

    before = told()
    handle = start(SWEEP, micro(text), run_dir=tmp_path)
    until = time.monotonic() + 90
    while told() == before:
        assert time.monotonic() < until
        time.sleep(0.01)
    assert handle.process is not None
    handle.process.kill()
    with pytest.raises(JobError, match="status -9 and no result"):
        handle.wait(60)
    assert left(".json") < 4

    assert run(SWEEP, micro(text), run_dir=tmp_path).status == "ok"
    assert (tmp_path / "artifacts" / "runs.csv").read_bytes() == (whole[1] / "artifacts" / "runs.csv").read_bytes()
    assert left(".pt") == 0


def test_a_worker_that_ends_by_itself_fails_the_sweep(text: Path, tmp_path: Path) -> None:
    from agentkit_training.scaling.sweep import crew

    cells = cells_of(micro(text), read_text(str(text)))[:1]
    (tmp_path / "train.bin").write_bytes(b"a" * 100)
    (tmp_path / "held_out.bin").write_bytes(b"")
    with pytest.raises(JobError, match=rf"{cells[0].key}: its worker ended with status 1"):  # nothing to measure on
        crew.train_all(cells, tmp_path, 1, told=lambda *_: None, should_stop=lambda: False)


def test_finished_cells_are_not_trained_again_and_their_law_is_fitted(text: Path, tmp_path: Path) -> None:
    """Fifteen results that follow a law are found where a sweep left them; whoever trained again would get others."""
    params = {"text": str(text), "budgets": [1e10, 3e10, 1e11], "sizes": [9_000, 20_000, 45_000, 100_000, 220_000]}
    put(tmp_path / "checkpoints", cells_of(params, read_text(str(text))))
    began = time.monotonic()
    done = run(SWEEP, params, run_dir=tmp_path)
    assert done.status == "ok", done.error
    assert done.metrics["cells"] == 15
    for name, value in LAW.constants().items():
        assert done.metrics["constants"][name]["value"] == pytest.approx(value, rel=1e-2)
    assert done.metrics["extrapolation"]["held_out_runs"] == 5
    assert abs(done.metrics["extrapolation"]["mean_error"]) < 1e-3
    assert {Path(artifact.path).name for artifact in done.artifacts} == {
        "runs.csv",
        "fit.json",
        "fit.png",
        "isoflop.png",
    }
    for picture in ("fit.png", "isoflop.png"):
        assert (tmp_path / "artifacts" / picture).read_bytes().startswith(PNG)
    assert load_fit(tmp_path / "artifacts" / "fit.json").law.constants()["E"] == done.metrics["constants"]["E"]["value"]
    assert time.monotonic() - began < 60


def test_a_larger_grid_in_the_same_folder_keeps_what_is_done(text: Path, tmp_path: Path) -> None:
    small = {"text": str(text), "budgets": [1e10, 3e10], "sizes": [9_000, 20_000, 45_000]}
    more = {**small, "budgets": [1e10, 3e10, 1e11]}
    put(tmp_path / "checkpoints", cells_of(small, read_text(str(text))))
    first = run(SWEEP, small, run_dir=tmp_path)
    assert first.metrics["cells"] == 6
    put(
        tmp_path / "checkpoints", cells_of({**more, "budgets": [1e11]}, read_text(str(text)))
    )  # nothing is left to train
    done = run(SWEEP, more, run_dir=tmp_path)
    assert done.status == "ok", done.error
    assert done.metrics["cells"] == 9
    assert done.metrics["runs"][:6] == first.metrics["runs"]


def test_the_plan_says_what_it_costs_and_what_the_result_depends_on(text: Path) -> None:
    one, two = SWEEP.plan(micro(text)), SWEEP.plan(micro(text, workers=2))
    assert one.config == two.config
    assert one.flops == pytest.approx(1.6e10, rel=0.01)
    assert 0 < two.seconds <= one.seconds < 120
    assert 1e8 < one.memory_bytes < 1e9
    assert 4e5 < one.disk_bytes < 1e7
    assert one.config != SWEEP.plan(micro(text, budgets=[3e9])).config


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"budgets": [1e6]}, "/budgets: 1e\\+06 FLOPs are less than one step"),
        ({"budgets": []}, "/budgets: \\[\\] is not a list of numbers"),
        ({"budgets": "1e9"}, "/budgets: '1e9' is not a list of numbers"),
        ({"budgets": [1e9, -1]}, "/budgets/1: -1 is not a positive, finite number"),
        ({"budgets": [float("inf")]}, "/budgets/0: inf is not a positive, finite number"),
        ({"sizes": [0]}, "/sizes/0: 0 is not a positive, finite number"),
        ({"sizes": [True]}, "/sizes/0: True is not a positive, finite number"),
        ({"sizes": [100]}, "/sizes: 100 parameters; the smallest Llama on bytes has about 8,500"),
        ({"budgets": [1e12]}, r"/text: prose.txt has \d+,\d+ bytes .* more than 4 times over"),
        ({"text": "none.txt"}, "/text: none.txt cannot be read"),
        ({"workers": 0}, "/workers: 0 is not a whole number from 1 to 64"),
        ({"seed": -1}, "/seed: -1 is not a whole number from 0 on"),
        ({"seed": "a"}, "/seed: 'a' is not a whole number"),
    ],
)
def test_bad_params_are_refused_before_anything_is_written(
    change: dict[str, Any], words: str, text: Path, tmp_path: Path
) -> None:
    with pytest.raises(InvalidParams, match=words):
        run(SWEEP, {**micro(text), **change}, run_dir=tmp_path / "out")
    assert list((tmp_path / "out").glob("[!.]*")) == []


def test_a_folder_that_cannot_be_written_is_said(text: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JobError, match=r"file/out: cannot be written .* choose another folder"):
        run(SWEEP, micro(text), run_dir=tmp_path / "file" / "out")


@pytest.fixture
def law(tmp_path: Path) -> Path:
    """A fit to runs that follow `LAW`, as `sweep` leaves it."""
    found = fit(made(LAW, budgets=(1e11, 3e11, 1e12), sizes=5, noise=1e-4), bootstrap=20)
    save_fit(found, tmp_path / "law.json")
    return tmp_path / "law.json"


def test_doubling_n_leaves_all_but_one_term(text: Path, law: Path, tmp_path: Path) -> None:
    """Losses by the law itself come back as its 2^-alpha; E and B / D^beta are no smaller at the largest size."""
    params = {"law": str(law), "text": str(text), "tokens": 1e6, "smallest": 10_000, "doublings": 4}
    cells = doubled_cells_of(params, read_text(str(text)))
    sizes = [cell.params for cell in cells]
    assert [large / small for small, large in pairwise(sizes)] == pytest.approx([2] * 4, rel=0.03)
    assert len({cell.tokens for cell in cells}) == 1
    put(tmp_path / "double" / "checkpoints", cells)
    done = run(DOUBLE, params, run_dir=tmp_path / "double")
    assert done.status == "ok", done.error
    figures = done.metrics
    assert figures["predicted_factor"] == pytest.approx(2**-LAW.alpha, rel=0.01)
    assert figures["factor"] == pytest.approx(2**-LAW.alpha, rel=0.02)
    assert abs(figures["mean_error"]) < 2e-3
    for row, cell in zip(figures["rows"], cells, strict=True):
        assert row["perplexity"] == pytest.approx(np.exp(row["loss"]))
        assert row["loss"] - row["term"] == pytest.approx(figures["floor"])
        assert row["predicted"] == pytest.approx(LAW.predict(cell.params, cell.tokens), rel=3e-3)
    assert {Path(artifact.path).name for artifact in done.artifacts} == {"runs.csv", "doubling.json", "doubling.png"}
    assert (tmp_path / "double" / "artifacts" / "doubling.png").read_bytes().startswith(PNG)


def test_losses_below_the_law_s_floor_are_said(text: Path, law: Path, tmp_path: Path) -> None:
    params = {"law": str(law), "text": str(text), "smallest": 10_000, "doublings": 2}
    low = Chinchilla(E=0.2, A=LAW.A, B=LAW.B, alpha=LAW.alpha, beta=LAW.beta)
    put(tmp_path / "double" / "checkpoints", doubled_cells_of(params, read_text(str(text))), low)
    done = run(DOUBLE, params, run_dir=tmp_path / "double")
    assert done.metrics["factor"] is None
    assert any("the law's floor is too high" in warning for warning in done.warnings)


def test_a_law_without_a_floor_cannot_be_doubled_by(text: Path, tmp_path: Path) -> None:
    from agentkit_training.scaling import PUBLISHED

    save_fit(fit(made(PUBLISHED["kaplan"], noise=1e-3), form="kaplan", bootstrap=0), tmp_path / "kaplan.json")
    for change, words in (
        ({"law": str(tmp_path / "kaplan.json")}, "/law: the kaplan form has no irreducible loss"),
        ({}, "/law: is missing"),
    ):
        with pytest.raises(InvalidParams, match=words):
            DOUBLE.plan({"text": str(text), **change})
    with pytest.raises(UsageError, match=r"none.json: cannot be read"):
        DOUBLE.plan({"text": str(text), "law": str(tmp_path / "none.json")})


@pytest.fixture
def said(capfd: pytest.CaptureFixture[str]) -> Any:
    """Run `agentkit train scaling` here; return its status, stdout and stderr."""

    def run_it(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["train", "scaling", *words])
        out, err = capfd.readouterr()
        return int(ended.value.code or 0), out, err

    return run_it


def test_the_commands_print_what_was_found(text: Path, tmp_path: Path, said: Any, agentkit_home: Path) -> None:
    grid = {"text": str(text), "budgets": [1e10, 3e10, 1e11], "sizes": [9_000, 20_000, 45_000]}
    jobs = _jobs_folder()
    put(jobs / "scaling-sweep" / "checkpoints", cells_of(grid, read_text(str(text))), noise=0.002)
    words = ("sweep", "--budgets", "1e10,3e10,1e11", "--sizes", "9K,20K,45K", "--text", str(text))
    code, out, err = said(*words)
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0].split() == ["FLOPs", "params", "tokens", "epochs", "steps", "loss", "perplexity"]
    assert [line.split()[0] for line in lines if line.startswith(("E ", "A ", "B ", "alpha", "beta"))] == [
        "E",
        "A",
        "B",
        "alpha",
        "beta",
    ]
    assert "warning: these are models of bytes with" in err
    assert f"wrote {jobs / 'scaling-sweep' / 'artifacts' / 'runs.csv'}" in err
    code, out, err = said(*words, "--json")
    assert code == 0
    data = json.loads(out)["data"]
    assert (data["status"], len(data["runs"])) == ("ok", 9)
    put(
        jobs / "scaling-double" / "checkpoints",
        doubled_cells_of({"smallest": 10_000, "doublings": 3, "tokens": 2e5}, read_text(str(text))),
    )
    code, out, err = said("double", "--text", str(text), "--smallest", "10K", "--doublings", "3", "--tokens", "200K")
    assert code == 0, err
    assert len(out.splitlines()) == 1 + 4 + 3
    assert "predicted" in out


def _jobs_folder() -> Path:
    from agentkit import config

    return config.data_dir() / "jobs"


def test_a_plan_trains_nothing(text: Path, tmp_path: Path, said: Any) -> None:
    words = (
        "sweep",
        "--budgets",
        "1e10",
        "--sizes",
        "9K",
        "--text",
        str(text),
        "--out",
        str(tmp_path / "out"),
        "--plan",
    )
    code, out, err = said(*words)
    assert (code, err) == (0, "")
    assert "1e+10 FLOPs" in out
    assert json.loads(said(*words, "--json")[1])["data"]["config"]["cells"]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("double",), "there is no law to check yet; run `agentkit train scaling sweep` first"),
        (("sweep", "--sizes", "0"), "/sizes/0: 0.0 is not a positive"),
        (("sweep", "--budgets", "much"), "'much' is not a number"),
    ],
)
def test_commands_refuse_what_they_cannot_do(words: tuple[str, ...], message: str, said: Any, text: Path) -> None:
    code, out, err = said(*words, "--text", str(text))
    assert (code, out) == (2, "")
    assert message in err
