"""What is no model, or not the one that was asked for, is refused with what to do about it; names, sizes, fingerprints."""

from __future__ import annotations

import json
import shutil
import struct
import time
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from importlib.util import find_spec  # noqa: E402

from safetensors.torch import load_file, save_file  # noqa: E402
from transformers import AutoModel  # noqa: E402

from agentkit.errors import (  # noqa: E402
    MissingDependency,
    ModelError,
    ModelFileError,
    ModelNotFound,
    OfflineModelUnavailable,
    UsageError,
)
from agentkit.models.machine import Memory  # noqa: E402
from agentkit_vision.hugging.encoding import HuggingEncoder  # noqa: E402
from agentkit_vision.hugging.loading import quiet  # noqa: E402
from agentkit_vision.hugging.places import find_place  # noqa: E402
from agentkit_vision.hugging.speaking import HuggingSpeaker  # noqa: E402
from agentkit_vision.hugging.weights import fingerprint, read_headers, weight_bytes  # noqa: E402
from tests.plugins.vision import hugging_models as make  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    home = tmp_path_factory.mktemp("saved")
    return {
        kind: getattr(make, kind)(home / kind) for kind in ("clip", "llava", "blip2", "blip2_retrieval", "text_only")
    }


@pytest.fixture
def clip(saved: dict[str, Path], tmp_path: Path) -> Path:
    """A copy that a test may break."""
    return Path(shutil.copytree(saved["clip"], tmp_path / "clip"))


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def has(gigabytes: float) -> Memory:
    return Memory(place="this machine", total=int(gigabytes * 1e9), free=int(gigabytes * 1e9))


# Names.


def test_what_is_neither_a_folder_nor_an_id_is_refused(tmp_path: Path) -> None:
    for name in ("./nowhere", str(tmp_path / "nowhere"), "one", "a/b/c", "org/model name"):
        with pytest.raises(ModelNotFound, match="no such folder, and it is no id"):
            HuggingEncoder(name)


def test_folders_that_hold_something_else_are_refused(tmp_path: Path) -> None:
    for file, complaint in (
        ("nothing.txt", "has no config.json; give a folder that save_pretrained wrote"),
        ("model_index.json", "is a pipeline that draws"),
        ("adapter_config.json", "is an adapter"),
        ("tiny.gguf", "has no config.json; it holds tiny.gguf: give that file"),
    ):
        folder = tmp_path / file.replace(".", "-")
        folder.mkdir()
        (folder / file).write_text("{}")
        with pytest.raises(ModelFileError, match=complaint):
            HuggingSpeaker(str(folder))
    with pytest.raises(ModelFileError, match="is a file"):
        HuggingSpeaker(str(tmp_path / "nothing-txt" / "nothing.txt"))


def test_offline_an_id_that_is_not_in_the_cache_is_an_error_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("it asked the network"))
    for options, setting in (({}, "AGENTKIT_OFFLINE"), ({}, "HF_HUB_OFFLINE"), ({"download": False}, None)):
        with monkeypatch.context() as patch:
            if setting:
                patch.setenv(setting, "1")
            started = time.monotonic()
            with pytest.raises(OfflineModelUnavailable, match="hf download some/model"):
                HuggingSpeaker("some/model", **options)
            assert time.monotonic() - started < 5


def test_without_a_network_it_is_an_error_soon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    started = time.monotonic()
    with pytest.raises(OfflineModelUnavailable, match="the Hub cannot be reached"):
        HuggingEncoder("some/model")
    assert time.monotonic() - started < 10


def test_an_id_in_the_cache_is_loaded_without_a_network(
    saved: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    place = tmp_path / "models--tiny--clip"
    shutil.copytree(saved["clip"], place / "snapshots" / commit)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("it asked the network"))
    by_id, by_folder = HuggingEncoder("tiny/clip"), HuggingEncoder(str(saved["clip"]))
    assert by_id.name == "tiny/clip"
    assert by_id.fingerprint == by_folder.fingerprint  # one model, wherever it lies
    assert HuggingEncoder(f"hf:tiny/clip@{commit}").fingerprint == by_id.fingerprint
    assert (by_id.embed_texts(["a"]) == by_folder.embed_texts(["a"])).all()
    with pytest.raises(OfflineModelUnavailable):
        HuggingEncoder("tiny/clip@other", download=False)
    (place / "snapshots" / commit / "model.safetensors").unlink()
    with pytest.raises(OfflineModelUnavailable, match="or only in part"):
        HuggingEncoder("tiny/clip", download=False)


def test_a_model_too_large_is_refused_before_its_download(
    saved: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    place = tmp_path / "models--tiny--clip"
    shutil.copytree(saved["clip"], place / "snapshots" / commit, ignore=lambda *_: {"model.safetensors"})
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("agentkit_vision.hugging.places._size", lambda *_: 15_000_000_000)
    with pytest.raises(ModelError, match=r"tiny/clip: it does not fit: its weights take 15.0 GB, and 8.0 GB"):
        HuggingEncoder("tiny/clip", free=lambda: has(8))


# Kinds.


def test_a_model_of_another_kind_is_refused_with_one_that_fits(saved: dict[str, Path]) -> None:
    for kind, complaint in (
        ("text_only", "is a LlamaForCausalLM, which does not read pictures and write text"),
        ("clip", "is a CLIPModel, which does not read pictures and write text"),
        ("blip2_retrieval", "compares pictures with texts and writes none"),
    ):
        with pytest.raises(ModelFileError, match=complaint):
            HuggingSpeaker(str(saved[kind]))
    for kind in ("text_only", "llava", "blip2"):
        with pytest.raises(ModelFileError, match="must be one of CLIPModel, SiglipModel"):
            HuggingEncoder(str(saved[kind]))


def test_a_part_of_a_model_is_refused(saved: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(saved["llava"], tmp_path / "part"))
    edit(folder / "config.json", architectures=["LlavaModel"])
    with pytest.raises(ModelFileError, match="is a part of a model or another form of it, where LlavaForCond"):
        HuggingSpeaker(str(folder))


def test_code_that_a_repository_brings_is_never_run(clip: Path) -> None:
    (clip / "evil.py").write_text("from pathlib import Path\nPath(__file__).with_name('ran').touch()\n")
    edit(clip / "config.json", auto_map={"AutoModel": "evil.Evil", "AutoConfig": "evil.Evil"})
    HuggingEncoder(str(clip))  # transformers' own class
    edit(clip / "config.json", model_type="evil")
    with pytest.raises(ModelFileError):
        HuggingEncoder(str(clip))
    assert not (clip / "ran").exists()


# Files.


@pytest.mark.parametrize(
    ("missing", "complaint"),
    [
        ("processor_config.json", "say how pictures are prepared"),
        ("tokenizer.json", "hold the tokenizer"),
        ("model.safetensors", "is missing; fetch the model again"),
        ("config.json", "has no config.json"),
    ],
)
def test_a_missing_file_is_named(missing: str, complaint: str, clip: Path) -> None:
    (clip / missing).unlink()
    with pytest.raises(ModelFileError, match=complaint):
        HuggingEncoder(str(clip))


@pytest.mark.parametrize("text", ["{", "[]", "", '{"architectures": ["CLIPModel"]}'])
def test_a_broken_configuration_is_refused(text: str, clip: Path) -> None:
    (clip / "config.json").write_text(text)
    with pytest.raises(ModelFileError, match=r"cannot be read|holds no JSON object|names no model_type"):
        HuggingEncoder(str(clip))


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_weights_that_were_cut_off_are_refused(keep: int, clip: Path) -> None:
    path = clip / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ModelFileError, match=r"is no safetensors file|was cut off"):
        HuggingEncoder(str(clip))


def test_a_damaged_header_is_refused(clip: Path) -> None:
    path = clip / "model.safetensors"
    for start in (struct.pack("<Q", 1 << 62), struct.pack("<Q", 4) + b"nope", struct.pack("<Q", 2) + b"[]"):
        path.write_bytes(start + bytes(50))
        with pytest.raises(ModelFileError, match="is no safetensors file"):
            HuggingEncoder(str(clip))


def test_a_pickle_is_never_read(clip: Path) -> None:
    (clip / "model.safetensors").unlink()
    (clip / "pytorch_model.bin").write_bytes(b"\x80\x04cos\nsystem\n")
    with pytest.raises(ModelFileError, match=r"has no safetensors, only pytorch_model.bin, and a pickle runs code"):
        HuggingEncoder(str(clip))


def test_weights_that_are_missing_are_not_made_up(clip: Path) -> None:
    path = clip / "model.safetensors"
    weights = load_file(path)
    del weights["visual_projection.weight"]
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(ModelFileError, match=r"lack visual_projection.weight, so it would speak at random"):
        HuggingEncoder(str(clip))


def test_weights_of_another_width_are_refused(clip: Path) -> None:
    edit(clip / "config.json", projection_dim=20)
    with pytest.raises(ModelFileError, match="cannot load its weights"):
        HuggingEncoder(str(clip))


def test_shards_are_read_and_a_missing_one_is_named(saved: dict[str, Path], clip: Path) -> None:
    (clip / "model.safetensors").unlink()
    AutoModel.from_pretrained(saved["clip"]).save_pretrained(clip, max_shard_size="10KB")
    shards = sorted(clip.glob("model-*.safetensors"))
    assert len(shards) > 1
    sharded, whole = HuggingEncoder(str(clip)), HuggingEncoder(str(saved["clip"]))
    assert abs(sharded.embed_texts(["a"]) - whole.embed_texts(["a"])).max() < 1e-6
    assert sharded.fingerprint == whole.fingerprint
    shards[1].unlink()
    with pytest.raises(ModelFileError, match=f"{shards[1].name}: is missing"):
        HuggingEncoder(str(clip))


@pytest.mark.skipif(find_spec("torchvision") is not None, reason="torchvision is installed")
def test_a_processor_that_needs_torchvision_says_so(saved: dict[str, Path], tmp_path: Path) -> None:
    """Qwen's processors bring one for videos, which transformers has with torchvision only."""
    folder = Path(shutil.copytree(saved["llava"], tmp_path / "qwen"))
    edit(folder / "config.json", model_type="qwen2_vl", architectures=["Qwen2VLForConditionalGeneration"])
    (folder / "processor_config.json").unlink()
    (folder / "preprocessor_config.json").write_text(
        json.dumps({"processor_class": "Qwen2VLProcessor", "image_processor_type": "Qwen2VLImageProcessor"})
    )
    with pytest.raises(MissingDependency, match="needs torchvision: pip install torchvision"):
        HuggingSpeaker(str(folder))


# Sizes and places of work.


def test_what_does_not_fit_is_refused_before_it_is_loaded(saved: dict[str, Path]) -> None:
    needed = weight_bytes(read_headers(saved["clip"]), 4)
    assert needed == sum(weights.numel() * 4 for weights in load_file(saved["clip"] / "model.safetensors").values())
    assert weight_bytes(read_headers(saved["clip"]), 2) == needed // 2
    assert weight_bytes(read_headers(saved["clip"])) == needed  # as in the file, which is in float32
    short = Memory(place="this machine", total=10**9, free=needed - 2, swap=1)
    with pytest.raises(ModelError, match=r"does not fit: its weights take .* take a smaller model"):
        HuggingEncoder(str(saved["clip"]), free=lambda: short)
    HuggingEncoder(str(saved["clip"]), free=lambda: Memory(place="this machine", total=10**9, free=1, swap=needed))
    HuggingEncoder(str(saved["clip"]), dtype="float16", free=lambda: short)
    HuggingEncoder(str(saved["clip"]), free=lambda: None)


def test_devices_and_floats_that_are_not_there_are_refused(saved: dict[str, Path]) -> None:
    name = str(saved["clip"])
    for options, complaint in (
        ({"dtype": "int8"}, "dtype int8: use auto, float32"),
        ({"device": "toaster"}, "device toaster"),
        ({"device": "meta"}, "this machine or this torch has none"),
        ({"device": "cuda:99"}, "this machine or this torch has none"),
    ):
        with pytest.raises(UsageError, match=complaint):
            HuggingEncoder(name, **options)


# Fingerprints.


def test_a_fingerprint_changes_with_all_that_changes_the_vectors(saved: dict[str, Path], clip: Path) -> None:
    def named() -> str:
        return fingerprint(clip, read_headers(clip), "float32")

    first = named()
    assert first == fingerprint(saved["clip"], read_headers(saved["clip"]), "float32")
    assert first != fingerprint(clip, read_headers(clip), "float16")
    (clip / "README.md").write_text("words")
    assert named() == first
    edit(clip / "processor_config.json", image_processor={"do_resize": False})
    second = named()
    path = clip / "model.safetensors"
    weights = load_file(path)
    weights["logit_scale"] += 1
    save_file(weights, path, metadata={"format": "pt"})
    assert len({first, second, named()}) == 3


def test_of_large_tensors_the_ends_are_read(tmp_path: Path) -> None:
    def named(at: int) -> str:
        values = torch.zeros(100_000)
        values[at] = 1
        save_file({"large": values}, tmp_path / "model.safetensors")
        return fingerprint(tmp_path, read_headers(tmp_path))

    assert len({named(0), named(1), named(99_999)}) == 3
    assert named(50_000) == named(50_001)  # as the module says: the middle is not read


def test_places_without_weights_know_the_configuration(saved: dict[str, Path]) -> None:
    place = find_place(str(saved["clip"]))
    assert place.config["model_type"] == "clip"
    assert place.with_weights() is place


def test_quiet_puts_everything_back() -> None:
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    with quiet():
        with quiet():
            assert not logging.is_progress_bar_enabled()
        assert not logging.is_progress_bar_enabled()
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
