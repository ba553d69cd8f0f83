"""Rebuild sprout, the embedded model, from nothing: tokenizer, training, GGUF, quantisation.

    python scripts/build_sprout.py                    everything; about 100 minutes on two idle cores
    python scripts/build_sprout.py --seconds 600      a smaller model of the same recipe, for a look
    python scripts/build_sprout.py --install          put the result where agentkit ships it

Stop it with Ctrl-C and start it again: it goes on where it was. Everything lands in the run folder
(`runs/sprout` unless `--run-dir` says otherwise): events, metrics, checkpoints and the artefacts. The same
budget, counted in tokens, gives the same data in the same order; see docs/sprout.md for what it scores.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from agentkit.engine.dialects.plain import CONTROL_IDS
from agentkit.engine.dialects.plain_template import TEMPLATE
from agentkit.jobs import Job, JobContext, JobPlan, run
from agentkit_synthesis.conversation import Conversation, render
from agentkit_synthesis.stream import conversations, corpus_text
from agentkit_training.circuits import lay_circuits
from agentkit_training.floats import load_floats, save_floats
from agentkit_training.gguf_writer import ModelCard, write_gguf
from agentkit_training.llama import Llama, LlamaConfig
from agentkit_training.pretrain import PretrainConfig, Sample, load_weights, pretrain
from agentkit_training.quantize import quantize
from agentkit_training.tokenizer import TextTokenizer, dull_tokens, standard_library_texts, train_tokenizer

ROOT = Path(__file__).parents[1]
SHIPPED = ROOT / "agentkit" / "models" / "weights" / "sprout.gguf"
KEPT = ROOT / "plugins" / "agentkit_training" / "weights"
FLOATS, TOKENIZER = "sprout-f16.safetensors", "tokenizer.json"
MODEL = LlamaConfig(layers=5, hidden=512)
PARAMETERS = 4_328_192
SPEED = 4_500  # tokens a second on two idle cores with AVX-512
CONTEXT = 4096

DEFAULTS: Mapping[str, Any] = {
    "tokens": 28_000_000,
    "seconds": 10_000.0,
    "muon_rate": 0.0015,
    "adam_rate": 0.002,
    "batch_tokens": 4096,
    "corpus_texts": 60_000,
    "corpus_seed": 5,
    "data_seed": 11,
    "seed": 0,
    "threads": 2,
    "compile": True,
    "kind": "q8_0",
    "ranker_weight": 0.5,  # python -m benchmarks.sprout --fit
}


def plan(params: Mapping[str, Any]) -> JobPlan:
    """Return what building would cost."""
    config = {**DEFAULTS, **params}
    seconds = min(config["seconds"], config["tokens"] / SPEED) + 60
    return JobPlan(
        config=config,
        seconds=seconds,
        memory_bytes=4 << 30,
        disk_bytes=200 << 20,
        backend="torch on the CPU",
        why=f"{PARAMETERS / 1e6:.1f}M parameters; {config['tokens'] / 1e6:g}M tokens or {config['seconds']:g} s",
    )


def build(params: Mapping[str, Any], context: JobContext) -> Mapping[str, Any]:
    """Train and write the model; returns the last evaluation."""
    config = {**DEFAULTS, **params}
    torch.set_num_threads(config["threads"])
    torch.manual_seed(config["seed"])
    tokenizer = _tokenizer(config, context)
    model = Llama(MODEL)
    lay_circuits(model, dull=dull_tokens(tokenizer))
    done = pretrain(
        model,
        lambda first: samples(tokenizer, config["data_seed"], first),
        context.checkpoint_dir,
        _schedule(config),
        report=lambda line: context.step(int(1000 * line["done"]), 1000, line["metrics"], phase=line["phase"]),
        stop=context.should_stop,
    )
    if done.status == "ok":
        export(load_weights(Llama(MODEL), done.weights), tokenizer, context.artifact_dir, config)
        context.step(1000, 1000, phase="written")
    return {**done.metrics, "tokens": done.tokens, "train_seconds": done.seconds}


def samples(tokenizer: TextTokenizer, seed: int, first: int) -> Iterator[Sample]:
    """Yield training samples from number `first` on."""
    for conversation in conversations(seed, split="train", start=first):
        yield encode(conversation, tokenizer)


def encode(conversation: Conversation, tokenizer: TextTokenizer) -> tuple[list[int], list[float]]:
    """Return a conversation's token ids, and what each counts in the loss."""
    ids: list[int] = []
    weights: list[float] = []
    for piece, weight in render(conversation):
        found = [CONTROL_IDS[piece.text]] if piece.control else tokenizer.encode(piece.text)
        ids += found
        weights += [weight] * len(found)
    return ids[:CONTEXT], weights[:CONTEXT]


def export(model: Llama, tokenizer: TextTokenizer, folder: Path, config: Mapping[str, Any]) -> Path:
    """Write float weights, tokenizer and the GGUF to ship; return the GGUF."""
    save_floats(model, folder / FLOATS)
    tokenizer.save(folder / TOKENIZER)
    card = ModelCard(
        description="Routes a request to a tool, fills its arguments and reports the result. Trained from scratch.",
        chat_template=TEMPLATE,
        ranker_weight=config["ranker_weight"],
    )
    half = write_gguf(model, tokenizer, folder / "sprout-f16.gguf", card=card, dtype="f16")
    target = folder / "sprout.gguf"
    if config["kind"] == "f16":
        shutil.copyfile(half, target)
        return target
    full = write_gguf(model, tokenizer, folder / "sprout-f32.gguf", card=card, dtype="f32")
    return quantize(full, target, kind=config["kind"])


def read_floats(folder: Path = KEPT) -> tuple[Llama, TextTokenizer]:
    """Return the float model and its tokenizer from the files that `export` wrote."""
    return load_floats(Llama(MODEL), folder / FLOATS), TextTokenizer.load(folder / TOKENIZER)


def install(artifacts: Path) -> None:
    """Copy the artefacts to where agentkit ships them."""
    SHIPPED.parent.mkdir(parents=True, exist_ok=True)
    KEPT.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(artifacts / "sprout.gguf", SHIPPED)
    for name in (FLOATS, TOKENIZER):
        shutil.copyfile(artifacts / name, KEPT / name)


def _tokenizer(config: Mapping[str, Any], context: JobContext) -> TextTokenizer:
    path = context.checkpoint_dir / TOKENIZER
    if not path.exists():
        ours = corpus_text(config["corpus_seed"], config["corpus_texts"])
        train_tokenizer(itertools.chain(ours, (text.lower() for text in standard_library_texts()))).save(path)
    return TextTokenizer.load(path)


def _schedule(config: Mapping[str, Any]) -> PretrainConfig:
    return PretrainConfig(
        budget_tokens=config["tokens"],
        budget_s=config["seconds"],
        batch_tokens=config["batch_tokens"],
        muon_rate=config["muon_rate"],
        adam_rate=config["adam_rate"],
        seed=config["seed"],
        compile=config["compile"],
    )


JOB = Job(name="build-sprout", plan=plan, run=build)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build, with a progress bar; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run-dir", type=Path, default=ROOT / "runs" / "sprout")
    parser.add_argument("--tokens", type=int, help="training budget in tokens")
    parser.add_argument("--seconds", type=float, help="training budget in seconds; whichever is spent first ends it")
    parser.add_argument("--kind", help="f16, q8_0, q6_k, q5_k_m or q4_k_m")
    parser.add_argument(
        "--ranker-weight", type=float, help="written into the GGUF; see python -m benchmarks.sprout --fit"
    )
    parser.add_argument("--no-compile", action="store_true", help="do without torch.compile")
    parser.add_argument("--install", action="store_true", help="put the result where agentkit ships it")
    parser.add_argument("--plan", action="store_true", help="say what it would cost, and stop")
    told = parser.parse_args(arguments)
    params = {
        name: value
        for name in ("tokens", "seconds", "kind", "ranker_weight")
        if (value := getattr(told, name)) is not None
    }
    if told.no_compile:
        params["compile"] = False
    cost = plan(params)
    print(f"build-sprout: {cost.why}; about {cost.seconds / 60:.0f} minutes, {cost.backend}", file=sys.stderr)
    if told.plan:
        return 0
    result = _watched(params, told.run_dir)
    print(f"{result.status}: {told.run_dir / 'artifacts'}", file=sys.stderr)
    if result.status == "ok" and told.install:
        install(told.run_dir / "artifacts")
    return result.exit_code


def _watched(params: Mapping[str, Any], run_dir: Path) -> Any:
    """Run the job in a thread's view: a progress bar on stderr, Ctrl-C and SIGTERM checkpoint and stop."""
    cancelled = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: cancelled.set())
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[left]}"), TimeElapsedColumn())
    with Progress(*columns, transient=True) as bar:
        task = bar.add_task("training", total=1000, left="")
        job = Job(name=JOB.name, plan=plan, run=lambda given, context: build(given, _Shown(context, bar, task)))
        return run(job, params, run_dir=run_dir, cancelled=cancelled)


class _Shown:
    """A job's context that moves a progress bar as well."""

    def __init__(self, context: JobContext, bar: Progress, task: Any) -> None:
        self._context, self._bar, self._task = context, bar, task

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def step(self, step: int, total: int, metrics: Mapping[str, Any] | None = None, *, phase: str = "") -> None:
        """Tell the job's stream, and move the bar."""
        self._context.step(step, total, metrics, phase=phase)
        speed = (metrics or {}).get("tokens_per_s")
        left = (metrics or {}).get("left_s")
        said = f"{speed:,.0f} tokens/s, {left / 60:.0f} min left" if speed and left is not None else phase
        self._bar.update(self._task, completed=step, left=said)


if __name__ == "__main__":
    sys.exit(main())
