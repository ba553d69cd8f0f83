"""The actions `export_gguf` and `merge_adapter`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agentkit.errors import AgentkitError, InvalidParams, JobError
from agentkit.jobs import Job, JobContext, JobPlan
from agentkit_training.export.adapters import Adapter, read_adapter
from agentkit_training.export.checking import check_vocabulary
from agentkit_training.export.folder import FLOATS, ModelFolder, headers, read_json
from agentkit_training.export.lora import KINDS as LORA_KINDS
from agentkit_training.export.lora import write_lora
from agentkit_training.export.merging import check_pair, merge, tokenizer_folder
from agentkit_training.export.rope import rope_of
from agentkit_training.export.vocabulary import load_tokenizer, vocabulary_of
from agentkit_training.export.writing import KINDS, file_bytes, write_model
from agentkit_training.finetune.bases import find_base

__all__ = ["EXPORT_GGUF", "MERGE_ADAPTER", "check_room"]

BYTES_PER_S = 100e6  # read and written, on two cores that others used as well: 75 MB at Q8_0, 220 MB at F32
WIDTHS = {"float32": 4, "float16": 2, "bfloat16": 2}  # bytes
VOCABULARY_BYTES = 64  # a token with its type, score and merge


def plan_export(params: Mapping[str, Any]) -> JobPlan:
    """Return what an export would do.

    Params: `model` (a folder of transformers, an adapter's folder, or `sprout`), `out` (the file), `type` (f32, f16, bf16, q8_0),
    `adapter` (a folder of PEFT, or None: it is added to the weights), `lora` (write the adapter alone), `force` (replace the file).

    Raises:
        InvalidParams: a value is off, something is not there, or would be overwritten.
        ModelFileError: the model or the adapter cannot be exported.
    """
    out, kind = _out(params), str(params.get("type", "f16"))
    if kind not in KINDS:
        raise InvalidParams(
            f"/type: '{kind}' is none of {', '.join(KINDS)}; `agentkit train quantize` makes smaller ones"
        )
    if out.is_dir() or (out.exists() and not params.get("force")):
        raise InvalidParams(f"/out: {out} exists; name another file, or force it")
    folder, adapter = _parts(params)
    needed = folder.wanted()
    rope_of(folder.config, folder.architecture, folder.shape, folder.path / "config.json")
    if params.get("lora"):
        if adapter is None:
            raise InvalidParams("/lora: there is no adapter; give one")
        if kind not in LORA_KINDS:
            raise InvalidParams(f"/type: an adapter is written as one of {', '.join(LORA_KINDS)}")
        disk = largest = sum(4 * (pair.a.elements + pair.b.elements) for pair in adapter.pairs.values())
        read = disk
    else:
        disk = file_bytes(folder, kind) + VOCABULARY_BYTES * folder.shape.vocab
        largest = max(3 * 4 * folder.headers[name].elements for name in needed)
        read = sum(FLOATS[folder.headers[name].dtype] * folder.headers[name].elements for name in needed)
    check_room(out, disk)
    config = {
        "model": _stamp(folder.path),
        "adapter": None if adapter is None else _stamp(adapter.path),
        "type": kind,
        "lora": bool(params.get("lora")),
    }
    return JobPlan(
        config=config,
        seconds=(read + disk) / BYTES_PER_S,
        memory_bytes=largest,
        disk_bytes=disk,
        backend="gguf",
        why="it writes what llama.cpp reads, a tensor at a time",
    )


def run_export(params: Mapping[str, Any], context: JobContext) -> Mapping[str, Any]:
    """Write the file and return its figures; what was stopped leaves nothing, and begins anew."""
    out, kind = _out(params), str(params.get("type", "f16"))
    folder, adapter = _parts(params)
    with _written(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        if params.get("lora") and adapter is not None:
            write_lora(folder, adapter, out, kind=kind)
            context.artifact(out, "adapter")
            return {"bytes": out.stat().st_size, "tensors": 2 * len(adapter.pairs)}
        tokenizer = load_tokenizer(tokenizer_folder(folder.path, None if adapter is None else adapter.path))
        vocabulary = vocabulary_of(tokenizer, folder)
        if vocabulary.template is None:
            context.warn(
                "the tokenizer has no chat template, which the agent needs; put chat_template.jinja into the folder"
            )
        scratch = context.checkpoint_dir / "vocabulary.gguf"
        texts = check_vocabulary(vocabulary, tokenizer, folder.architecture.name, scratch)

        def step(done: int, total: int) -> bool:
            context.step(done, total, phase="tensors")
            return context.should_stop()

        if folder.shape.context < folder.config.max_position_embeddings:
            context.warn(
                f"the context is {folder.shape.context} tokens, for the model looks back no further and llama.cpp would"
            )
        write_model(folder, vocabulary, out, kind=kind, adapter=adapter, step=step)
    context.artifact(out, "model")
    needed = folder.wanted()
    return {
        "bytes": out.stat().st_size,
        "tensors": len(needed),
        "parameters": sum(folder.headers[name].elements for name in needed),
        "texts_compared": texts,
    }


def plan_merge(params: Mapping[str, Any]) -> JobPlan:
    """Return what a merge would do.

    Params: `base` (a folder of transformers, or `sprout`), `adapter` (a folder of PEFT), `out` (the folder to write), `force`
    (replace the folder).

    Raises:
        InvalidParams: something is not there, does not fit, or would be overwritten.
        ModelFileError: a file is damaged.
    """
    out, base, adapter = _out(params), _base(params), Path(_param(params, "adapter"))
    if out.exists() and (
        not params.get("force") or not out.is_dir() or out.resolve() in {base.resolve(), adapter.resolve()}
    ):
        raise InvalidParams(f"/out: {out} exists; name another folder, or force it")
    check_pair(base, adapter)
    told = read_json(base / "config.json")
    width = WIDTHS.get(str(told.get("dtype") or told.get("torch_dtype")))
    size = sum(one.elements * (width or FLOATS.get(one.dtype, 4)) for one in headers(base, "model").values())
    check_room(out, size)
    return JobPlan(
        config={"base": _stamp(base), "adapter": _stamp(adapter)},
        seconds=2 * size / BYTES_PER_S,
        memory_bytes=2 * size,
        disk_bytes=size,
        backend="peft",
        why="it trained the adapter",
    )


def run_merge(params: Mapping[str, Any], context: JobContext) -> Mapping[str, Any]:
    """Write the merged folder and return its figures."""
    out, base, adapter = _out(params), _base(params), Path(_param(params, "adapter"))
    with _written(out):
        merge(base, adapter, out)
    context.step(1, 1)
    for file in sorted(out.iterdir()):
        context.artifact(file, "model")
    return {"bytes": sum(file.stat().st_size for file in out.iterdir()), "files": len(list(out.iterdir()))}


def _parts(params: Mapping[str, Any]) -> tuple[ModelFolder, Adapter | None]:
    """Return the model, and the adapter: the one that is asked for, or the one that `model` itself is."""
    base, adapter = find_base(_param(params, "model")), params.get("adapter")
    if base.adapter:
        if adapter is not None:
            raise InvalidParams("/adapter: the model is an adapter itself; merge one of the two first")
        if not read_json(base.folder / "adapter_config.json").get("base_model_name_or_path"):
            raise InvalidParams(
                f"/model: {base.folder} is an adapter that does not name its base; give the base, and it as adapter"
            )
        adapter, base = str(base.folder), find_base(base.under().name)
    folder = ModelFolder(base.folder)
    return folder, None if adapter is None else read_adapter(Path(str(adapter)), folder)


def _base(params: Mapping[str, Any]) -> Path:
    base = find_base(_param(params, "base"))
    if base.adapter:
        raise InvalidParams(f"/base: {base.folder} is an adapter; give the folder of the model that it was trained on")
    return base.folder


def _param(params: Mapping[str, Any], name: str) -> str:
    value = params.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidParams(f"/{name}: is missing; give a folder or a file")
    return value


def _out(params: Mapping[str, Any]) -> Path:
    out = Path(_param(params, "out"))
    there = next(parent for parent in out.absolute().parents if parent.exists())
    if not there.is_dir():
        raise InvalidParams(f"/out: {there} is no folder; name a place that can be written")
    return out


def check_room(out: Path, size: int) -> None:
    """Look whether there is room for `size` bytes where `out` is to be written.

    Raises:
        JobError: there is not.
    """
    there = next(parent for parent in out.absolute().parents if parent.exists())
    free = shutil.disk_usage(there).free
    if size > free:
        raise JobError(f"{there}: {size:,} bytes are needed and {free:,} are free; name a place with room")


@contextmanager
def _written(out: Path) -> Iterator[None]:
    """Say which target it was that could not be written.

    Raises:
        JobError: the system refused.
    """
    try:
        yield
    except AgentkitError:
        raise
    except OSError as error:
        raise JobError(
            f"{out}: cannot be written ({error.strerror or error}); nothing is there: make room, or name another"
        ) from error


def _stamp(folder: Path) -> list[list[Any]]:
    """Return names, sizes and times of a folder's files: what is cheap and changes with them."""
    files = sorted(file for file in folder.iterdir() if file.is_file())
    return [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]


EXPORT_GGUF = Job(
    name="export_gguf", home="agentkit_training.export.jobs:EXPORT_GGUF", plan=plan_export, run=run_export
)
MERGE_ADAPTER = Job(
    name="merge_adapter", home="agentkit_training.export.jobs:MERGE_ADAPTER", plan=plan_merge, run=run_merge
)
