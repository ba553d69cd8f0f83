"""A wrong command line: one line that names the mend, and the right status."""

import json

import pytest

from agentkit.cli import _json_format


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "agentkit run"),
        (("chat",), 2, "agentkit run"),
        (("rum", "x"), 2, "did you mean 'run'?"),
        (("What is 15% of 200?",), 2, "agentkit run 'What is 15% of 200?'"),
        (("-m", "sprout"), 2, "after the command"),
        (("run",), 2, "-f FILE"),
        (("run", "-"), 2, "empty"),
        (("run", "  "), 2, "empty"),
        (("run", "x", "--modle", "y"), 2, "did you mean --model?"),
        (("run", "x", "--output-format", "xml"), 2, "'text', 'json', 'stream-json'"),
        (("run", "x", "--max-turns", "0"), 2, "--max-turns"),
        (("run", "x", "-c", "--thread", "y"), 2, "exclude each other"),
        (("run", "x", "--resume", "y"), 2, "leave the new one out"),
        (("run", "x", "-C", "no-such-folder"), 2, "no-such-folder"),
        (("run", "-f", "no-such-file"), 2, "no-such-file"),
        (("run", "x", "--schema", "no-such-file"), 2, "no-such-file"),
        (("run", "x", "--allow-tool", "a", "--deny-tool", "a"), 2, "both allowed and denied"),
        (("run", "x", "-m", "sprot"), 3, "did you mean 'sprout'?"),
        (("run", "x", "-m", "scripted:nowhere.json"), 3, "nowhere.json"),
        (("run", "x", "-T", "calculater"), 2, "did you mean 'calculator'?"),
        (("run", "x", "--deny-tool", "calculater"), 2, "did you mean 'calculator'?"),
        (("models", "info", "nowhere.gguf"), 3, "nowhere.gguf"),
        (("models", "lst"), 2, "did you mean 'list'?"),
        (("tools", "show", "calculater"), 2, "did you mean 'calculator'?"),
        (("config", "get", "engine.modle"), 2, "did you mean 'engine.model'?"),
        (("threads", "show", "nothing"), 2, "agentkit threads list"),
        (("runs", "show", "nothing"), 2, "agentkit runs list"),
        (("run", "--resume", "nothing"), 2, "agentkit runs list"),
        (("approvals", "approve", "nothing"), 2, "agentkit approvals list"),
        (("db", "prune", "--older-than", "soon"), 2, "30d"),
        (("graph", "--svg", "no/such/folder/x.svg"), 2, "cannot be written"),
    ],
)
def test_one_line_with_the_mend(agentkit, words: tuple[str, ...], code: int, said: str) -> None:
    ran = agentkit(*words)
    assert (ran.code, ran.out) == (code, "")
    line = ran.one_line()
    assert line.startswith("agentkit: ")
    assert said in line


@pytest.mark.parametrize("form", [("--json",), ("--output-format", "json"), ("--output-format=json",)])
def test_a_failure_is_one_json_document_too(agentkit, form: tuple[str, ...]) -> None:
    ran = agentkit("run", "x", "-m", "sprot", *form)
    found = ran.document
    assert ran.code == 3
    assert (found["schema_version"], found["command"], found["data"]) == (1, "run", None)
    assert found["error"]["kind"] == "ModelNotFound"
    assert found["error"]["exit_code"] == 3
    assert found["error"]["message"] in ran.one_line()


def test_a_failure_is_an_event_in_a_stream(agentkit) -> None:
    ran = agentkit("run", "x", "-m", "sprot", "--output-format", "stream-json")
    last = json.loads(ran.out.splitlines()[-1])
    assert (last["type"], last["error"]["exit_code"]) == ("error", 3)


def test_lists_fail_in_json_by_their_full_name(agentkit) -> None:
    assert agentkit("threads", "rm", "nothing", "--json").document["command"] == "threads rm"


def test_json_is_not_looked_for_after_two_dashes() -> None:
    assert _json_format(["run", "--", "--json"]) == ""
    assert _json_format(["run", "x", "--output-format", "stream-json"]) == "stream-json"


def test_an_unknown_setting_names_the_nearest(agentkit) -> None:
    (agentkit.home / "config.toml").write_text("[engine]\nctx_size = 3\n")
    for words in (("run", "x"), ("config", "show")):
        ran = agentkit(*words)
        assert ran.code == 3
        assert "engine.context" in ran.one_line() or "did you mean" in ran.one_line()


def test_a_broken_settings_file_is_one_line(agentkit) -> None:
    (agentkit.work / "agentkit.toml").write_text("[engine\n")
    ran = agentkit("run", "x")
    assert ran.code == 3
    assert "agentkit.toml" in ran.one_line()


def test_a_folder_that_cannot_be_written(agentkit, script) -> None:
    (agentkit.home / "file").write_text("in the way")
    ran = agentkit("run", "x", "-m", script({"final": "y"}), env={"AGENTKIT_HOME": str(agentkit.home / "file")})
    assert ran.code == 3
    assert "AGENTKIT_HOME" in ran.one_line()


@pytest.mark.parametrize(
    "content", [b"", b"version https://git-lfs.github.com/spec/v1\n", b"<!DOCTYPE html><html>", b"GGUF\x03\x00\x00"]
)
def test_a_file_that_is_no_model(agentkit, content: bytes) -> None:
    (agentkit.work / "broken.gguf").write_bytes(content)
    ran = agentkit("run", "x", "-m", "broken.gguf")
    assert (ran.code, ran.out) == (3, "")
    assert "broken.gguf" in ran.one_line()
