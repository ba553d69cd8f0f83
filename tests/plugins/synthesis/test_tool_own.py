"""Traces for the user's own tools: loading, drawing, really running, and what goes wrong, typed."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from agentkit import jobs
from agentkit.errors import InvalidParams, JobError
from agentkit_synthesis.dataset.looking import row as row_again
from agentkit_synthesis.dataset.rows import Rejected
from agentkit_synthesis.tools_command import tools as command
from agentkit_synthesis.tooluse.jobs import SOURCE, TOOLS
from agentkit_synthesis.tooluse.own import running
from agentkit_synthesis.tooluse.own.loading import load
from agentkit_synthesis.tooluse.params import ToolsParams
from agentkit_synthesis.tooluse.source import make, verify

FILE = str(Path(__file__).with_name("own_tools.py"))
GOOD = "convert,shipping_cost,price,reckon,shout"


def options(source: str, **more: Any) -> dict[str, Any]:
    return ToolsParams.parse({"out": "x", "source": source, **more}).options


def made(source: str, count: int, **more: Any) -> list[Mapping[str, Any]]:
    told = options(source, **more)
    found = (make(told, 3, index) for index in range(count))
    return [one for one in found if not isinstance(one, Rejected)]


def lines(folder: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line) for name in ("train", "test") for line in (folder / f"{name}.jsonl").read_text().splitlines()
    ]


@pytest.fixture(scope="module")
def rows() -> list[Mapping[str, Any]]:
    return made(f"{FILE}:{GOOD}", 160)


class TestLoading:
    """From text to tools."""

    def test_a_file_gives_its_tools_and_says_what_it_leaves_out(self) -> None:
        found = load(FILE)
        assert {"convert", "shipping_cost", "price", "save", "shout"} <= {tool.name for tool in found.tools}
        assert any(one.startswith("untyped: ") for one in found.skipped)
        assert len(found.sha256) == 64

    def test_names_choose_in_order(self) -> None:
        assert [tool.name for tool in load(f"{FILE}:shout,convert").tools] == ["shout", "convert"]

    def test_a_module_that_can_be_imported(self) -> None:
        assert [tool.name for tool in load("agentkit_basics.calculator:calculator").tools] == ["calculator"]

    def test_installed_tools_and_plugins_by_name(self) -> None:
        assert [tool.name for tool in load("calculator,read_file").tools] == ["calculator", "read_file"]
        assert "calculator" in {tool.name for tool in load("basics").tools}

    @pytest.mark.parametrize(
        ("source", "said"),
        [
            ("no_such_thing", "no module, plugin or installed tool called 'no_such_thing'"),
            ("calculater", "did you mean 'calculator'?"),
            ("none/here.py", "there is no file none/here.py"),
            (f"{FILE}:convrt", "has no tool 'convrt'; did you mean 'convert'?"),
            (f"{FILE}:untyped", "parameter 'x' has no type"),
            ("string", "string has no tools"),
        ],
    )
    def test_what_cannot_be_found_is_said(self, source: str, said: str) -> None:
        with pytest.raises(InvalidParams) as refused:
            load(source)
        assert str(refused.value).startswith("/source: ")
        assert said in str(refused.value)

    @pytest.mark.parametrize(("text", "said"), [("import nothing_at_all", "nothing_at_all"), ("1/0", "ZeroDivisionError"), ("x = (", "SyntaxError"), ("raise SystemExit(3)", "SystemExit")])  # fmt: skip
    def test_a_file_that_does_not_import_says_why(self, text: str, said: str, tmp_path: Path) -> None:
        path = tmp_path / "broken.py"
        path.write_text(text)
        with pytest.raises(InvalidParams, match=said):
            load(str(path))


class TestRows:
    """What is made."""

    def test_all_verify_and_all_families_are_there(self, rows: list[Mapping[str, Any]]) -> None:
        assert len(rows) > 150
        assert {row["family"] for row in rows} == {"single", "multi_step", "parallel", "ask", "decline", "recovery"}
        assert [problem for row in rows for problem in verify(json.loads(json.dumps(row)))] == []

    def test_every_value_of_a_call_stands_in_what_was_said(self, rows: list[Mapping[str, Any]]) -> None:
        for row in rows:
            said = "\n".join(one["content"] for one in row["messages"] if one["role"] == "user")
            for function in row["goal"]["calls"]:
                if function["name"] == "reckon":  # said in words
                    continue
                for value in function["arguments"].values():
                    for one in value if isinstance(value, list) else [value]:
                        assert isinstance(one, bool) or str(one).casefold() in said.casefold(), row["id"]

    def test_failing_calls_are_reported_and_are_no_more_than_their_share(self, rows: list[Mapping[str, Any]]) -> None:
        failing = [row for row in rows if any(one.get("status") == "error" for one in row["messages"])]
        assert {row["family"] for row in failing} == {"recovery"}
        assert 0 < len(failing) / len(rows) < 0.25

    def test_sums_are_drawn_where_examples_are_sums(self, rows: list[Mapping[str, Any]]) -> None:
        terms = [
            function["arguments"]["term"]
            for row in rows
            for function in row["goal"]["calls"]
            if function["name"] == "reckon"
        ]
        assert len(set(terms)) > 15
        assert all(any(sign in term for sign in "+-*/%(^") for term in terms)

    def test_a_wrong_argument_is_noticed(self, rows: list[Mapping[str, Any]]) -> None:
        noticed = tried = 0
        for row in rows:
            if row["family"] != "single":
                continue
            other = json.loads(json.dumps(row))
            function = next(one for message in other["messages"] for one in message.get("tool_calls", ()))["function"]
            name, value = next(iter(function["arguments"].items()))
            function["arguments"][name] = value + 1 if isinstance(value, int | float) else f"{value}x"
            tried += 1
            noticed += bool(verify(other))
        assert tried > 50
        assert noticed == tried

    def test_what_is_lacking_is_asked_for(self, rows: list[Mapping[str, Any]]) -> None:
        for row in rows:
            if row["family"] == "ask":
                assert next(one for one in row["messages"] if one["role"] == "assistant")["kind"] == "ask"

    def test_strangers_stand_beside_and_are_not_called(self, rows: list[Mapping[str, Any]]) -> None:
        own = set(GOOD.split(","))
        assert any({tool["function"]["name"] for tool in row["tools"]} - own for row in rows)
        assert {function["name"] for row in rows for function in row["goal"]["calls"]} <= own

    def test_a_tool_without_arguments_has_problems_in_both_splits(self, tmp_path: Path) -> None:
        path = tmp_path / "one.py"
        path.write_text(
            'from agentkit import tool\n@tool(effect="pure")\ndef motto() -> str:\n    """The motto of the house."""\n    return "so be it"\n'
        )
        assert {row["split"] for row in made(str(path), 80, test_share=0.3)} == {"train", "test"}


class TestEffects:
    """Only what is pure or reads is run, unless allowed."""

    def test_a_dry_run_takes_the_place_of_an_effect(self) -> None:
        rows = made(f"{FILE}:rehearsed", 15)
        told = [one["content"] for row in rows for one in row["messages"] if one["role"] == "tool"]
        assert told
        assert all(text.startswith("would save") for text in told)

    def test_a_tool_that_changes_something_is_named_and_not_run(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(InvalidParams, match=r"save: may change something.*--allow-effects"):
            options(f"{FILE}:save")
        assert options(f"{FILE}:save,convert")["tools"] == ["convert"]
        assert list(tmp_path.iterdir()) == []

    def test_effects_that_are_allowed_take_place_in_a_folder_of_their_own(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        rows = made(f"{FILE}:save", 20, allow_effects=True)
        told = {
            one["content"]
            for row in rows
            for one in row["messages"]
            if one["role"] == "tool" and one.get("status") != "error"
        }
        assert told
        assert all(text.startswith("saved ./") for text in told)  # no name of a temporary folder
        assert list(tmp_path.iterdir()) == []
        assert Path.cwd() == tmp_path


class TestJob:
    """The whole of it."""

    def run(self, folder: Path, **params: Any) -> jobs.JobResult:
        return jobs.run(TOOLS, {"out": str(folder / "out"), "workers": 1, **params}, run_dir=folder / "run")

    def test_invented_tools(self, tmp_path: Path) -> None:
        done = self.run(tmp_path, count=60)
        assert done.status == "ok", done.error
        rows = lines(tmp_path / "out")
        assert len(rows) == 60
        assert all(row["verified"] for row in rows)
        assert row_again(tmp_path / "out", rows[7]["id"]) == rows[7]

    def test_own_tools_with_what_was_left_out(self, tmp_path: Path) -> None:
        done = self.run(tmp_path, count=30, source=f"{FILE}:convert,never,save,undrawable")
        assert done.status == "ok", done.error
        assert {row["world"]["needed"][0] for row in lines(tmp_path / "out") if row["world"]["needed"]} == {"convert"}
        told = "\n".join(done.warnings)
        assert "'never' fails on each of" in told
        assert "save: may change something" in told
        assert "'undrawable' cannot be tried: /properties/code: " in told

    @pytest.mark.slow
    def test_two_workers_make_the_same_bytes_as_one(self, tmp_path: Path) -> None:
        made: list[bytes] = []
        for workers in (1, 2):
            folder = tmp_path / str(workers)
            done = self.run(folder, count=100, source=f"{FILE}:convert,price", workers=workers)
            assert done.status == "ok", done.error
            made.append((folder / "out" / "train.jsonl").read_bytes())
        assert made[0] == made[1]

    def test_a_tool_that_fails_on_everything_is_an_error(self, tmp_path: Path) -> None:
        done = self.run(tmp_path, source=f"{FILE}:never")
        assert done.status == "failed"
        assert "JobError: no row can be verified: 'never' fails on each of" in done.error
        assert "no luck" in done.error

    def test_a_tool_that_hangs_is_an_error(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(running, "_hung", type(running._hung)())
        done = self.run(tmp_path, source=f"{FILE}:sleepy", timeout_s=0.2)
        assert done.status == "failed"
        assert "JobError: 'sleepy' hangs" in done.error
        assert "--timeout-s" in done.error

    def test_a_tool_that_never_says_the_same_is_an_error(self, tmp_path: Path) -> None:
        done = self.run(tmp_path, source=f"{FILE}:ticking", families=["single"])
        assert done.status == "failed"
        assert "gives another result the second time" in done.error

    def test_a_schema_that_nothing_fits_is_refused_before_it_starts(self, tmp_path: Path) -> None:
        with pytest.raises(
            InvalidParams, match=r"'undrawable' cannot be tried: /properties/code: there is no number from 9 to 3"
        ):
            self.run(tmp_path, source=f"{FILE}:undrawable")

    @pytest.mark.parametrize(
        ("params", "said"),
        [
            ({"count": 0}, "/count"),
            ({"allow_effects": True}, "/allow_effects"),
            (
                {"source": f"{FILE}:convert", "families": ["untrusted"]},
                "/families: untrusted is not made for tools of your own",
            ),
            ({"families": ["all"]}, "/families/0"),
            ({"wrong": 1}, "/wrong: no such parameter"),
        ],
    )
    def test_bad_parameters_are_named(self, params: dict[str, Any], said: str, tmp_path: Path) -> None:
        with pytest.raises(InvalidParams) as refused:
            self.run(tmp_path, **params)
        assert said in str(refused.value)

    def test_a_folder_that_exists_is_kept(self, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        with pytest.raises(InvalidParams, match=r"/out: .* exists"):
            self.run(tmp_path)

    def test_cancelled_and_gone_on_is_the_same(self, tmp_path: Path) -> None:
        whole = self.run(tmp_path / "whole", count=40, source="calculator")
        stop = threading.Event()
        stop.set()
        told = {"out": str(tmp_path / "part" / "out"), "workers": 1, "count": 40, "source": "calculator"}
        first = jobs.run(TOOLS, told, run_dir=tmp_path / "part" / "run", cancelled=stop)
        assert first.status in {"cancelled", "ok"}
        second = self.run(tmp_path / "part", count=40, source="calculator")
        assert (whole.status, second.status) == ("ok", "ok")
        assert (tmp_path / "whole/out/train.jsonl").read_bytes() == (tmp_path / "part/out/train.jsonl").read_bytes()


def test_the_command_has_the_options_that_its_help_shows() -> None:
    said = CliRunner().invoke(command, ["--help"]).output
    for option in ("--from NAME", "--family", "--count", "--allow-effects", "--timeout-s", "--plan"):
        assert option in said


def test_the_command_says_what_it_would_do(tmp_path: Path) -> None:
    found = CliRunner().invoke(
        command, [str(tmp_path / "out"), "--from", "calculator", "--count", "500", "--plan", "--json"]
    )
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["data"]["config"]["options"]["tools"] == ["calculator"]
    assert SOURCE == "agentkit_synthesis.tooluse.source:make"


def test_unknown_rows_are_errors_too() -> None:
    with pytest.raises((JobError, KeyError)):
        make({"from": f"{FILE}:convert", "tools": ["nothing"]}, 0, 0)
