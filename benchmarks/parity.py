"""Is what llama.cpp runs what was trained? The tokenizer on random strings, the logits on real conversations.

python -m benchmarks.parity [--strings 10000] [--weights FILE] [--tokenizer FILE] [--model GGUF] [--write]

`--weights` is a .safetensors or .pt file of float weights. They are written as an F32 GGUF, so that what is compared
is the arithmetic and the layout, not the rounding; `--model` is the GGUF whose tokenizer is compared. Small random
models are compared with transformers, too, where that is installed; and continuations of shared prefixes with each alone.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from random import Random

import numpy as np
import torch
from rich.console import Console
from safetensors.torch import load_file

from agentkit.engine.dialects.plain import CONTROL_IDS
from agentkit.engine.llama import Model
from agentkit.models import resolve
from agentkit_synthesis.conversation import render
from agentkit_synthesis.stream import conversations
from agentkit_training.gguf_writer import write_gguf
from agentkit_training.llama import Llama, LlamaConfig
from agentkit_training.parity import parity
from agentkit_training.tokenizer import TextTokenizer
from benchmarks import figures, sharing
from benchmarks import render as rendering
from benchmarks.figures import ROOT, Measured, share

KEPT = ROOT / "plugins" / "agentkit_training" / "weights"
WEIGHTS, TOKENIZER = KEPT / "sprout-f16.safetensors", KEPT / "tokenizer.json"
LOGITS = 1e-2
REFERENCE, SHARED = 1e-3, 1e-2  # nats
CONVERSATIONS = 8
REFERENCE_TOKENS, REFERENCE_PIECES = 600, (1, 13, 64)
SEED = 7
_RANGES = (
    (0x20, 0x7E), (0x20, 0x7E), (0x20, 0x7E), (0x00, 0x1F), (0x80, 0xFF), (0x100, 0x24F), (0x370, 0x52F),
    (0x590, 0x6FF), (0x900, 0x97F), (0x2000, 0x206F), (0x3040, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3),
    (0x1F300, 0x1FAFF), (0xE000, 0xE0FF),
)  # fmt: skip
_BITS = (
    "<call>", "<t0>", "<end>", "<r1>", "get_weather", "don't", "it's", "I'LL", "15%", "1,500.25", '{"path": "a.txt"}',
    "  ", "\n", "\n\n", "\t", " \n ", "\r\n", "https://example.com/a?b=c", "naïve", "日本", "🙂", "́", "٣", "½",
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.parity", description="Is llama.cpp's what was trained?")
    parser.add_argument("--strings", type=int, default=10_000, help="random strings (default: %(default)s)")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="float weights, .safetensors or .pt")
    parser.add_argument("--tokenizer", type=Path, default=TOKENIZER, help="what training used")
    parser.add_argument("--model", default="sprout", help="the GGUF whose tokenizer is compared")
    parser.add_argument("--write", action="store_true", help="put the rows into benchmarks/results/parity.json")
    wanted = parser.parse_args(argv)
    began = time.monotonic()
    tokenizer = TextTokenizer.load(wanted.tokenizer)
    found = resolve(wanted.model, offline=True)
    assert found.path is not None, "a server has no tokenizer to compare"
    measured = [*tokens(tokenizer, found.path, wanted.strings), logits(read(wanted.weights), tokenizer)]
    if find_spec("transformers") is not None:
        measured += [*reference(), *shared()]
    else:
        print("transformers is not installed: nothing is compared with it", file=sys.stderr)
    command = f"python -m benchmarks.parity --strings {wanted.strings} --write"
    rows = figures.rows(measured, command=command, seconds=time.monotonic() - began)
    Console(width=None if sys.stdout.isatty() else 150).print(rendering.table([("parity", rows)]))
    if wanted.write:
        figures.write("parity", rows)
    return 0


def tokens(tokenizer: TextTokenizer, path: Path, n: int) -> list[Measured]:
    """Return how many random strings both tokenizers cut alike, and how many come back whole."""
    alike = whole = 0
    with Model(path) as model:
        for text in strings(n):
            ours, theirs = tokenizer.encode(text), model.tokenise(text)
            alike += ours == theirs
            whole += model.bytes_of(theirs) == text.encode()
            if ours != theirs:
                print(f"{text!r}: {ours} in training, {theirs} in llama.cpp", file=sys.stderr)
    return [
        share("tokens", "random strings with the same tokens in training and in llama.cpp", alike, n, 1.0),
        share("round-trip", "random strings that their tokens give back exactly", whole, n, 1.0),
    ]


def logits(model: Llama, tokenizer: TextTokenizer, n: int = CONVERSATIONS) -> Measured:
    """Return the largest difference of any logit between PyTorch and an F32 GGUF of the same weights."""
    worst, places = 0.0, 0
    with tempfile.TemporaryDirectory() as folder:
        path = write_gguf(model, tokenizer, Path(folder, "float.gguf"), dtype="f32")
        for ids in samples(tokenizer, n):
            worst = max(worst, parity(model, path, ids))
            places += len(ids)
    return Measured(id="logits", what=f"largest difference of a logit, PyTorch and F32 GGUF, {n} conversations",
                    value=round(worst, 6), unit="nats", n=places, target=LOGITS)  # fmt: skip


def reference(kinds: Sequence[str] = ()) -> list[Measured]:
    """Return how far the engine's log-probabilities are from transformers', with the exact context and the usual one."""
    from benchmarks import reference as theirs  # noqa: PLC0415  not installed everywhere

    worst = dict.fromkeys(("exact", "default"), 0.0)
    places = 0
    with tempfile.TemporaryDirectory() as folder:
        for n, kind in enumerate(kinds or theirs.KINDS):
            made = theirs.make(kind, seed=n)
            text = Random(n).choices(range(2, theirs.VOCAB), k=REFERENCE_TOKENS)
            expected = theirs.log_probabilities(made, text)
            places += len(text)
            with Model(theirs.write(made, Path(folder, f"{n}.gguf"))) as model:
                for name in worst:
                    context = sharing.SETTINGS[name].context(model, live=1)
                    for piece in REFERENCE_PIECES:
                        found = np.stack(sharing.read_alone(context, text, most=piece))
                        worst[name] = max(worst[name], float(np.abs(found - expected).max()))
                    context.close()
    what = (
        f"largest difference of a log-probability to transformers, {len(kinds or theirs.KINDS)} small random F32 Llamas"
    )
    return [
        Measured(id="reference", what=f"{what}, exact", value=round(worst["exact"], 6), unit="nats", n=places,
                 target=REFERENCE),
        Measured(id="reference-default", what=f"{what}, flash attention and an F16 cache as usual",
                 value=round(worst["default"], 6), unit="nats", n=places),
    ]  # fmt: skip


def shared(rounds: int = 40) -> list[Measured]:
    """Return how far continuations of shared prefixes are from each alone, by how attention is computed."""
    from benchmarks import reference as theirs  # noqa: PLC0415  not installed everywhere

    about = {
        "exact": "exact (no flash attention, F32 cache)", "plain": "no flash attention, F16 cache",
        "default": "flash attention, F16 cache, as usual", "flash-f32": "flash attention, F32 cache",
    }  # fmt: skip
    measured = []
    what = "largest difference of a log-probability after a forked, parked or spilled prefix, to each alone"
    with tempfile.TemporaryDirectory() as folder:
        path = theirs.write(theirs.make("tied output"), Path(folder, "m.gguf"))
        for name, setting in sharing.SETTINGS.items():
            with Model(path) as model:
                found = sharing.differences(model, setting, rounds=rounds)
            target = SHARED if name == "exact" else None
            measured.append(Measured(id=f"shared-{name}", what=f"{what}: {about[name]}", unit="nats", target=target,
                                     value=round(found.greatest, 6), n=found.places))  # fmt: skip
    return measured


def samples(tokenizer: TextTokenizer, n: int) -> Iterator[list[int]]:
    """Yield held-out conversations as tokens."""
    for conversation in itertools.islice(conversations(SEED, split="test"), n):
        ids: list[int] = []
        for piece, _ in render(conversation):
            ids += [CONTROL_IDS[piece.text]] if piece.control else tokenizer.encode(piece.text)
        yield ids[:2048]


def strings(n: int, seed: int = SEED) -> Iterator[str]:
    """Yield random strings: letters of many scripts, controls, spaces, and what models meet."""
    rng = Random(seed)
    for _ in range(n):
        parts = []
        for _ in range(rng.randint(1, 12)):
            if rng.random() < 0.3:
                parts.append(rng.choice(_BITS))
                continue
            low, high = rng.choice(_RANGES)
            parts.append("".join(chr(rng.randint(low, high)) for _ in range(rng.randint(1, 8))))
        yield rng.choice(("", "", " ")).join(parts)


def read(path: Path) -> Llama:
    """Return the model of a file of float weights; its shape is that of the weights."""
    if path.suffix == ".safetensors":
        saved = load_file(path)
    else:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        saved = saved.get("model", saved)
    vocab, width = saved["embedding.weight"].shape
    layers = 1 + max(int(name.split(".")[1]) for name in saved if name.startswith("blocks."))
    hidden = saved["blocks.0.feed.gate.weight"].shape[0]
    model = Llama(LlamaConfig(vocab=vocab, width=width, layers=layers, hidden=hidden))
    model.load_state_dict({name: tensor.float() for name, tensor in saved.items()})
    return model


if __name__ == "__main__":
    raise SystemExit(main())
