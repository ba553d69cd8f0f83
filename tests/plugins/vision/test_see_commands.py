"""`agentkit see`, typed: with models that stand in, with tiny ones on disk, and with what people mistype."""

from __future__ import annotations

import json
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from click.testing import CliRunner, Result

pytest.importorskip("PIL")
pytest.importorskip("torch")
pytest.importorskip("transformers")

from PIL import Image

from agentkit.errors import AgentkitError, InvalidParams, MissingDependency, PolicyError, UsageError
from agentkit_vision import opening
from agentkit_vision.commands import see
from agentkit_vision.search.collection import FOLDER
from tests.plugins.vision import hugging_models as make
from tests.plugins.vision.stand_ins import StandInEncoder, StandInSpeaker, draw

COMMANDS = ("ask", "caption", "compare", "find", "index", "info", "train")


def typed(*words: str) -> Result:
    return CliRunner().invoke(see, list(words))


def data(*words: str) -> Any:
    done = typed(*words, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)["data"]


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a photo and a shop of twelve pictures, and nothing else."""
    monkeypatch.setenv("AGENTKIT_HOME", str(tmp_path / "home"))
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    draw(folder / "photo.png", "red")
    for n, colour in enumerate(("red", "blue", "green")):
        for kind in ("shoe", "bag"):
            for shade in (0, 10):
                draw(folder / "shop" / f"{kind}-{colour}-{shade}.png", colour, kind, shade + n)
    return folder


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Models that stand in for any; the names that they were asked for by."""
    names: list[str] = []

    def speaker(name: str, *, mmproj: str = "") -> StandInSpeaker:
        names.append(f"{name} {mmproj}".strip())
        return StandInSpeaker()

    def encoder(name: str) -> StandInEncoder:
        names.append(name)
        return StandInEncoder()

    monkeypatch.setattr(opening, "open_speaker", speaker)
    monkeypatch.setattr(opening, "open_encoder", encoder)
    return names


def test_a_caption_goes_to_stdout_and_who_said_it_to_stderr(models: list[str]) -> None:
    done = typed("caption", "photo.png", "-m", "some/model")
    assert (done.exit_code, done.stdout) == (0, "a red shoe\n")
    assert done.stderr == "stand-in, 90% sure\n"
    assert models == ["some/model"]


def test_what_a_gguf_sees_with_can_be_named(models: list[str]) -> None:
    assert typed("caption", "photo.png", "-m", "a.gguf", "--mmproj", "b.gguf").exit_code == 0
    assert typed("ask", "photo.png", "what colour is it?", "-m", "a.gguf", "--mmproj", "c.gguf").stdout == "red\n"
    assert models == ["a.gguf b.gguf", "a.gguf c.gguf"]


def test_an_mmproj_is_for_ggufs() -> None:
    error = typed("caption", "photo.png", "-m", "embedded", "--mmproj", "b.gguf").exception
    assert isinstance(error, UsageError)
    assert "embedded: has no option mmproj" in str(error)


def test_private_addresses_are_read_where_policy_allows_them(
    models: list[str], work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(work)))
    Thread(target=server.serve_forever, daemon=True).start()
    host = f"127.0.0.1:{server.server_address[1]}"
    try:
        assert isinstance(typed("caption", f"http://{host}/photo.png").exception, PolicyError)
        monkeypatch.setenv("AGENTKIT_POLICY__ALLOW_HOSTS", host)
        assert typed("caption", f"http://{host}/photo.png").stdout == "a red shoe\n"
        assert data("compare", f"http://{host}/photo.png", "photo.png")["is_same_file"]
        assert typed("find", "--like", f"http://{host}/photo.png", "--in", "shop").exit_code == 0
    finally:
        server.shutdown()
        server.server_close()


def test_captions_of_several_have_their_names(models: list[str]) -> None:
    done = typed("caption", "photo.png", "shop/bag-blue-0.png")
    assert done.stdout.splitlines() == ["photo.png: a red shoe", "shop/bag-blue-0.png: a blue bag"]
    rows = data("caption", "photo.png")
    assert [(row["image"], row["caption"], row["confidence"], row["size"]) for row in rows] == [
        ("photo.png", "a red shoe", 0.9, [32, 32])
    ]


def test_an_answer(models: list[str]) -> None:
    assert typed("ask", "photo.png", "what colour is it?").stdout == "red\n"
    told = data("ask", "photo.png", "what is it?")
    assert (told["answer"], told["images"], told["question"]) == ("shoe", ["photo.png"], "what is it?")


def test_a_question_without_a_picture_is_a_usage_error(models: list[str]) -> None:
    done = typed("ask", "what is it?")
    assert done.exit_code == 2
    assert "give at least one image, and the question after it" in done.stderr


def test_what_was_done_to_a_picture_is_said(models: list[str], work: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(work / "moving.gif", save_all=True, append_images=frames[1:])
    assert "first of 2 frames" in typed("caption", "moving.gif").stderr


def test_find_like_a_photo_but_blue(models: list[str], work: Path) -> None:
    done = typed("find", "but", "blue", "--like", "photo.png", "--in", "shop", "-k", "2")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert {line.split("  ")[0] for line in lines} == {"shoe-blue-0.png", "shoe-blue-10.png"}
    assert "as asked: colour blue" in lines[0]
    assert "2 of 12 images, by photo + attributes" in done.stderr
    assert not (work / "shop" / FOLDER).exists()


def test_find_with_conditions_as_json(models: list[str]) -> None:
    told = data("find", "shoe", "--in", "shop", "--where", "path=*-0.png", "--where", "colour!=red", "-k", "9")
    assert sorted(hit["path"] for hit in told["hits"])[:2] == ["bag-blue-0.png", "bag-green-0.png"]
    assert told["allowed"] == 4
    assert told["indexed"] == 12
    assert data("find", "shoe", "--in", "shop")["indexed"] == 0


def test_diverse_results_are_other_ones(models: list[str]) -> None:
    plain = data("find", "red", "--in", "shop", "-k", "3")
    mixed = data("find", "red", "--in", "shop", "-k", "3", "--diverse", "0.9")
    assert {hit["read"]["colour"] for hit in plain["hits"]} == {"red"}
    assert {hit["read"]["colour"] for hit in mixed["hits"]} != {"red"}


def test_a_contact_sheet_is_written_and_shown(models: list[str], work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr("click.launch", shown.append)
    done = typed("find", "blue", "--in", "shop", "--like", "photo.png", "--sheet", "out/blue.html", "--open")
    assert done.exit_code == 0, done.output
    page = work / "out" / "blue.html"
    assert shown == [str(page)]
    assert "shoe-blue-0.png" in page.read_text(encoding="utf-8")
    with Image.open(work / "out" / "blue.png") as image:
        assert image.format == "PNG"


@pytest.mark.parametrize(
    ("words", "kind", "told"),
    [
        (("find", "red", "--in", "empty"), InvalidParams, "there are no pictures in 'empty'"),
        (("find", "red", "--where", "colour"), UsageError, "not a condition"),
        (
            ("find", "red", "--in", "shop", "--where", "weight=3"),
            UsageError,
            "no image of the collection has the label",
        ),
        (("caption", "missing.png"), InvalidParams, "there is no file 'missing.png'"),
        (("compare", "photo.png", "empty"), InvalidParams, "is a folder"),
    ],
)
def test_what_cannot_be_is_a_typed_error(
    models: list[str], work: Path, words: tuple[str, ...], kind: type[AgentkitError], told: str
) -> None:
    (work / "empty").mkdir()
    done = typed(*words)
    assert isinstance(done.exception, kind)
    assert told in str(done.exception)


def test_nothing_to_look_for_is_a_usage_error(models: list[str]) -> None:
    done = typed("find", "--in", "shop")
    assert done.exit_code == 2
    assert "nothing to look for" in done.stderr
    assert models == []  # and no model is opened


def test_two_pictures_compared(models: list[str]) -> None:
    done = typed("compare", "photo.png", "shop/bag-red-0.png")
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["similarity", "0.50"], ["colour", "both", "red"], ["category", "shoe", "/", "bag"],
    ]  # fmt: skip
    told = data("compare", "photo.png", "photo.png")
    assert told["is_same_file"]
    assert told["similarity"] == pytest.approx(1, abs=1e-6)


def test_indexing_and_finding_with_a_model_on_disk(work: Path, tmp_path: Path) -> None:
    clip = str(make.clip(tmp_path / "clip"))
    told = data("index", "shop", "-m", clip)
    assert (told["status"], told["added"], told["images"]) == ("ok", 12, 12)
    assert (work / "shop" / FOLDER).is_dir()
    assert data("index", "shop", "-m", clip) == told  # done, and nothing has changed
    found = data("find", "--like", "photo.png", "--in", "shop", "-k", "3", "-m", clip)
    assert (len(found["hits"]), found["how"], found["indexed"]) == (3, "photo", 0)


def test_the_plan_of_indexing_does_nothing(work: Path, tmp_path: Path) -> None:
    done = typed("index", "shop", "-m", str(make.clip(tmp_path / "clip")), "--plan")
    assert "12 pictures, 12 of them new or changed" in done.stdout
    assert not (work / "shop" / FOLDER).exists()


def test_info_of_a_model_that_only_searches(tmp_path: Path) -> None:
    told = data("info", str(make.clip(tmp_path / "clip")))
    assert told["searches"]["can"]
    assert told["searches"]["dim"] > 0
    assert not told["speaks"]["can"]
    assert told["speaks"]["why"]


def test_info_of_what_is_no_model_is_its_error(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    assert isinstance(typed("info", str(tmp_path / "none")).exception, AgentkitError)


def test_training_without_what_it_needs_is_refused(work: Path) -> None:
    assert typed("train").exit_code == 2
    done = typed("train", "eyes", "--data", "nowhere", "--language-model", "nowhere", "--plan")
    assert isinstance(done.exception, AgentkitError), done.output
    assert not isinstance(done.exception, MissingDependency)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example(name: str) -> None:
    done = typed(name, "--help")
    assert done.exit_code == 0
    assert f"agentkit see {name}" in done.stdout


def test_there_are_no_other_commands() -> None:
    assert sorted(see.commands) == list(COMMANDS)
