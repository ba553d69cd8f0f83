"""Files: inside the workspace, whole or not at all."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agentkit.protocols import Tool
from agentkit.tools import run_call
from agentkit.tools.convert import bare_context
from agentkit.types import Done, Failed, ToolCall
from agentkit_basics.files import list_files, read_file, replace_file, search_files, write_file


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    (folder / "data").mkdir(parents=True)
    (folder / "numbers.txt").write_text("3\n4\n5\n")
    (folder / "data" / "values.csv").write_text("amount\n1.5\n")
    (tmp_path / "secret.txt").write_text("secret")
    return folder


def run(what: Tool, workspace: Path, results: tuple[str, ...] = (), settings: Any = None, **arguments: Any) -> Any:
    context = replace(bare_context(workspace), results=results, settings=settings or {})
    return run_call(what, ToolCall(id="1", tool=what.name, arguments=arguments), context)


def test_a_file_is_read(workspace: Path) -> None:
    assert run(read_file, workspace, path="numbers.txt") == Done(text="3\n4\n5\n")
    assert run(read_file, workspace, path="./data/../data/values.csv").text == "amount\n1.5\n"
    assert run(read_file, workspace, path=str(workspace / "numbers.txt")).text == "3\n4\n5\n"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\xef\xbb\xbfmarked \xe2\x82\xac", "marked €"),
        ("wide".encode("utf-16"), "wide"),
        (b"latin \xe9", "latin \ufffd"),
        (b"", "(the file is empty)"),
    ],
)
def test_encodings(workspace: Path, data: bytes, text: str) -> None:
    (workspace / "a").write_bytes(data)
    assert run(read_file, workspace, path="a").text == text


def test_binary_is_described(workspace: Path) -> None:
    (workspace / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(1000))
    assert run(read_file, workspace, path="a.png").text.startswith("[binary data: a PNG image, 1,008 bytes")


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("../secret.txt", "outside the workspace"),
        ("/etc/passwd", "outside the workspace"),
        ("data/../../secret.txt", "outside the workspace"),
        ("~/x", "outside the workspace"),
        ("link.txt", "outside the workspace"),
        ("linked/secret.txt", "outside the workspace"),
        ("loop", "cannot be"),
        ("data", "is a folder"),
        ("pipe", "a device or a pipe"),
        ("number.txt", "did you mean 'numbers.txt'?"),
        ("values.csv", "did you mean 'data/values.csv'?"),
        ("nothing-like-it", "list the files"),
        ("numbers.txt/x", "there is no file"),
        ("", "is empty"),
        ("a\x00b", "NUL"),
        ("x" * 5_000, "cannot be"),
    ],
)
def test_paths_that_are_refused(workspace: Path, path: str, why: str) -> None:
    (workspace / "link.txt").symlink_to(workspace.parent / "secret.txt")
    (workspace / "linked").symlink_to(workspace.parent)
    (workspace / "loop").symlink_to(workspace / "loop")
    os.mkfifo(workspace / "pipe")
    outcome = run(read_file, workspace, path=path)
    assert isinstance(outcome, Failed)
    assert why in outcome.text
    assert "secret\n" not in outcome.text
    assert len(outcome.text) < 400


def test_a_link_that_stays_inside_is_followed(workspace: Path) -> None:
    (workspace / "same.txt").symlink_to(workspace / "numbers.txt")
    assert run(read_file, workspace, path="same.txt").text == "3\n4\n5\n"


def test_devices_are_refused(workspace: Path) -> None:
    outcome = run(read_file, Path("/dev"), path="zero")
    assert outcome == Failed(text="'zero' is a device or a pipe, not a file, so it is not read")


def test_sizes_are_limited(workspace: Path) -> None:
    settings = {"max_file_bytes": 5}
    assert "at most 5" in run(read_file, workspace, path="numbers.txt", settings=settings).text
    assert "at most 5" in run(write_file, workspace, path="b.txt", content="123456", settings=settings).text
    assert not (workspace / "b.txt").exists()
    (workspace / "long.txt").write_text("line\n" * 100_000)
    assert len(run(read_file, workspace, path="long.txt").text) <= 100_000


def test_a_file_is_written(workspace: Path) -> None:
    outcome = run(write_file, workspace, path="new/deep/a.txt", content="hé\n")
    target = workspace / "new" / "deep" / "a.txt"
    digest = hashlib.sha256("hé\n".encode()).hexdigest()
    assert outcome == Done(
        text="wrote 4 bytes to new/deep/a.txt",
        data={"sha256": digest, "bytes": 4},
        artifacts=(str(target),),
        state={"file:new/deep/a.txt": digest},
    )
    assert target.read_text(encoding="utf-8") == "hé\n"
    assert [path.name for path in target.parent.iterdir()] == ["a.txt"]  # nothing left over


def test_a_result_is_written_by_reference(workspace: Path) -> None:
    run(write_file, workspace, ("the text",), path="a.txt", content="$1")
    assert (workspace / "a.txt").read_text() == "the text"


def test_replacing_keeps_the_mode_and_is_repeatable(workspace: Path) -> None:
    target = workspace / "run.sh"
    target.write_text("old")
    target.chmod(0o750)
    for _ in range(2):
        assert isinstance(run(write_file, workspace, path="run.sh", content="new"), Done)
        assert target.read_text() == "new"
        assert stat.S_IMODE(target.stat().st_mode) == 0o750


def test_a_write_that_fails_changes_nothing(workspace: Path) -> None:
    target = workspace / "numbers.txt"
    with pytest.raises(TypeError):
        replace_file(target, "not bytes")  # type: ignore[arg-type]
    assert target.read_text() == "3\n4\n5\n"
    assert sorted(path.name for path in workspace.iterdir()) == ["data", "numbers.txt"]


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("../out.txt", "outside the workspace"),
        ("linked/out.txt", "outside the workspace"),
        ("link.txt", "outside the workspace"),
        ("data", "is a folder"),
        ("numbers.txt/a", "cannot be written"),
        ("pipe", "no ordinary file"),
    ],
)
def test_writes_that_are_refused(workspace: Path, path: str, why: str) -> None:
    (workspace / "linked").symlink_to(workspace.parent)
    (workspace / "link.txt").symlink_to(workspace.parent / "secret.txt")
    os.mkfifo(workspace / "pipe")
    outcome = run(write_file, workspace, path=path, content="x")
    assert isinstance(outcome, Failed)
    assert why in outcome.text
    assert (workspace.parent / "secret.txt").read_text() == "secret"
    assert not (workspace.parent / "out.txt").exists()


@pytest.mark.parametrize(
    "path", ["report.md", "./report.md", "inner/new.txt", "inner/../report.md", "{workspace}/report.md"]
)
def test_a_write_goes_through_no_link(workspace: Path, path: str) -> None:
    (workspace / ".hooks").mkdir()
    (workspace / "report.md").symlink_to(".hooks/run")
    (workspace / "inner").symlink_to("data", target_is_directory=True)
    before = sorted(workspace.rglob("*"))
    given = path.format(workspace=workspace)
    outcome = run(write_file, workspace, path=given, content="x")
    assert isinstance(outcome, Failed)
    assert "must be named itself" in outcome.text
    assert isinstance(write_file.predict({"path": given, "content": "x"}, bare_context(workspace)), Failed)
    assert sorted(workspace.rglob("*")) == before


def test_but_the_workspace_itself_may_be_reached_through_one(workspace: Path, tmp_path: Path) -> None:
    way = tmp_path / "way"
    way.symlink_to(workspace)
    assert isinstance(run(write_file, way, path="new.txt", content="x"), Done)
    assert isinstance(run(write_file, way, path=str(way / "newer.txt"), content="x"), Done)
    assert (workspace / "newer.txt").read_text() == "x"


def test_a_write_can_be_predicted(workspace: Path) -> None:
    assert write_file.predict is not None
    outcome = write_file.predict({"path": "numbers.txt", "content": "abc"}, bare_context(workspace))
    assert outcome == Done(text="would replace numbers.txt with 3 characters")
    assert (workspace / "numbers.txt").read_text() == "3\n4\n5\n"


def test_files_are_listed(workspace: Path) -> None:
    assert run(list_files, workspace) == Done(text="data/\nnumbers.txt", data=["data/", "numbers.txt"])
    assert run(list_files, workspace, path="data").text == "values.csv"
    (workspace / "empty").mkdir()
    assert run(list_files, workspace, path="empty").text == "(the folder is empty)"
    assert run(list_files, workspace, settings={"max_list": 1}).text == "data/\n(and 2 more)"
    assert "did you mean 'data'?" in run(list_files, workspace, path="dat").text
    assert "is a file" in run(list_files, workspace, path="numbers.txt").text
    assert "outside" in run(list_files, workspace, path="..").text


def test_files_are_searched(workspace: Path) -> None:
    (workspace / "a.txt").write_text("one\nTwo words\n")
    (workspace / "data" / "b.txt").write_text("two\n")
    (workspace / "bin").write_bytes(b"two\x00two")
    (workspace / "outside").symlink_to(workspace.parent)
    (workspace.parent / "two.txt").write_text("two")
    outcome = run(search_files, workspace, query="TWO")
    assert outcome.text == "a.txt:2: Two words\ndata/b.txt:1: two"
    assert run(search_files, workspace, query="two", path="data").text == "data/b.txt:1: two"
    assert run(search_files, workspace, query="words", path="a.txt").text == "a.txt:2: Two words"
    assert "is in none of" in run(search_files, workspace, query="absent").text
    assert "there may be more" in run(search_files, workspace, query="two", settings={"max_matches": 1}).text
    assert run(search_files, workspace, query=" ").kind == "invalid"
    assert "outside" in run(search_files, workspace, query="two", path="outside").text
    assert "there is no" in run(search_files, workspace, query="two", path="nowhere").text
