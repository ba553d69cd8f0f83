"""The commands that list and show, over what a scripted run left."""

import json
import sqlite3
import xml.etree.ElementTree as ET

import pytest


def call(tool: str, **arguments: object) -> dict[str, object]:
    return {"call": {"tool": tool, "arguments": arguments}}


@pytest.fixture
def run(agentkit, script):
    model = script(call("calculator", expression="2+2"), {"final": "four"})
    return agentkit("run", "two and two?", "--json", "-m", model).document["data"]


def test_runs(agentkit, run) -> None:
    rows = agentkit("runs", "list", "--json").document["data"]
    assert [(row["run_id"], row["stop_reason"], row["task"]) for row in rows] == [
        (run["run_id"], "done", "two and two?")
    ]
    assert run["run_id"] in agentkit("runs").out
    shown = agentkit("runs", "show", run["run_id"][:6]).out
    assert 'calculator(expression="2+2")' in shown
    assert shown.endswith("four\n")
    record = agentkit("runs", "export", run["run_id"]).document["data"]
    assert [event["type"] for event in record["events"]][-1] == "run_ended"
    assert [effect["state"] for effect in record["effects"]] == ["done"]
    assert agentkit("runs", "export", run["run_id"], "-o", "run.json").out == ""
    assert json.loads((agentkit.work / "run.json").read_text())["data"] == record


def test_threads(agentkit, run) -> None:
    assert agentkit("threads", "--json").document["data"][0]["thread_id"] == run["thread_id"]
    assert agentkit("threads", "show", run["thread_id"]).out == "> two and two?\nfour\n\n"
    assert agentkit("threads", "rm", run["thread_id"], "--json").document["data"] == {run["thread_id"]: 1}
    assert agentkit("threads", "--json").document["data"] == []
    assert agentkit("runs", "--json").document["data"] == []


def test_tools(agentkit) -> None:
    names = [row["name"] for row in agentkit("tools", "--json").document["data"]]
    assert {"calculator", "read_file", "run_command"} <= set(names)
    assert "calculator" in agentkit("tools").out
    shown = agentkit("tools", "show", "calculator").out
    assert "expression: string" in shown
    assert agentkit("tools", "show", "calculator", "--json").document["data"]["rules"]["effect"] == "pure"


def test_models(agentkit) -> None:
    rows = {row["name"]: row for row in agentkit("models", "--json").document["data"]}
    assert "sprout" in rows
    assert any(name.startswith("hf:") for name in rows)


def test_models_info_says_what_it_takes_and_whether_it_fits(agentkit) -> None:
    data = agentkit("models", "info", "sprout", "--json").document["data"]
    assert data["memory_bytes"] == data["weight_bytes"] + data["cache_bytes"] + data["buffer_bytes"]
    assert (data["fits"], data["context"], data["largest_context"]) == ("yes", 4096, 4096)
    assert data["free_bytes"] > data["memory_bytes"]
    env = {"AGENTKIT_ENGINE__CONTEXT": "2048"}
    smaller = agentkit("models", "info", "sprout", "--json", env=env).document["data"]
    assert (smaller["context"], smaller["cache_bytes"]) == (2048, data["cache_bytes"] // 2)
    shown = agentkit("models", "info").out
    assert "fits               yes\n" in shown
    assert "largest context    4096\n" in shown
    assert "advice" not in shown


def test_plugins_show_a_broken_one_and_strict_tells(agentkit) -> None:
    site = agentkit.home / "site"
    info = site / "sorry-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sorry\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[agentkit.plugins]\nsorry = sorry_module\n\n[agentkit.commands]\nsorry = sorry_module\n"
    )
    (site / "sorry_module.py").write_text("raise SystemExit('not today')\n")
    env = {"PYTHONPATH": str(site), "AGENTKIT_EXTENSIONS__ONLY": "basics,sorry"}
    ran = agentkit("plugins", "--json", env=env)
    broken = [row for row in ran.document["data"] if row["distribution"] == "sorry 1.0"]
    assert ran.code == 0
    assert [row["status"] for row in broken] == ["broken", "broken"]
    assert all("not today" in row["detail"] for row in broken)
    assert agentkit("plugins", "--strict", env=env).code == 3
    assert "\n  sorry " in agentkit("--help", env=env).out
    assert "sorry 1.0" in agentkit("sorry", env=env).one_line()
    ran = agentkit("tools", "--json", env=env)  # it harms no other
    assert "calculator" in [row["name"] for row in ran.document["data"]]
    assert "sorry 1.0" in ran.one_line()


def test_config(agentkit) -> None:
    (agentkit.work / "agentkit.toml").write_text("[run]\nmax_turns = 7\n")
    rows = {row["key"]: row for row in agentkit("config", "show", "--origin", "--json").document["data"]}
    assert rows["run.max_turns"]["value"] == 7
    assert rows["run.max_turns"]["origin"].endswith("agentkit.toml")
    assert rows["engine.seed"]["origin"] == "default"
    env = {"AGENTKIT_MAX_TURNS": "9"}
    assert agentkit("config", "get", "run.max_turns", env=env).out == "9\n"
    assert "env AGENTKIT_MAX_TURNS" in agentkit("config", "--origin", env=env).out
    paths = {row["what"]: row for row in agentkit("config", "path", "--json").document["data"]}
    assert paths["project file"]["there"]


def test_db(agentkit, run) -> None:
    path = agentkit("db").out.strip()
    assert path == str(agentkit.home / "agentkit.db")
    assert agentkit("db", "backup", "copy.db").code == 0
    with sqlite3.connect(agentkit.work / "copy.db") as copy:
        assert copy.execute("SELECT run_id FROM runs").fetchall() == [(run["run_id"],)]
    copy.close()
    assert agentkit("db", "backup", "copy.db").code == 2  # never overwritten
    planned = agentkit("db", "backup", "other.db", "--dry-run", "--json").document["data"]
    assert (planned["dry_run"], (agentkit.work / "other.db").exists()) == (True, False)
    planned = agentkit("db", "prune", "--older-than", "0h", "--dry-run", "--json").document["data"]
    assert planned == {"runs": 1, "bytes_freed": 0, "dry_run": True}
    assert agentkit("db", "path", "--json").document["data"]["bytes"] > 0
    assert agentkit("db", "prune", "--older-than", "1h", "--json").document["data"]["runs"] == 0
    assert agentkit("db", "prune", "--older-than", "0h", "--json").document["data"]["runs"] == 1


def test_graph(agentkit) -> None:
    mermaid = agentkit("graph").out
    for name in ("prepare", "plan", "review", "act", "observe", "answer"):
        assert name in mermaid
    assert "prepare" in mermaid
    assert agentkit("graph", "--svg", "machine.svg").code == 0
    texts = [
        node.text for node in ET.parse(agentkit.work / "machine.svg").getroot().iter("{http://www.w3.org/2000/svg}text")
    ]
    assert {"START", "prepare", "plan", "review", "act", "observe", "answer", "END"} == set(texts)
    edges = agentkit("graph", "--json").document["data"]["edges"]
    assert {"source": "observe", "target": "prepare", "conditional": True} in edges
    assert {"source": "review", "target": "act", "conditional": False} in edges


def test_doctor(agentkit, script) -> None:
    ran = agentkit("doctor", "--no-load", "--json", env={"AGENTKIT_MODEL": script({"final": "x"})})
    found = ran.document["data"]
    checks = {finding["check"]: finding["status"] for finding in found["findings"]}
    assert ran.code == 0, found
    assert {"python", "packages", "machine", "llama.cpp", "model", "database", "terminal"} <= set(checks)
    assert found["builds"]["cuda"].startswith('CMAKE_ARGS="-DGGML_CUDA=on" pip install ')
    assert set(found["builds"]) == {"cuda", "metal", "vulkan"}


def test_doctor_says_that_a_model_does_not_fit_and_does_not_load_it(agentkit) -> None:
    found = {finding["check"]: finding for finding in agentkit("doctor", "--json").document["data"]["findings"]}
    assert found["fits"]["status"] == "ok"
    assert "with a context of 4096 tokens" in found["fits"]["text"]
    ran = agentkit("doctor", "--json", env={"AGENTKIT_ENGINE__CONTEXT": "2000000000"})
    found = {finding["check"]: finding for finding in ran.document["data"]["findings"]}
    assert ran.code == 3
    assert (found["model"]["status"], found["fits"]["status"]) == ("ok", "fail")
    assert "set engine.context to at most 4096" in found["fits"]["text"]


def test_doctor_finds_a_broken_model_and_goes_on(agentkit) -> None:
    (agentkit.work / "empty.gguf").write_bytes(b"")
    ran = agentkit("doctor", "--json", env={"AGENTKIT_MODEL": "empty.gguf"})
    found = {finding["check"]: finding for finding in ran.document["data"]["findings"]}
    assert ran.code == 3
    assert found["model"]["status"] == "fail"
    assert "empty.gguf" in found["model"]["text"]
    assert found["database"]["status"] == "ok"
