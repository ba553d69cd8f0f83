"""The action `quantize`: a smaller GGUF, and what it costs: size by tensor, perplexity, divergence, agreement, speed."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from agentkit.errors import InvalidParams
from agentkit.jobs import Job, JobContext, JobPlan, write_atomic
from agentkit_training.comparing import Sums, compared, windows
from agentkit_training.gguf_reader import GgufModel, Tensor, tensors
from agentkit_training.quantize import QUANTS, quantize

__all__ = ["QUANTIZE", "bits", "sizes"]

BITS = {"q8_0": 8.5, "q6_k": 6.6, "q5_k_m": 5.7, "q4_k_m": 4.9, "q4_0": 4.6, "f16": 16.0}  # a weight, of a whole file
WINDOW = 256  # tokens
CHECKPOINT = "sums.json"


def plan(params: Mapping[str, Any]) -> JobPlan:
    """Return what a quantisation would do.

    Params: `model` (a GGUF file), `to` (one of `QUANTS`), `out` (the file to write), `text` (a file to compare on, or None),
    `window` (tokens), `threads`.

    Raises:
        InvalidParams: a file is not there or would be overwritten, or a value is off.
        ModelFileError: the model is no GGUF.
    """
    source, out = Path(_param(params, "model")), Path(_param(params, "out"))
    kind, window = str(params.get("to", "q8_0")), params.get("window", WINDOW)
    if kind not in QUANTS:
        raise InvalidParams(f"/to: unknown quantisation '{kind}'; one of {', '.join(QUANTS)}")
    if type(window) is not int or not 16 <= window <= 4_096:
        raise InvalidParams(f"/window: {window!r} tokens; a whole number from 16 to 4096")
    if not source.is_file():
        raise InvalidParams(f"/model: there is no file {source}; `agentkit models list` shows what is here")
    if out.resolve() == source.resolve() or (out.exists() and not params.get("force")):
        raise InvalidParams(f"/out: {out} exists; name another file, or force it")
    weights = sum(tensor.elements for tensor in tensors(source))
    text = params.get("text")
    size = round(weights * BITS[kind] / 8)
    memory = size if text is None else size + source.stat().st_size
    config = {
        "model": _digest(source),
        "to": kind,
        "text": None if text is None else _digest(_text(text)),
        "window": window,
    }
    return JobPlan(config=config, memory_bytes=memory, disk_bytes=size, backend="llama.cpp", why="it has the kernels")


def run(params: Mapping[str, Any], context: JobContext) -> Mapping[str, Any]:
    """Quantise, compare where there is a text, and return the figures; goes on after the last window compared.

    The new model is in the run folder until all is done; then it is where it was asked for.
    """
    source, out, kind = Path(params["model"]), Path(params["out"]), str(params.get("to", "q8_0"))
    made = context.artifact_dir / out.name
    if not made.exists():
        made.parent.mkdir(parents=True, exist_ok=True)
        quantize(source, made, kind=kind, threads=int(params.get("threads", 2)))
    before, after = tensors(source), tensors(made)
    figures: dict[str, Any] = {
        "bytes_before": source.stat().st_size,
        "bytes": made.stat().st_size,
        "bits_per_weight_before": bits(before),
        "bits_per_weight": bits(after),
        "by_kind": sizes(after),
    }
    write_atomic(context.artifact_dir / "tensors.json", json.dumps([_row(tensor) for tensor in after], indent=1))
    if params.get("text") is not None:
        figures |= _compared(params, made, context).metrics()
        if context.should_stop() and context.ended() != "ok":
            return figures
    out.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(made, out)
    context.artifact(out, "model")
    return figures


def _compared(params: Mapping[str, Any], made: Path, context: JobContext) -> Sums:
    """Compare the models window by window until all is read or the job is to stop."""
    kept, window = context.checkpoint_dir / CHECKPOINT, int(params.get("window", WINDOW))
    sums = Sums.from_plain(json.loads(kept.read_text())) if kept.exists() else Sums()
    room = {"window": window + 1, "threads": int(params.get("threads", 2))}
    with GgufModel(Path(params["model"]), **room) as base, GgufModel(made, **room) as other:
        texts = windows(base.tokens(_text(params["text"]).read_text("utf-8", "replace")), window)
        for now in compared(base, other, texts, sums):
            write_atomic(kept, json.dumps(now.to_plain()))
            figures = now.metrics()
            context.step(now.windows, len(texts), {name: figures[name] for name in ("perplexity", "kl", "top_1")})
            if context.should_stop():
                break
    return sums


def bits(found: Iterable[Tensor]) -> float:
    """Return the bits a weight over tensors, each weighing as many weights as it has."""
    pairs = [(tensor.bytes, tensor.elements) for tensor in found]
    return 8 * sum(size for size, _ in pairs) / max(1, sum(count for _, count in pairs))


def sizes(found: Iterable[Tensor]) -> dict[str, dict[str, float]]:
    """Return by kind how many tensors and weights there are, and the bits a weight."""
    groups: dict[str, list[Tensor]] = defaultdict(list)
    for tensor in found:
        groups[tensor.kind].append(tensor)
    return {
        kind: {"tensors": len(of), "weights": sum(one.elements for one in of), "bits": bits(of)}
        for kind, of in sorted(groups.items(), key=lambda pair: -sum(one.bytes for one in pair[1]))
    }


def _row(tensor: Tensor) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "kind": tensor.kind,
        "weights": tensor.elements,
        "bytes": tensor.bytes,
        "bits": tensor.bits,
    }


def _param(params: Mapping[str, Any], name: str) -> str:
    if not isinstance(params.get(name), str):
        raise InvalidParams(f"/{name}: is missing; give a file")
    return str(params[name])


def _text(name: object) -> Path:
    path = Path(str(name))
    if not path.is_file():
        raise InvalidParams(f"/text: there is no file {path}")
    return path


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


QUANTIZE = Job(name="quantize", home="agentkit_training.quantizing:QUANTIZE", plan=plan, run=run)
