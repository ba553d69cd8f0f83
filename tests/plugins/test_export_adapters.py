"""A LoRA does in llama.cpp what it does in PEFT: beside the model, merged on the way out, and merged as a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from peft import LoraConfig, get_peft_model  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402

from agentkit.engine.llama import LlamaEngine  # noqa: E402
from agentkit.engine.llama.library import C  # noqa: E402
from agentkit.errors import InvalidParams, ModelFileError  # noqa: E402
from agentkit.jobs import run  # noqa: E402
from agentkit_training.export.adapters import read_adapter  # noqa: E402
from agentkit_training.export.folder import ModelFolder  # noqa: E402
from agentkit_training.export.jobs import EXPORT_GGUF, MERGE_ADAPTER  # noqa: E402
from agentkit_training.gguf_reader import GgufModel  # noqa: E402
from agentkit_training.sprout_hf import sprout_folder  # noqa: E402
from tests.plugins import export_models as make  # noqa: E402

pytestmark = [  # PEFT asks transformers by an old name, and says that it keeps the embeddings too
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers` to `True`:UserWarning"),
]
IDS = [int(n) for n in np.random.default_rng(1).integers(3, 600, 60)]
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {"r": 4, "lora_alpha": 12, "target_modules": ALL}),
    "llama, output too": ("llama", {"r": 4, "lora_alpha": 8, "target_modules": [*ALL, "lm_head"]}),
    "mistral, rank-stabilised": ("mistral", {"r": 4, "lora_alpha": 6, "use_rslora": True, "target_modules": ALL}),
    "qwen2, patterns": (
        "qwen2",
        {
            "r": 4,
            "lora_alpha": 8,
            "target_modules": ALL,
            "rank_pattern": {"q_proj": 8, "layers.1.mlp.up_proj": 2},
            "alpha_pattern": {"k_proj": 3, "layers.0.self_attn.q_proj": 32},
        },
    ),
    "qwen3, patterns, rank-stabilised": (
        "qwen3",
        {
            "r": 4,
            "lora_alpha": 8,
            "target_modules": ["q_proj", "v_proj"],
            "use_rslora": True,
            "rank_pattern": {"q_proj": 9},
        },
    ),
}


def save_adapter(model: Any, folder: Path, *, train: bool = False, **given: Any) -> Any:
    """Save a LoRA, random or of a few steps, and return the model with it."""
    adapted = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **given))
    if train:
        learn = torch.optim.AdamW([one for one in adapted.parameters() if one.requires_grad], lr=0.02)
        batch = torch.tensor([IDS])
        for _ in range(8):
            learn.zero_grad()
            adapted(batch, labels=batch).loss.backward()
            learn.step()
    else:
        torch.manual_seed(3)
        with torch.no_grad():
            for name, weight in adapted.named_parameters():
                if "lora_" in name:
                    weight.copy_(torch.randn_like(weight) * 0.1)
    adapted.save_pretrained(folder)
    return adapted.eval()


def export(folder: Path, out: Path, **more: Any) -> Path:
    done = run(
        EXPORT_GGUF, {"model": str(folder), "out": str(out), "type": "f32", **more}, run_dir=out.with_suffix(".job")
    )
    assert done.status == "ok", done.error
    return out


def merged(base: Path, adapter: Path, out: Path, **more: Any) -> Path:
    params = {"base": str(base), "adapter": str(adapter), "out": str(out), **more}
    done = run(MERGE_ADAPTER, params, run_dir=out.with_suffix(".job"))
    assert done.status == "ok", done.error
    return out


def logits(path: Path, adapter: Path | None = None, scale: float = 1.0) -> Any:
    """What llama.cpp says, with an adapter loaded beside the model."""
    import ctypes

    with GgufModel(path, window=len(IDS)) as model:
        if adapter is not None:
            handle = C.llama_adapter_lora_init(model._model, str(adapter).encode())
            assert handle
            ones = (C.llama_adapter_lora_p_ctypes * 1)(handle)
            assert C.llama_set_adapters_lora(model._context, ones, 1, (ctypes.c_float * 1)(scale)) == 0
        return model.logits(IDS)


@pytest.mark.parametrize("name", KINDS)
def test_llama_cpp_does_what_peft_does(name: str, tmp_path: Path) -> None:
    kind, given = KINDS[name]
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    model = make.save_model(make.CONFIGS[kind], base)
    with torch.no_grad():
        plain = model(torch.tensor([IDS])).logits[0].numpy()
    adapted = save_adapter(model, adapter, train=name == "llama", **given)
    with torch.no_grad():
        expected = adapted(torch.tensor([IDS])).logits[0].numpy()
    assert np.abs(plain - expected).max() > 0.5
    alone = export(base, tmp_path / "base.gguf")
    beside = export(base, tmp_path / "lora.gguf", adapter=str(adapter), lora=True)
    assert np.abs(logits(alone) - plain).max() < 1e-3
    assert np.abs(logits(alone, beside) - expected).max() < 1e-3
    within = export(base, tmp_path / "within.gguf", adapter=str(adapter))
    assert np.abs(logits(within) - expected).max() < 1e-3
    folder = merged(base, adapter, tmp_path / "merged")
    whole = export(folder, tmp_path / "merged.gguf")
    assert np.abs(logits(whole) - expected).max() < 1e-3
    if name == "llama":
        for narrow, bound in (("f16", 0.02), ("bf16", 0.1)):
            half = export(base, tmp_path / f"{narrow}.gguf", adapter=str(adapter), lora=True, type=narrow)
            assert half.stat().st_size < 0.6 * beside.stat().st_size
            assert np.abs(logits(alone, half) - expected).max() < bound
        named = export(adapter, tmp_path / "named.gguf")  # the adapter says what its base is
        assert named.read_bytes() == within.read_bytes()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A base and an adapter of it."""
    folder = tmp_path_factory.mktemp("pair")
    model = make.save_model(make.CONFIGS["llama"], folder / "base")
    save_adapter(model, folder / "adapter", r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"])
    return folder / "base", folder / "adapter"


def test_adapters_come_and_go_while_the_engine_runs(pair: tuple[Path, Path], tmp_path: Path) -> None:
    base, adapter = pair
    model = export(base, tmp_path / "base.gguf", type="f16")
    lora = export(base, tmp_path / "lora.gguf", adapter=str(adapter), lora=True, type="f16")
    within = export(base, tmp_path / "within.gguf", adapter=str(adapter), type="f16")
    texts = [" the sum", " return", " 12", " value"]

    def said(engine: LlamaEngine, name: str | None = None) -> list[float]:
        return [one.logprob for one in engine.session(make.TEXT, adapter=name).score(texts)]

    with LlamaEngine(model, context=256, threads=1) as engine, LlamaEngine(within, context=256, threads=1) as other:
        handle = engine._loaded().model.handle
        before, expected = said(engine), said(other)
        assert np.abs(np.subtract(before, expected)).max() > 0.1
        engine.load_adapter("mine", lora)
        assert said(engine, "mine") == pytest.approx(expected, abs=0.03)
        assert said(engine) == pytest.approx(before, abs=1e-3)
        engine.load_adapter("half", lora, scale=0.5)
        assert np.abs(np.subtract(said(engine, "half"), expected)).max() > 0.05
        engine.unload_adapter("mine")
        assert said(engine) == pytest.approx(before, abs=1e-3)
        assert engine._loaded().model.handle is handle


def test_the_merged_folder_is_whole(tmp_path: Path) -> None:
    """The type of the weights, the tokenizer and what the model says of itself go along; nothing of the base is touched."""
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    config = make.LlamaConfig(**make.SMALL, tie_word_embeddings=True, agentkit={"name": "mine", "ranker_weight": 0.25})
    config.dtype = torch.bfloat16
    tokenizer = make.byte_level(make.GPT2)
    tokenizer.chat_template = "{{ messages[0].content }}"
    model = make.save_model(config, base, tokenizer)
    save_adapter(model, adapter, r=4, lora_alpha=8, target_modules=ALL)
    kept = {path.name: path.read_bytes() for path in base.iterdir()}
    out = merged(base, adapter, tmp_path / "deep" / "merged")
    assert {path.name: path.read_bytes() for path in base.iterdir()} == kept
    assert not list(out.parent.glob("*.partial"))
    weights = load_file(out / "model.safetensors")
    assert {one.dtype for one in weights.values()} == {torch.bfloat16}
    assert "lm_head.weight" not in weights
    assert json.loads((out / "config.json").read_text())["agentkit"] == {"name": "mine", "ranker_weight": 0.25}
    read = AutoTokenizer.from_pretrained(out)
    assert read.chat_template == tokenizer.chat_template
    assert read(make.TEXT)["input_ids"] == tokenizer(make.TEXT)["input_ids"]
    assert AutoModelForCausalLM.from_pretrained(out).config.vocab_size == 640
    path = export(out, tmp_path / "merged.gguf", type="bf16")
    about = make.metadata(path)
    assert about["general.name"] == "mine"
    assert about["agentkit.ranker_weight"] == 0.25
    assert about["agentkit.dialect"] == "plain/1"
    assert about["tokenizer.chat_template"] == tokenizer.chat_template


def test_sprout_with_an_adapter_is_one_model_by_either_way(tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(sprout_folder())
    save_adapter(model, tmp_path / "adapter", r=4, lora_alpha=8, target_modules="all-linear")
    params = {"base": "sprout", "adapter": str(tmp_path / "adapter"), "out": str(tmp_path / "merged")}
    planned = MERGE_ADAPTER.plan(params)
    assert planned.memory_bytes == 2 * planned.disk_bytes
    out = merged(Path("sprout"), tmp_path / "adapter", tmp_path / "merged")
    assert (out / "model.safetensors").stat().st_size == pytest.approx(planned.disk_bytes, rel=0.01)
    whole = export(out, tmp_path / "whole.gguf")
    within = export(Path("sprout"), tmp_path / "within.gguf", adapter=str(tmp_path / "adapter"))
    assert np.abs(logits(whole) - logits(within)).max() < 1e-3
    assert make.metadata(whole) == make.metadata(within)


def test_the_tokenizer_that_was_trained_with_goes_along(pair: tuple[Path, Path], tmp_path: Path) -> None:
    """TRL leaves the tokenizer beside the adapter, perhaps with the template that it trained by."""
    base, adapter = pair
    mine = tmp_path / "adapter"
    mine.mkdir()
    for file in adapter.iterdir():
        (mine / file.name).write_bytes(file.read_bytes())
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.chat_template = "{{ messages[-1].content }}"
    tokenizer.save_pretrained(mine)
    path = export(base, tmp_path / "a.gguf", adapter=str(mine))
    assert make.metadata(path)["tokenizer.chat_template"] == tokenizer.chat_template
    assert (
        AutoTokenizer.from_pretrained(merged(base, mine, tmp_path / "merged")).chat_template == tokenizer.chat_template
    )


def altered(adapter: Path, folder: Path, change: Any = None, **settings: Any) -> Path:
    """Return a copy of an adapter with other settings, and with `change` made to its tensors."""
    folder.mkdir(exist_ok=True)
    config = json.loads((adapter / "adapter_config.json").read_text()) | settings
    (folder / "adapter_config.json").write_text(json.dumps(config))
    tensors = load_file(adapter / "adapter_model.safetensors")
    if change is not None:
        change(tensors)
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


REFUSED: dict[str, dict[str, Any]] = {
    "peft_type IA3": {"peft_type": "IA3"},
    "bias 'all'": {"bias": "all"},
    "use_dora": {"use_dora": True},
    "modules_to_save": {"modules_to_save": ["lm_head"]},
    "pissa": {"init_lora_weights": "pissa_niter_4"},
    "something_new": {"something_new": 3},
    "kasa_config": {"kasa_config": {"beta": 1}},
    "lora_alpha 0": {"lora_alpha": 0},
    "lora_alpha None": {"lora_alpha": None},
}


@pytest.mark.parametrize("words", REFUSED)
def test_more_than_a_lora_is_an_error(words: str, pair: tuple[Path, Path], tmp_path: Path) -> None:
    base, adapter = pair
    with pytest.raises(ModelFileError, match=words):
        read_adapter(altered(adapter, tmp_path / "odd", **REFUSED[words]), ModelFolder(base))


Q = "base_model.model.model.layers.0.self_attn.q_proj"
BROKEN: dict[str, tuple[Any, type[Exception]]] = {
    "lora_embedding_A": (
        lambda tensors: tensors.update({"base_model.model.model.embed_tokens.lora_embedding_A": torch.ones(4, 640)}),
        ModelFileError,
    ),
    "lora_magnitude": (
        lambda tensors: tensors.update({f"{Q}.lora_magnitude_vector.weight": torch.ones(64)}),
        ModelFileError,
    ),
    "do not fit together": (lambda tensors: tensors.pop(f"{Q}.lora_B.weight"), ModelFileError),
    "holds no pairs": (lambda tensors: tensors.clear(), ModelFileError),
    "this model's is": (lambda tensors: tensors.update({f"{Q}.lora_B.weight": torch.ones(32, 4)}), InvalidParams),
    "does not have": (
        lambda tensors: tensors.update(
            {
                f"{Q.replace('.0.', '.7.')}.lora_A.weight": torch.ones(4, 64),
                f"{Q.replace('.0.', '.7.')}.lora_B.weight": torch.ones(64, 4),
            }
        ),
        InvalidParams,
    ),
}


@pytest.mark.parametrize("words", BROKEN)
def test_an_adapter_that_does_not_fit_is_an_error(words: str, pair: tuple[Path, Path], tmp_path: Path) -> None:
    base, adapter = pair
    change, kind = BROKEN[words]
    with pytest.raises(kind, match=words):
        read_adapter(altered(adapter, tmp_path / "odd", change), ModelFolder(base))


def test_the_output_of_a_tied_model_has_no_adapter(tmp_path: Path) -> None:
    model = make.save_model(make.CONFIGS["qwen2"], tmp_path / "base")
    with pytest.warns(UserWarning, match="tie_word_embeddings"):
        save_adapter(model, tmp_path / "adapter", r=4, lora_alpha=8, target_modules=["lm_head", "q_proj"])
    with pytest.raises(InvalidParams, match="output is its embedding"):
        read_adapter(tmp_path / "adapter", ModelFolder(tmp_path / "base"))
    params = {"base": str(tmp_path / "base"), "adapter": str(tmp_path / "adapter"), "out": str(tmp_path / "out")}
    with pytest.raises(InvalidParams, match="would change both"):
        MERGE_ADAPTER.plan(params)


def test_nan_is_not_written(pair: tuple[Path, Path], tmp_path: Path) -> None:
    base, adapter = pair
    nan = altered(adapter, tmp_path / "nan", lambda tensors: tensors[f"{Q}.lora_B.weight"].fill_(float("nan")))
    out = tmp_path / "a.gguf"
    for lora in (False, True):
        params = {"model": str(base), "adapter": str(nan), "lora": lora, "out": str(out)}
        done = run(EXPORT_GGUF, params, run_dir=tmp_path / f"job-{lora}")
        assert done.status == "failed"
        assert "NaN" in done.error
    done = run(MERGE_ADAPTER, {"base": str(base), "adapter": str(nan), "out": str(out)}, run_dir=tmp_path / "merge")
    assert done.status == "failed"
    assert "cannot be merged" in done.error
    assert not out.exists()
    assert not list(tmp_path.glob("*.partial"))


def test_an_adapter_of_another_base_is_not_merged(pair: tuple[Path, Path], tmp_path: Path) -> None:
    _, adapter = pair
    for case, sizes in enumerate(({"num_hidden_layers": 3}, {"num_hidden_layers": 1}, {"hidden_size": 32})):
        other = tmp_path / f"base-{case}"
        make.save_model(make.LlamaConfig(**make.SMALL | sizes), other)
        params = {"base": str(other), "adapter": str(adapter), "out": str(tmp_path / "out")}
        done = run(MERGE_ADAPTER, params, run_dir=tmp_path / f"job-{case}")
        assert done.status == "failed"
        assert "does not fit" in done.error
        assert not (tmp_path / "out").exists()


def test_what_peft_can_merge_beyond_llama_cpp_is_merged(tmp_path: Path) -> None:
    model = make.save_model(make.CONFIGS["llama"], tmp_path / "base")
    adapted = save_adapter(model, tmp_path / "adapter", r=4, lora_alpha=8, target_modules=ALL, use_dora=True)
    with torch.no_grad():
        expected = adapted(torch.tensor([IDS])).logits[0].numpy()
    out = merged(tmp_path / "base", tmp_path / "adapter", tmp_path / "merged")
    assert np.abs(logits(export(out, tmp_path / "a.gguf")) - expected).max() < 1e-3


def test_bad_params_of_a_merge(pair: tuple[Path, Path], tmp_path: Path) -> None:
    base, adapter = pair
    (tmp_path / "there").mkdir()
    good = {"base": str(base), "adapter": str(adapter), "out": str(tmp_path / "out")}
    for change, words in (
        ({"base": str(tmp_path / "gone")}, "/model: "),
        ({"base": str(adapter)}, "/base: .* is an adapter"),
        ({"adapter": str(base)}, "/adapter: .* no adapter_config"),
        ({"adapter": None}, "/adapter: is missing"),
        ({"out": str(tmp_path / "there")}, "/out: .* exists"),
        ({"out": str(base), "force": True}, "/out: .* exists"),
        ({"out": str(adapter / "adapter_config.json" / "x")}, "/out: .* no folder"),
    ):
        with pytest.raises(InvalidParams, match=words):
            MERGE_ADAPTER.plan({**good, **change})
    (tmp_path / "there" / "old").write_text("old")
    out = merged(base, adapter, tmp_path / "there", force=True)
    assert not (out / "old").exists()
    assert (out / "model.safetensors").exists()
