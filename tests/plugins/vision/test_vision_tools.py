"""Pictures as tools: what a run makes of them, in a workspace with real files; the models stand in, or are tiny ones on disk."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("PIL")
pytest.importorskip("torch")
pytest.importorskip("transformers")

from agentkit import Agent, jobs
from agentkit.approvals import ApprovalRequest
from agentkit.config import PolicySettings, Settings, StoreSettings
from agentkit.engine.dialects.arguments import check_grounded
from agentkit.schema import problems
from agentkit.testing import ScriptedEngine
from agentkit.types import Effect, Step, StepRecord, StopReason, ToolCall
from agentkit_vision import looking, plugin
from agentkit_vision.search.collection import FOLDER
from agentkit_vision.settings import VisionSettings
from agentkit_vision.tools import TOOLS
from tests.plugins.vision import hugging_models as make
from tests.plugins.vision.stand_ins import StandInEncoder, StandInSpeaker, draw


class Bench:
    """An agent on a scripted model, in a home and a workspace of its own."""

    def __init__(self, place: Path) -> None:
        self.home, self.work = place / "home", place / "work"
        self.work.mkdir()
        self.asked: list[ApprovalRequest] = []
        self.settings: dict[str, Any] = {}
        self.hosts: tuple[str, ...] = ()
        self.says = "look"

    def run(self, tool: str, *, allow: bool = True, **arguments: Any) -> StepRecord:
        settings = Settings(
            store=StoreSettings(url=str(self.home / "agentkit.db")),
            policy=PolicySettings(allow_tools=(tool,) if allow else (), allow_hosts=self.hosts),
        )
        call = Step(kind="calls", calls=(ToolCall(id="c0", tool=tool, arguments=arguments),))
        engine = ScriptedEngine([call, Step(kind="final", text="That is all.")])
        tools = [replace(one, settings=self.settings) for one in TOOLS]

        def approve(request: ApprovalRequest) -> bool:
            self.asked.append(request)
            return True

        with Agent(engine, tools, settings=settings, workspace=self.work, approve=approve) as agent:
            done = agent.run(self.says)
        assert done.stop_reason in {StopReason.DONE, StopReason.BLOCKED}
        return done.steps[0]

    def find(self, **arguments: Any) -> StepRecord:
        return self.run("find_images", **{"like": None, "what": None, "k": None, **arguments})


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setenv("AGENTKIT_HOME", str(tmp_path / "home"))
    return Bench(tmp_path)


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> StandInSpeaker:
    """Models that stand in for the embedded ones."""
    speaker, encoder = StandInSpeaker(), StandInEncoder()
    monkeypatch.setattr(looking, "_speaker", lambda name: speaker)
    monkeypatch.setattr(looking, "_encoder", lambda name: encoder)
    return speaker


@pytest.fixture
def shop(bench: Bench) -> Path:
    """Twelve pictures in a folder of the workspace, two of each kind."""
    for n, colour in enumerate(("red", "blue", "green")):
        for kind in ("shoe", "bag"):
            for shade in (0, 10):
                draw(bench.work / "shop" / f"{kind}-{colour}-{shade}.png", colour, kind, shade + n)
    return bench.work / "shop"


def test_a_caption_and_an_answer(bench: Bench, models: StandInSpeaker) -> None:
    draw(bench.work / "photo.png", "red")
    assert bench.run("caption_image", image="photo.png").result == "a red shoe"
    question = "what colour is the shoe"
    assert bench.run("ask_image", image="photo.png", question=question).result == "red"
    assert models.asked == [question]


def test_three_like_a_photo_but_blue(bench: Bench, models: StandInSpeaker, shop: Path) -> None:
    draw(bench.work / "photo.png", "red")
    step = bench.find(like="photo.png", what="find 2 like photo.png but blue", k=2, folder="shop")
    assert step.ok, step.result
    head, first, second = step.result.splitlines()
    assert head == "2 images of 12, like photo.png and 'blue':"
    assert {line.split(": ")[0].split(". ")[1] for line in (first, second)} == {
        "shop/shoe-blue-0.png",
        "shop/shoe-blue-10.png",
    }
    assert "as asked: colour blue" in first
    assert "as in the photo: category shoe" in first


def test_by_words_alone_five_are_found_anywhere_in_the_workspace(
    bench: Bench, models: StandInSpeaker, shop: Path
) -> None:
    step = bench.find(what="green bags")
    lines = step.result.splitlines()
    assert lines[0] == "5 images of 12, 'green bags':"
    assert all("bag-green" in line for line in lines[1:3])


def test_words_that_say_no_more_than_the_photo_say_nothing(bench: Bench, models: StandInSpeaker, shop: Path) -> None:
    photo = "shop/shoe-red-0.png"
    said, named, bare = (bench.find(like=photo, what=words, k=3) for words in ("find 3 like it", photo, None))
    assert said.result == named.result == bare.result
    assert "shoe-red-10" in bare.result.splitlines()[1]
    assert not any(". shop/shoe-red-0.png:" in line for line in bare.result.splitlines()[1:])  # itself is not found


def test_a_read_leaves_the_workspace_as_it_is_and_follows_its_files(
    bench: Bench, models: StandInSpeaker, shop: Path
) -> None:
    before = sorted(bench.work.rglob("*"))
    bench.find(what="red shoe", k=1, folder="shop")
    assert sorted(bench.work.rglob("*")) == before
    for path in shop.glob("*red*"):
        path.unlink()
    draw(shop / "new.png", "red")
    assert "shop/new.png" in bench.find(what="red shoe", k=1, folder="shop").result


def test_a_collection_in_the_folder_is_used(bench: Bench, models: StandInSpeaker, shop: Path) -> None:
    home = shop / FOLDER
    looking.ready(shop.resolve(), home.resolve(), StandInEncoder())
    assert looking.home_of(shop.resolve(), "auto") == home.resolve()
    assert bench.find(what="blue", k=1, folder="shop").ok
    assert not (bench.home / "images").exists()


def test_too_many_new_pictures_are_indexed_by_the_job(bench: Bench, models: StandInSpeaker, shop: Path) -> None:
    bench.settings = {"at_once": 5}
    step = bench.find(what="blue", folder="shop")
    assert not step.ok
    assert "12 pictures that are not indexed yet" in step.result
    assert "call index_images on it first" in step.result


def test_broken_files_are_named_and_the_rest_is_found(bench: Bench, models: StandInSpeaker, shop: Path) -> None:
    (shop / "broken.png").write_text("no picture", encoding="utf-8")
    step = bench.find(what="blue", k=1, folder="shop")
    assert step.ok
    assert "not read: broken.png" in step.result


@pytest.fixture
def server(bench: Bench) -> Iterator[str]:
    """A server on this machine with a red shoe, and the address of its folder."""
    place = bench.work.parent / "served"
    draw(place / "photo.png", "red")
    (place / "text.png").write_text("no picture", encoding="utf-8")
    handler = partial(SimpleHTTPRequestHandler, directory=str(place))
    handler.func.log_message = lambda *_: None  # type: ignore[attr-defined]
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


def test_a_picture_by_address_is_fetched_where_the_user_names_it(
    bench: Bench, models: StandInSpeaker, server: str
) -> None:
    bench.hosts, bench.says = (server.removeprefix("http://"),), f"describe {server}/photo.png and {server}/text.png"
    assert bench.run("caption_image", image=f"{server}/photo.png").result == "a red shoe"
    assert bench.run("fetch_image", url=f"{server}/photo.png").result.startswith("fetched: PNG, 32 x 32 pixels")
    assert not bench.run("caption_image", image=f"{server}/text.png").ok
    assert "404" in bench.run("fetch_image", url=f"{server}/none.png", allow=True).result
    assert list(bench.work.iterdir()) == []


def test_a_private_address_and_one_that_nobody_named_are_refused(
    bench: Bench, models: StandInSpeaker, server: str
) -> None:
    bench.says = f"describe {server}/photo.png"
    private = bench.run("caption_image", image=f"{server}/photo.png")
    assert not private.ok
    assert "127.0.0.1" in private.result
    bench.says = "describe the picture"
    unnamed = bench.run("caption_image", image=f"{server}/photo.png")
    assert "fetch_image was not allowed from inside caption_image" in unnamed.result


def test_what_two_pictures_have_in_common(bench: Bench, models: StandInSpeaker, shop: Path) -> None:
    told = bench.run("compare_images", image_a="shop/shoe-red-0.png", image_b="shop/shoe-blue-0.png").result
    assert told.startswith("similarity 0.5")
    assert "both: category shoe" in told
    assert "colour: red in shop/shoe-red-0.png, blue in shop/shoe-blue-0.png" in told
    same = bench.run("compare_images", image_a="shop/shoe-red-0.png", image_b="./shop/shoe-red-0.png").result
    assert "the same file" in same


@pytest.mark.parametrize(
    ("tool", "arguments", "told"),
    [
        ("caption_image", {"image": "missing.png"}, "there is no file"),
        ("caption_image", {"image": "../outside.png"}, "outside the workspace"),
        ("caption_image", {"image": "text.png"}, "text.png"),
        ("caption_image", {"image": "shop/"}, "is a folder"),
        ("caption_image", {"image": "http://127.0.0.1/a.png"}, "fetch_image was not allowed from inside caption_image"),
        ("fetch_image", {"url": "ftp://example.org/a.png"}, "is no address"),
        ("ask_image", {"image": "missing.png", "question": "what colour is it?"}, "there is no file"),
        ("compare_images", {"image_a": "text.png", "image_b": "text.png"}, "text.png"),
        ("find_images", {"like": None, "what": " ", "k": 3}, "nothing to look for"),
        (
            "find_images",
            {"like": None, "what": "red", "k": 3, "folder": "empty"},
            "there are no pictures in 'empty'",
        ),
        ("find_images", {"like": None, "what": "red", "k": 3, "folder": "nowhere"}, "there is no folder"),
        ("find_images", {"like": None, "what": "red", "k": 3, "folder": "../"}, "outside the workspace"),
        ("index_images", {"folder": "nowhere"}, "there is no folder"),
    ],
)
def test_what_cannot_be_is_an_answer_that_says_why(
    bench: Bench, models: StandInSpeaker, tool: str, arguments: Mapping[str, Any], told: str
) -> None:
    (bench.work / "text.png").write_text("a text", encoding="utf-8")
    (bench.work / "shop").mkdir()
    (bench.work / "empty").mkdir()
    step = bench.run(tool, **arguments)
    assert not step.ok
    assert told in step.result
    assert jobs.list_jobs(bench.home / "jobs") == []


def test_indexing_is_a_job_that_is_planned_and_asked_about(bench: Bench, tmp_path: Path, shop: Path) -> None:
    clip = make.clip(tmp_path / "clip")
    bench.settings = {"encoder": str(clip), "at_once": 0}
    step = bench.run("index_images", allow=False, folder="shop")
    assert "12 pictures, 12 of them new or changed" in str(bench.asked[0])
    assert step.result.startswith("12 images can be searched now; 12 new or changed, 0 as before"), step.result
    assert not (shop / FOLDER).exists()
    draw(shop / "more" / "late.png", "red")  # in a folder inside: the same call is another job
    assert bench.run("index_images", folder="shop").result.startswith("13 images can be searched now; 1 new")
    found = bench.find(what="red", k=2, folder="shop")  # at_once is 0: nothing is left to do
    assert found.ok, found.result
    assert "2 images of 13" in found.result


def test_every_tool_says_what_it_does_to_the_world() -> None:
    assert [tool.name for tool in plugin.tools()] == [
        "caption_image", "ask_image", "find_images", "compare_images", "index_images", "fetch_image",
    ]  # fmt: skip
    for tool in TOOLS:
        assert tool.spec.rules.effect is Effect.READ
        assert tool.spec.rules.egress == (tool.name == "fetch_image")
        check_grounded(tool.spec)


@pytest.mark.parametrize("question", ["what colour is it?", "How many hats are there", "Welche Farbe hat er?", "¿De qué color es?", "这双鞋是什么颜色"])  # fmt: skip
def test_whole_questions_are_taken(question: str) -> None:
    (ask,) = (tool for tool in TOOLS if tool.name == "ask_image")
    assert not problems(question, ask.spec.parameters["properties"]["question"])


@pytest.mark.parametrize("piece", ["bag", "photo.png", "shop/hat.png"])
def test_one_word_is_no_question(piece: str) -> None:
    (ask,) = (tool for tool in TOOLS if tool.name == "ask_image")
    assert problems(piece, ask.spec.parameters["properties"]["question"])


def test_settings_are_closed_and_have_defaults() -> None:
    assert VisionSettings.of({"at_once": "7"}) == VisionSettings(at_once=7)
    assert VisionSettings.of({}).model == "auto"


def test_the_plugin_decodes_and_loads_nothing_heavy(tmp_path: Path) -> None:
    path = draw(tmp_path / "a.png", "green", "bag")
    assert plugin.decode is not None
    assert plugin.decode(path.read_bytes()).shape == (24, 48, 3)
    code = "import sys, json, agentkit_vision, agentkit_vision.commands; print(json.dumps([n for n in ('torch', 'PIL', 'transformers', 'numpy', 'pydantic') if n in sys.modules]))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(told.stdout) == []
