"""LoRA adapters, request by request: what a change costs, and whether anything of one is seen under another."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from agentkit.engine.llama.adapters import AdapterSet
from agentkit.engine.llama.context import Context, ContextOptions, Logits, Part
from agentkit.engine.llama.jobs import Job, results
from agentkit.engine.llama.schedule import Open, Plan, Read
from agentkit.engine.llama.sessions import Text
from benchmarks.engine_bench import SEED, Bench, difference
from benchmarks.figures import Measured

RANK, ALPHA = 4, 8.0
LAYERS = ("attn_q", "attn_v", "ffn_down")
PROMPT_TOKENS, PROMPTS, STEPS = 48, 4, 12
NAME = "random"


def adapters(bench: Bench, repeats: int) -> list[Measured]:
    """Requests with and without an adapter, in turn."""
    with tempfile.TemporaryDirectory() as folder:
        bench.engine.load_adapter(NAME, write(Path(folder) / "lora.gguf", bench.path))
        try:
            return [*swaps(bench, repeats), *leaks(bench)]
        finally:
            bench.engine.unload_adapter(NAME)


def swaps(bench: Bench, repeats: int) -> list[Measured]:
    """What changing the adapters takes, and by how much a batch is longer after it: llama.cpp plans it anew."""
    context = bench.loaded.context
    changes, after, beside = [], [], []
    use, decode = context.use_adapters, context.decode
    changed = [False]

    def timed_use(wanted: Any) -> None:
        changed[0] = wanted != context._adapters
        began = time.perf_counter()
        use(wanted)
        if changed[0]:
            changes.append(time.perf_counter() - began)

    def timed_decode(parts: Sequence[Part]) -> list[list[Logits]]:
        began = time.perf_counter()
        found = decode(parts)
        if sum(len(part.tokens) for part in parts) == 1:
            (after if changed[0] else beside).append(time.perf_counter() - began)
        return found

    with_it, without = (bench.engine.session(bench.text(PROMPT_TOKENS), adapter=name) for name in (NAME, None))
    for talk in (with_it, without):
        talk.generate(Text(max_tokens=1))
    context.use_adapters, context.decode = timed_use, timed_decode  # type: ignore[method-assign]
    try:
        for _ in range(max(2, repeats) * STEPS):
            for talk in (with_it, without):
                talk.append(bench.text(1))
                talk.generate(Text(max_tokens=2))  # its first batch comes after a change, its second does not
    finally:
        del context.use_adapters, context.decode
    bench.tick(0.5)
    pairs = list(zip(after, beside, strict=False))
    return [
        Measured(id="adapters-swap", what="changing the adapters between two requests, median",
                 value=round(1000 * statistics.median(changes), 4), unit="ms", n=len(changes), target=1.0),
        difference("adapters-after", "by how much a batch of one token is longer right after a change",
                   [one for one, _ in pairs], [other for _, other in pairs]),
    ]  # fmt: skip


def leaks(bench: Bench) -> list[Measured]:
    """The same prompts under one and the other, in turn, against contexts that have read nothing else."""
    bench.fresh()
    worst = apart = 0.0
    prompts = [bench.text(PROMPT_TOKENS) for _ in range(PROMPTS)]
    sets = {name: bench.loaded.adapters.of(name) for name in (None, NAME)}
    expected = {
        (n, name): alone(bench, prompt, used) for n, prompt in enumerate(prompts) for name, used in sets.items()
    }
    for order in ((None, NAME), (NAME, None)):  # the second time round what is kept is found
        for n, prompt in enumerate(prompts):
            for name in order:
                (row,) = results(bench.loaded.scheduler, Job(None, None), _row(bench, prompt, sets[name]))
                worst = max(worst, float(np.abs(row - expected[n, name]).max()))
            apart = max(apart, float(np.abs(expected[n, None] - expected[n, NAME]).max()))
    assert apart > 0.1, "the adapter changes nothing, so nothing can be seen to leak"
    bench.tick(0.5)
    return [Measured(id="adapters-leak", what="largest difference of a logit after a change to that of a fresh context",
                     value=round(worst, 6), unit="logits", n=2 * PROMPTS * 2, target=0.01)]  # fmt: skip


def alone(bench: Bench, prompt: Sequence[int], used: AdapterSet) -> Logits:
    """Return the logits after `prompt` of a context of its own."""
    handles = bench.loaded.adapters.handles
    context = Context(bench.loaded.model, ContextOptions(tokens=512, threads=bench.threads, live=1))
    try:
        context.use_adapters(tuple((handles[one.id], one.scale) for one in used))
        ((row,),) = context.decode([Part(0, prompt, [len(prompt) - 1])])
        return row.copy()
    finally:
        context.close()


def write(path: Path, model: Path, *, seed: int = SEED) -> Path:
    """Write a random LoRA over the first block of `model`, in PEFT's layout: A is (rank, in), B is (out, rank)."""
    rng = np.random.default_rng(seed)
    reader = gguf.GGUFReader(str(model))
    writer = gguf.GGUFWriter(str(path), str(reader.fields["general.architecture"].contents()))
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", ALPHA)
    shapes = {tensor.name: tuple(map(int, tensor.shape)) for tensor in reader.tensors}
    for layer in LAYERS:
        name = f"blk.0.{layer}.weight"
        into, out = shapes[name]
        writer.add_tensor(f"{name}.lora_a", (rng.standard_normal((RANK, into)) / np.sqrt(into)).astype(np.float32))
        writer.add_tensor(f"{name}.lora_b", (rng.standard_normal((out, RANK)) * 0.5).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _row(bench: Bench, tokens: Sequence[int], used: AdapterSet) -> Plan:
    """Return the logits after `tokens`, read or kept."""
    opened = yield Open(tokens, used)
    kept: dict[int, Logits] = {}
    try:
        if opened.row is not None:
            return opened.row.copy()
        known = bench.loaded.context.keep_first(opened.sequence, min(opened.length, len(tokens) - 1))
        (row,) = yield Read(opened.sequence, tokens[known:], [len(tokens) - known - 1])
        kept[len(tokens)] = row.copy()
        return kept[len(tokens)]
    finally:
        bench.loaded.prefixes.close(opened.sequence, tokens, used, kept)
