"""`agentkit train scaling`: what is printed, what is written, and how failures read."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agentkit.cli import main
from agentkit_training.scaling import PUBLISHED, allocate, fit, predict, read_runs
from agentkit_training.scaling.plots import budgets_of
from tests.plugins.scaling_runs import BUDGETS, made

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with `runs.csv`."""
    monkeypatch.chdir(tmp_path)
    rows = [f"{run.params!r},{run.tokens!r},{run.loss!r}" for run in made(PUBLISHED["epoch"], noise=0.003)]
    (tmp_path / "runs.csv").write_text("params,tokens,loss\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return tmp_path / "runs.csv"


@pytest.fixture
def said(capfd: pytest.CaptureFixture[str]) -> Any:
    """Run `agentkit train scaling` here; return its status, stdout and stderr."""

    def run(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["train", "scaling", *words])
        out, err = capfd.readouterr()
        return int(ended.value.code or 0), out, err

    return run


def test_fit_prints_a_table_and_writes_files(runs: Path, said: Any) -> None:
    code, out, err = said(
        "fit", "runs.csv", "--bootstrap", "20", "--out", "fit.json", "--plot", "fit.png", "--isoflop", "isoflop.png"
    )
    assert code == 0
    head, *lines = out.splitlines()
    assert head.split("  ")[0] == "constant"
    assert [line.split()[0] for line in lines[:5]] == ["E", "A", "B", "alpha", "beta"]
    assert "extrapolation        to 10 times the compute" in out
    assert err.splitlines() == ["wrote fit.json", "wrote fit.png", "wrote isoflop.png"]
    for name in ("fit.png", "isoflop.png"):
        drawn = runs.with_name(name).read_bytes()
        assert drawn.startswith(PNG)
        assert len(drawn) > 10_000  # not an empty frame


def test_fit_as_json_is_the_fit(runs: Path, said: Any) -> None:
    code, out, err = said("fit", "runs.csv", "--bootstrap", "20", "--seed", "3", "--drop-outliers", "2", "--json")
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert document["command"] == "train scaling fit"
    found = fit(read_runs(runs), bootstrap=20, seed=3, drop_outliers=2)
    data = document["data"]
    assert {name: item["value"] for name, item in data["constants"].items()} == found.law.constants()
    assert data["covariance"] == found.covariance()
    assert [row["residual"] for row in data["runs"]] == list(found.residuals)
    assert len(data["dropped"]) == 2


def test_a_fit_can_be_used_from_its_file(runs: Path, said: Any) -> None:
    said("fit", "runs.csv", "--bootstrap", "20", "--out", "fit.json")
    found = fit(read_runs(runs), bootstrap=20)
    data = json.loads(said("predict", "1B", "2e10", "--law", "fit.json", "--json")[1])["data"]
    expected = predict(found, 1e9, 2e10)
    assert (data["loss"], tuple(data["interval"])) == (expected.loss, expected.interval)
    code, out, err = said("allocate", "1e21", "5.76e23", "--law", "fit.json")
    assert code == 0
    assert len(out.splitlines()) == 3
    assert "params 95" in out
    assert err.startswith("warning: C = 5.76e+23 is 57.6 times outside")


def test_predict_with_a_published_law(runs: Path, said: Any) -> None:
    code, out, _ = said("predict", "6.34B", "242B", "--unique-tokens", "25b", "--law", "muennighoff", "--plot", "p.png")
    assert code == 0
    assert out.splitlines()[1].split() == ["6.34e+09", "2.42e+11", "2.5e+10", "2.22564", "-"]
    assert runs.with_name("p.png").read_bytes().startswith(PNG)


def test_allocate_with_a_published_law(runs: Path, said: Any) -> None:
    code, out, _ = said("allocate", "5.76e23", "--json", "--plot", "a.png")
    assert code == 0
    (row,) = json.loads(out)["data"]
    best = allocate(5.76e23, law=PUBLISHED["epoch"])
    assert (row["params"], row["tokens"], row["loss"]) == (best.params, best.tokens, best.loss)
    assert row["tokens_per_param"] == best.tokens_per_param
    assert runs.with_name("a.png").read_bytes().startswith(PNG)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("fit", "none.csv"), "none.csv: cannot be read"),
        (("fit", "runs.csv", "--form", "data_constrained"), "no run repeats tokens"),
        (("fit", "runs.csv", "--out", "no/fit.json", "--bootstrap", "0"), "no/fit.json: cannot be written"),
        (("fit", "runs.csv", "--plot", "no/fit.png", "--bootstrap", "0"), "no/fit.png: cannot be written"),
        (("predict", "70B", "many"), "'many' is not a number; write 70e9 or 70B"),
        (("predict", "0", "1e9"), "params is 0"),
        (("predict", "1e9", "1e9", "--law", "chinchilla"), "no published law 'chinchilla'"),
        (("allocate", "1e9", "--law", "runs.csv"), "runs.csv: is not JSON"),
        (("allocate", "nan"), "flops is nan"),
        (("allocate", "1e21", "--unique-tokens", "1B"), "says nothing of repeated tokens"),
    ],
)
def test_failures_are_one_line_and_one_document(runs: Path, said: Any, words: tuple[str, ...], expected: str) -> None:
    code, out, err = said(*words, "--json")
    assert code == 2
    assert err.startswith("agentkit: ")
    assert expected in err
    assert len(err.splitlines()) == 1
    assert json.loads(out)["command"] == f"train scaling {words[0]}"


def test_help_needs_no_library_of_the_extra() -> None:
    code = (
        "import sys; from agentkit_training.commands import train\n"
        "print(sorted({'numpy', 'scipy', 'torch', 'matplotlib'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("module", "words"), [("scipy", ("fit", "runs.csv")), ("matplotlib", ("allocate", "1e21", "--plot", "a.png"))]
)
def test_a_missing_library_is_named_with_how_to_install_it(
    runs: Path, said: Any, monkeypatch: pytest.MonkeyPatch, module: str, words: tuple[str, ...]
) -> None:
    monkeypatch.setattr("agentkit_training.scaling.fitting.find_spec", lambda name: None)
    monkeypatch.setattr("agentkit_training.scaling.plots.find_spec", lambda name: None)
    code, _, err = said(*words)
    assert code == 3
    assert module in err
    assert "pip install 'agentkit-local[train]'" in err


def test_published_laws_need_neither_scipy_nor_matplotlib() -> None:
    code = (
        "import sys; from agentkit_training.scaling import PUBLISHED, allocate\n"
        "allocate(1e22, law=PUBLISHED['muennighoff'], unique_tokens=25e9)\n"
        "print(sorted({'scipy', 'torch', 'matplotlib'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_budgets_of_runs() -> None:
    runs = made(PUBLISHED["epoch"])
    assert budgets_of(runs) == pytest.approx(BUDGETS)
    spread = made(PUBLISHED["epoch"], budgets=tuple(10.0**power for power in range(10, 30)))
    assert budgets_of(spread) == pytest.approx([10 ** (10 + 19 * n / 7) for n in range(8)])
