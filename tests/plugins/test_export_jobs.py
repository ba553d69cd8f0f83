"""What can go wrong with an export is said before or without a file; what is written is whole, and as it was asked for."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from safetensors.torch import load_file, save_file  # noqa: E402
from transformers import AutoModelForCausalLM, GPT2Config  # noqa: E402

from agentkit.errors import InvalidParams, JobError, ModelFileError  # noqa: E402
from agentkit.jobs import JobResult, run  # noqa: E402
from agentkit_training.export.folder import ModelFolder  # noqa: E402
from agentkit_training.export.jobs import EXPORT_GGUF, check_room  # noqa: E402
from agentkit_training.export.vocabulary import load_tokenizer, vocabulary_of  # noqa: E402
from agentkit_training.export.writing import KINDS, write_model  # noqa: E402
from agentkit_training.gguf_reader import GgufModel, tensors  # noqa: E402
from tests.plugins import export_models as make  # noqa: E402


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model in one file."""
    folder = tmp_path_factory.mktemp("models") / "mine"
    make.save_model(make.CONFIGS["llama"], folder)
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(whole, tmp_path / "mine"))


def attempt(folder: Path, out: Path, **more: Any) -> JobResult:
    return run(EXPORT_GGUF, {"model": str(folder), "out": str(out), **more}, run_dir=out.with_name(out.name + ".job"))


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_kept_as_asked(kind: str, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.gguf"
    planned = EXPORT_GGUF.plan({"model": str(whole), "out": str(out), "type": kind})
    done = attempt(whole, out, type=kind)
    assert done.status == "ok", done.error
    assert [artifact.kind for artifact in done.artifacts] == ["model"]
    assert done.metrics["bytes"] == out.stat().st_size
    assert planned.disk_bytes == pytest.approx(out.stat().st_size, rel=0.15)
    found = {one.name: one.kind for one in tensors(out)}
    assert set(found.values()) == {"F32", kind.upper()}
    assert {kept for name, kept in found.items() if name.endswith("norm.weight")} == {"F32"}
    assert done.metrics["parameters"] == sum(one.elements for one in tensors(out))
    assert not list(tmp_path.glob("*.partial"))


def test_rows_that_q8_0_cannot_hold_are_f16(tmp_path: Path) -> None:
    config = make.LlamaConfig(**make.SMALL | {"intermediate_size": 88})
    make.save_model(config, tmp_path / "odd")
    assert attempt(tmp_path / "odd", tmp_path / "a.gguf", type="q8_0").status == "ok"
    found = {one.name: one.kind for one in tensors(tmp_path / "a.gguf")}
    assert found["blk.0.ffn_down.weight"] == "F16"
    assert found["blk.0.ffn_up.weight"] == "Q8_0"
    with GgufModel(tmp_path / "a.gguf", window=8) as model:
        assert np.isfinite(model.logits([1, 2, 3])).all()


def test_transformers_reads_back_what_was_written(whole: Path, tmp_path: Path) -> None:
    assert attempt(whole, tmp_path / "a.gguf", type="f32").status == "ok"
    before = AutoModelForCausalLM.from_pretrained(whole).state_dict()
    after = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="a.gguf").state_dict()
    assert before.keys() == after.keys()
    for name, one in before.items():
        assert torch.equal(one, after[name]), name


def test_a_model_in_parts_is_the_same_file(whole: Path, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(whole)
    shutil.copytree(whole, tmp_path / "mine")
    (tmp_path / "mine" / "model.safetensors").unlink()
    model.save_pretrained(tmp_path / "mine", max_shard_size="100KB")
    assert len(list((tmp_path / "mine").glob("model-*.safetensors"))) > 2
    assert attempt(tmp_path / "mine", tmp_path / "parts.gguf").status == "ok"
    assert attempt(whole, tmp_path / "one.gguf").status == "ok"
    assert (tmp_path / "parts.gguf").read_bytes() == (tmp_path / "one.gguf").read_bytes()
    next((tmp_path / "mine").glob("model-*.safetensors")).unlink()
    with pytest.raises(ModelFileError, match="is missing"):
        EXPORT_GGUF.plan({"model": str(tmp_path / "mine"), "out": str(tmp_path / "x.gguf")})


def test_one_tensor_at_a_time(whole: Path, tmp_path: Path) -> None:
    alive: list[weakref.ref[Any]] = []
    most = 0

    class Watched(ModelFolder):
        def tensor(self, name: str) -> Any:
            nonlocal most
            most = max(most, sum(one() is not None for one in alive))
            found = super().tensor(name)
            alive.append(weakref.ref(found))
            return found

    watched = Watched(whole)
    write_model(watched, vocabulary_of(load_tokenizer(whole), watched), tmp_path / "a.gguf", kind="f16")
    assert len(alive) == len(watched.wanted())
    assert most <= 1


def test_what_the_model_says_of_itself(folder: Path, tmp_path: Path) -> None:
    assert attempt(folder, tmp_path / "a.gguf").status == "ok"
    about = make.metadata(tmp_path / "a.gguf")
    assert about["general.name"] == "mine"
    assert not [name for name in about if name.startswith("agentkit.")]
    assert about["tokenizer.chat_template"] == make.TEMPLATE
    config = json.loads((folder / "config.json").read_text())
    told = {
        "name": "x",
        "licence": "mit",
        "dialect": "plain/1",
        "description": "d",
        "quotes": False,
        "ranker_weight": 1,
    }
    (folder / "config.json").write_text(json.dumps({**config, "agentkit": told}))
    assert attempt(folder, tmp_path / "b.gguf").status == "ok"
    about = make.metadata(tmp_path / "b.gguf")
    assert (about["general.name"], about["general.license"], about["general.description"]) == ("x", "mit", "d")
    assert (about["agentkit.dialect"], about["agentkit.quotes"], about["agentkit.ranker_weight"]) == (
        "plain/1",
        False,
        1.0,
    )
    for wrong in ({"quotes": 1}, {"unknown": 1}, "x"):
        (folder / "config.json").write_text(json.dumps({**config, "agentkit": wrong}))
        assert "agentkit is" in attempt(folder, tmp_path / "c.gguf").error


def test_what_falls_short_is_said(folder: Path, tmp_path: Path) -> None:
    make.save_model(make.CONFIGS["mistral, window"], tmp_path / "window")
    done = attempt(tmp_path / "window", tmp_path / "a.gguf")
    assert ["128 tokens" in text for text in done.warnings] == [True]
    assert make.metadata(tmp_path / "a.gguf")["llama.context_length"] == 128
    (folder / "chat_template.jinja").unlink()
    assert ["no chat template" in text for text in attempt(folder, tmp_path / "b.gguf").warnings] == [True]


def edit_config(folder: Path, **settings: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))


def edit_weights(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors")


def cut(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])


Q = "model.layers.0.self_attn.q_proj.weight"
BROKEN: dict[str, tuple[Callable[[Path], object], type[Exception]]] = {
    "has no config.json": (lambda folder: (folder / "config.json").unlink(), InvalidParams),
    "there is no folder": (lambda folder: shutil.rmtree(folder), InvalidParams),
    "config.json: cannot be read as JSON": (lambda folder: (folder / "config.json").write_text("{"), ModelFileError),
    "'GPT2LMHeadModel' cannot be exported": (
        lambda folder: GPT2Config(architectures=["GPT2LMHeadModel"]).save_pretrained(folder),
        ModelFileError,
    ),
    "'model_type None' cannot be exported": (lambda folder: (folder / "config.json").write_text("{}"), ModelFileError),
    "hidden_act 'gelu' is not silu": (lambda folder: edit_config(folder, hidden_act="gelu"), ModelFileError),
    "transformers cannot read it": (lambda folder: edit_config(folder, num_hidden_layers="two"), ModelFileError),
    "quantised already": (lambda folder: edit_config(folder, quantization_config={"bits": 4}), ModelFileError),
    "rope type 'longrope'": (
        lambda folder: edit_config(
            folder,
            rope_parameters={
                "rope_type": "longrope", "rope_theta": 1e4, "long_factor": [1.0] * 8, "short_factor": [1.0] * 8,
                "original_max_position_embeddings": 64, "factor": 2.0,
            },
        ),
        ModelFileError,
    ),
    "turns a part of a head only": (
        lambda folder: edit_config(
            folder, rope_parameters={"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0, "partial_rotary_factor": 0.5}
        ),
        ModelFileError,
    ),
    "model.safetensors: is missing": (lambda folder: (folder / "model.safetensors").unlink(), ModelFileError),
    "damaged or cut off": (cut, ModelFileError),
    "q_proj.weight is missing": (lambda folder: edit_weights(folder, lambda all: all.pop(Q)), ModelFileError),
    "lm_head.weight and 1 more are missing": (
        lambda folder: edit_weights(folder, lambda all: (all.pop(Q), all.pop("lm_head.weight"))),
        ModelFileError,
    ),
    "q_proj.scale is not known": (
        lambda folder: edit_weights(folder, lambda all: all.update({Q.replace("weight", "scale"): torch.ones(1)})),
        ModelFileError,
    ),
    r"q_proj.weight is \[32, 64\], and config.json asks for \[64, 64\]": (
        lambda folder: edit_weights(folder, lambda all: all.update({Q: torch.ones(32, 64)})),
        ModelFileError,
    ),
    "q_proj.weight is I8": (
        lambda folder: edit_weights(folder, lambda all: all.update({Q: torch.ones(64, 64, dtype=torch.int8)})),
        ModelFileError,
    ),
}  # fmt: skip


@pytest.mark.parametrize("words", BROKEN)
def test_a_folder_that_cannot_be_exported_is_an_error(words: str, folder: Path, tmp_path: Path) -> None:
    change, kind = BROKEN[words]
    change(folder)
    with pytest.raises(kind, match=words):
        EXPORT_GGUF.plan({"model": str(folder), "out": str(tmp_path / "a.gguf")})
    assert not (tmp_path / "a.gguf").exists()


def test_rope_factors_are_for_llamas_only(tmp_path: Path) -> None:
    for case, rope in enumerate((make.LLAMA3_ROPE, make.PARTIAL, {**make.YARN, "beta_fast": 16.0})):
        make.save_model(make.Qwen2Config(**make.SMALL, rope_parameters=rope), tmp_path / str(case))
        with pytest.raises(ModelFileError, match="qwen2 has no factors"):
            EXPORT_GGUF.plan({"model": str(tmp_path / str(case)), "out": str(tmp_path / "a.gguf")})


def test_numbers_that_a_type_has_not(folder: Path, tmp_path: Path) -> None:
    edit_weights(folder, lambda all: all[Q][0, 0].fill_(1e6))
    done = attempt(folder, tmp_path / "a.gguf")
    assert done.status == "failed"
    assert "beyond 65504" in done.error
    assert not (tmp_path / "a.gguf").exists()
    assert attempt(folder, tmp_path / "b.gguf", type="bf16").status == "ok"
    edit_weights(folder, lambda all: all[Q][0, 0].fill_(float("inf")))
    assert "NaN or infinity" in attempt(folder, tmp_path / "c.gguf", type="f32").error
    assert not list(tmp_path.glob("*.partial"))


def test_a_model_and_a_tokenizer_of_two_sizes(folder: Path, tmp_path: Path) -> None:
    make.byte_level(make.GPT2, size=700).save_pretrained(folder)
    assert "ids go up to" in attempt(folder, tmp_path / "a.gguf").error


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"type": "q4_0"}, "/type: 'q4_0' is none of"),
        ({"out": None}, "/out: is missing"),
        ({"model": None}, "/model: is missing"),
        ({"lora": True}, "/lora: there is no adapter"),
        ({"adapter": "gone"}, "/adapter: gone has no adapter_config.json"),
        ({"out": "{folder}/config.json/a.gguf"}, "/out: .* is no folder"),
        ({"out": "{folder}"}, "/out: .* exists"),
        ({"out": "{folder}/config.json"}, "/out: .* exists"),
    ],
)
def test_bad_params(change: dict[str, Any], words: str, whole: Path, tmp_path: Path) -> None:
    change = {name: value.format(folder=whole) if isinstance(value, str) else value for name, value in change.items()}
    with pytest.raises(InvalidParams, match=words):
        EXPORT_GGUF.plan({"model": str(whole), "out": str(tmp_path / "a.gguf"), **change})


def test_stopped_leaves_nothing_and_begins_anew(whole: Path, tmp_path: Path) -> None:
    stop, out = threading.Event(), tmp_path / "a.gguf"
    stop.set()
    done = run(EXPORT_GGUF, {"model": str(whole), "out": str(out)}, run_dir=tmp_path / "job", cancelled=stop)
    assert done.status == "cancelled"
    assert not out.exists()
    assert not list(tmp_path.glob("*.partial"))
    assert run(EXPORT_GGUF, {"model": str(whole), "out": str(out)}, run_dir=tmp_path / "job").status == "ok"
    with pytest.raises(InvalidParams, match="exists"):
        EXPORT_GGUF.plan({"model": str(whole), "out": str(out)})
    kept = out.read_bytes()
    assert (
        run(EXPORT_GGUF, {"model": str(whole), "out": str(out), "force": True}, run_dir=tmp_path / "again").status
        == "ok"
    )
    assert out.read_bytes() == kept


FULL = """
import resource, sys
from pathlib import Path
from agentkit.jobs import run
from agentkit_training.export.jobs import EXPORT_GGUF
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
done = run(EXPORT_GGUF, {"model": sys.argv[1], "out": sys.argv[2]}, run_dir=Path(sys.argv[3]))
print(done.status, "|", done.error)
"""


def test_a_file_that_does_not_fit_is_not_there(whole: Path, tmp_path: Path) -> None:
    """The system refuses the write in the middle of the tensors, as a full disk does."""
    out = tmp_path / "target" / "a.gguf"
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(whole), str(out), str(tmp_path / "job")],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert "failed | JobError" in done.stdout, done.stderr
    assert "cannot be written (" in done.stdout
    assert list(out.parent.iterdir()) == []


def test_no_room_is_said_before_anything_is_done(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    check_room(tmp_path / "deep" / "er" / "a.gguf", 10)
    with pytest.raises(JobError, match="bytes are needed and"):
        check_room(tmp_path / "deep" / "er" / "a.gguf", 2 * free)
