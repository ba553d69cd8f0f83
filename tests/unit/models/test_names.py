"""Names of models: where each leads, offline first, and one sentence where it leads nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentkit.errors import ModelNotFound, OfflineModelUnavailable, UsageError
from agentkit.models import known, pull, resolve
from agentkit.models.hub import Hub, HubName, Progress, choose

FILES = [
    "README.md",
    "mmproj-F16.gguf",
    "imatrix.gguf",
    "m-IQ4_XS.gguf",
    "m-Q4_K.gguf",
    "m-Q4_K_M.gguf",
    "m-Q8_0.gguf",
    "BF16/m-BF16-00001-of-00002.gguf",
    "BF16/m-BF16-00002-of-00002.gguf",
]


class FakeHub(Hub):
    """A Hub whose network is a list."""

    def __init__(self, cache: Path, files: list[str] = FILES) -> None:
        super().__init__(cache)
        self.cache, self.files, self.fetched = cache, files, list[str]()

    def list_files(self, name: HubName) -> list[str]:
        return self.files

    def fetch(self, name: HubName, file: str, progress: Progress | None) -> Path:
        self.fetched.append(file)
        if progress is not None:
            progress(file, 1, 2)
        return cached(self.cache, file, name.repo)


def cached(cache: Path, file: str, repo: str = "o/r", commit: str = "abc") -> Path:
    """Put a file into a cache, as huggingface_hub lays it out."""
    folder = cache / f"models--{repo.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "refs" / "main").write_text(commit)
    path = folder / "snapshots" / commit / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"GGUF")
    return path


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("o/r", "m-Q4_K_M.gguf"),
        ("o/r:Q4_K", "m-Q4_K.gguf"),
        ("o/r:q8_0", "m-Q8_0.gguf"),
        ("o/r:IQ4_XS", "m-IQ4_XS.gguf"),
        ("o/r:BF16", "BF16/m-BF16-00001-of-00002.gguf"),
        ("o/r/BF16/m-BF16-00002-of-00002.gguf", "BF16/m-BF16-00001-of-00002.gguf"),
        ("o/r/m-Q8_0.gguf@v1.0", "m-Q8_0.gguf"),
        ("o/r:Q3_K_M", None),
        ("o/r/mmproj-F16.gguf", "mmproj-F16.gguf"),  # by its name alone
    ],
)
def test_the_file_that_is_meant_is_chosen(name: str, file: str | None) -> None:
    assert choose(FILES, HubName.parse(name)) == file


def test_without_the_preferred_ones_the_first_model_is_chosen() -> None:
    assert choose(["mmproj.gguf", "z-Q6_K.gguf", "a-Q5_0.gguf"], HubName.parse("o/r")) == "a-Q5_0.gguf"


@pytest.mark.parametrize("name", ["o", "o/r/x.bin", "o/r:", "", "o/r/../../x", "o//r", "o/r@"])
def test_a_malformed_name_says_how_to_write_it(name: str) -> None:
    with pytest.raises(ModelNotFound, match="write hf:owner/repo"):
        HubName.parse(name)


def test_what_is_cached_is_found_without_network(tmp_path: Path) -> None:
    path, hub = cached(tmp_path, "m-Q8_0.gguf"), FakeHub(tmp_path)
    for name in ("hf:o/r", "hf:o/r:Q8_0", "hf:o/r/m-Q8_0.gguf", "hf:o/r@main", "hf:o/r@abc"):
        found = resolve(name, hub=hub)
        assert (found.kind, found.path, found.name) == ("gguf", path, name)
    assert hub.fetched == []


def test_what_is_not_cached_is_downloaded_all_parts_of_it(tmp_path: Path) -> None:
    hub, told = FakeHub(tmp_path), list[tuple[str, int, int]]()
    found = pull("hf:o/r:BF16", lambda *progress: told.append(progress), hub=hub)
    assert found.path is not None
    assert found.path.name == "m-BF16-00001-of-00002.gguf"
    assert hub.fetched == FILES[-2:]
    assert told == [(file, 1, 2) for file in FILES[-2:]]


def test_half_of_a_split_model_in_the_cache_is_not_enough(tmp_path: Path) -> None:
    cached(tmp_path, FILES[-2])
    hub = FakeHub(tmp_path)
    resolve("hf:o/r:BF16", hub=hub)
    assert hub.fetched == FILES[-2:]


def test_offline_nothing_is_downloaded(tmp_path: Path) -> None:
    cached(tmp_path, "m-Q8_0.gguf")
    hub = FakeHub(tmp_path)
    with pytest.raises(OfflineModelUnavailable, match=r"the cache has m-Q8_0.gguf.*agentkit models pull hf:o/r:Q4_K_M"):
        resolve("hf:o/r:Q4_K_M", offline=True, hub=hub)
    with pytest.raises(OfflineModelUnavailable):
        resolve("hf:o/r@v2", offline=True, hub=hub)
    assert hub.fetched == []


def test_a_repository_without_the_file_says_what_it_has(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="it has BF16, IQ4_XS, Q4_K, Q4_K_M, Q8_0"):
        resolve("hf:o/r:Q2_K", hub=FakeHub(tmp_path))
    with pytest.raises(ModelNotFound, match="holds no GGUF; look for 'r-GGUF'"):
        resolve("hf:o/r", hub=FakeHub(tmp_path, ["model.safetensors"]))


def test_an_unreachable_hub_is_a_typed_error(tmp_path: Path) -> None:
    with pytest.raises(OfflineModelUnavailable, match="the Hub cannot be reached"):
        resolve("hf:o/r", hub=Hub(tmp_path))  # tests have no network


def test_sprout_and_auto_are_the_embedded_model(tmp_path: Path) -> None:
    for name in ("sprout", "auto"):
        with pytest.raises(ModelNotFound, match="the embedded model is not in this installation"):
            resolve(name, weights=tmp_path)
    path = tmp_path / "sprout.gguf"
    path.write_bytes(b"GGUF")
    assert resolve("sprout", weights=tmp_path).path == path
    chosen = resolve("auto", weights=tmp_path)
    assert (chosen.name, chosen.path, chosen.note) == ("sprout", path, "auto: the embedded model sprout")


def test_a_path_a_server_and_a_script_are_what_they_look_like(tmp_path: Path) -> None:
    for name in ("m.gguf", "m-00001-of-00002.gguf", "m-00002-of-00002.gguf", "script.json", "odd.bin"):
        (tmp_path / name).write_text("[]")
    assert resolve(str(tmp_path / "m.gguf")).path == tmp_path / "m.gguf"
    assert resolve(str(tmp_path / "odd.bin")).kind == "gguf"
    assert resolve(str(tmp_path / "m-00002-of-00002.gguf")).path == tmp_path / "m-00001-of-00002.gguf"
    server = resolve("http://localhost:8080/v1/")
    assert (server.kind, server.url) == ("remote", "http://localhost:8080/v1")
    script = resolve(f"scripted:{tmp_path / 'script.json'}")
    assert (script.kind, script.path) == ("scripted", tmp_path / "script.json")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sprot", "did you mean 'sprout'?"),
        ("gpt-4", "A model is sprout, auto, a path"),
        ("bartowski/Llama-3.2-1B", "write hf:bartowski/Llama-3.2-1B"),
        ("", "(empty): no such model"),
        ("nowhere/m.gguf", "there is no such file"),
        ("~/nowhere/m.gguf", "there is no such file"),
        ("scripted:nowhere.json", "no such script"),
        ("scripted:", "no such script"),
        ("https://host/m.gguf", "OpenAI-compatible server"),
        ("http://", "the address of the server is missing"),
    ],
)
def test_an_unknown_name_says_what_comes_near(name: str, words: str) -> None:
    with pytest.raises(ModelNotFound) as caught:
        resolve(name)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_misspelt_file_and_a_folder_name_their_neighbours(tmp_path: Path) -> None:
    (tmp_path / "llama.gguf").write_text("x")
    with pytest.raises(ModelNotFound, match=r"did you mean '.*llama.gguf'"):
        resolve(str(tmp_path / "lama.gguf"))
    with pytest.raises(ModelNotFound, match=r"name a file in it: llama.gguf"):
        resolve(str(tmp_path))


def test_known_lists_the_embedded_the_cached_and_the_suggested(tmp_path: Path) -> None:
    path = cached(tmp_path, "m-Q8_0.gguf")
    cached(tmp_path, "mmproj-F16.gguf")
    cached(tmp_path, "Llama-3.2-1B-Instruct-Q8_0.gguf", "bartowski/Llama-3.2-1B-Instruct-GGUF")
    rows = known(hub=Hub(tmp_path), weights=tmp_path)
    assert [row.name for row in rows[:3]] == [
        "sprout",
        "hf:bartowski/Llama-3.2-1B-Instruct-GGUF/Llama-3.2-1B-Instruct-Q8_0.gguf",
        "hf:o/r/m-Q8_0.gguf",
    ]
    assert (rows[0].installed, rows[2].installed, rows[2].path, rows[2].size_bytes) == (False, True, path, 4)
    suggested = [row.name for row in rows[3:]]
    assert suggested
    assert not any("Llama-3.2-1B" in name for name in suggested)
    assert known(hub=Hub(tmp_path / "none"))[1:] != []


def test_there_is_nothing_to_pull_of_a_server() -> None:
    with pytest.raises(UsageError, match="nothing to download"):
        pull("http://localhost:1/v1")


def test_progress_reaches_the_caller() -> None:
    from agentkit.models.hub import _bar

    told: list[tuple[str, int, int]] = []
    with _bar("f.gguf", lambda *progress: told.append(progress))(total=10, initial=2, desc="x", name="y") as bar:
        bar.update(3)
        bar.update(5)
    assert told == [("f.gguf", 5, 10), ("f.gguf", 10, 10)]
