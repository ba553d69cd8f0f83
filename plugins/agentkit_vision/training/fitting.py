"""The two stages of a training, one after the other, and what is measured at the end of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from agentkit.errors import InvalidParams, ModelFileError
from agentkit_vision.embedded.folder import QUESTIONS, WORDS
from agentkit_vision.nn.reading import Reader
from agentkit_vision.nn.resampler import PerceiverResampler, ResamplerConfig
from agentkit_vision.nn.saving import freeze
from agentkit_vision.nn.towers import ImageTower, ImageTowerConfig, TextTower, TextTowerConfig
from agentkit_vision.nn.words import Words
from agentkit_vision.training.connector import Connector, Lessons, grounds, question_corpus
from agentkit_vision.training.contrast import Contrast, corpus, zero_shot
from agentkit_vision.training.data import Labelled
from agentkit_vision.training.params import TrainVisionParams
from agentkit_vision.training.stepping import Trainer

__all__ = ["Told", "Towers", "answered", "fit_connector", "fit_towers", "half_precision"]

Told = Callable[[str, int, float], None]  # phase, step, loss
MEASURED = 600  # questions at the end of the second stage
LAYERS = 1  # of the text towers


@dataclass(frozen=True)
class Towers:
    """What the first stage gives."""

    images: ImageTower
    texts: TextTower
    words: Words

    def save(self, folder: Path) -> None:
        """Write all three."""
        self.images.save(folder)
        self.texts.save(folder)
        self.words.save(folder / WORDS)


def fit_towers(
    params: TrainVisionParams, data: Labelled, folder: Path, told: Told, should_stop: Callable[[], bool]
) -> Towers | None:
    """Train both towers, from a checkpoint where there is one; None if stopped."""
    words = Words.build(corpus(data, seed=params.seed))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(params.seed)
        images, texts = ImageTower(ImageTowerConfig(size=params.size)), TextTower(TextTowerConfig(vocab=len(words), layers=LAYERS))  # fmt: skip
    lessons = Contrast(
        images, texts, words, data, batch=params.encoder_batch, steps=params.encoder_steps, seed=params.seed, half=half_precision(params)
    )  # fmt: skip
    trainer = Trainer(lessons, lessons.loss, steps=params.encoder_steps, rate=params.encoder_rate, name="towers")
    if not _run(trainer, params, folder, told, should_stop):
        return None
    freeze(lessons)
    return Towers(images, texts, words)


def fit_connector(
    params: TrainVisionParams, towers: Towers, data: Labelled, folder: Path, told: Told, should_stop: Callable[[], bool]
) -> Connector | None:
    """Train the resampler in front of the frozen language model, from a checkpoint where there is one; None if stopped.

    Raises:
        ModelFileError: the language model cannot be loaded.
    """
    language_model, tokenizer = _language_model(params.language_model)
    embeddings = language_model.get_input_embeddings().weight
    words = Words.build([*question_corpus(data, seed=params.seed), *corpus(data, seed=params.seed, count=2_000)])
    width = towers.images.config.width
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(params.seed + 1)
        questions = TextTower(TextTowerConfig(vocab=len(words), width=width, layers=LAYERS, dim=8)) if params.reads_words else None  # fmt: skip
        resampler = PerceiverResampler(ResamplerConfig(
            input_width=width, width=params.width, latents=params.latents, layers=params.layers, heads=4,
            head_width=params.width // 4, output_width=embeddings.shape[1], output_rms=float(embeddings.std()),
        ))  # fmt: skip
    reader = None
    if questions is not None:
        questions.project.requires_grad_(False)  # its one vector is not read
        reader = Reader(questions, words, texts=towers.texts, text_words=towers.words)
    connector = Connector(resampler, reader, image_tower=towers.images, language_model=language_model, tokenizer=tokenizer, half=half_precision(params))  # fmt: skip
    lessons = Lessons(data, connector, batch=params.batch, captions=params.captions, seed=params.seed)
    trainer = Trainer(connector, lessons.loss, steps=params.steps, rate=params.rate, name="connector")
    if not _run(trainer, params, folder, told, should_stop):
        return None
    connector.eval()
    return connector


def save_connector(connector: Connector, folder: Path) -> None:
    """Write the resampler, and what reads questions."""
    connector.resampler.save(folder)
    if connector.reader is not None:
        connector.reader.questions.save(folder / QUESTIONS)
        connector.reader.words.save(folder / QUESTIONS / WORDS)


def measured(towers: Towers, connector: Connector, held_out: Labelled, seed: int) -> dict[str, Any]:
    """Return what both stages know of pictures held out: zero-shot, and the share of questions answered in whole."""
    found = zero_shot(towers.images, towers.texts, towers.words, held_out)
    return {"zero_shot": found, "answers": answered(connector, held_out, seed=seed)}


def answered(connector: Connector, data: Labelled, *, seed: int, most: int = MEASURED) -> dict[str, float]:
    """Return the share of open questions about each attribute that are answered token by token, in wordings held out."""
    asked = grounds(data, seed=seed, split="test")
    chosen = np.random.default_rng(seed).permutation(len(asked))[:most].tolist()
    right: dict[str, list[bool]] = {}
    for start in range(0, len(chosen), 100):
        some = [asked[place] for place in chosen[start : start + 100]]
        pixels = torch.from_numpy(np.stack([data.pixels[n] for n, _, _ in some]))
        for (_, name, _), one in zip(some, connector.right(pixels, [question for *_, question in some]), strict=True):
            right.setdefault(name, []).append(one)
    return {name: float(np.mean(found)) for name, found in sorted(right.items())}


def half_precision(params: TrainVisionParams) -> bool:
    """Whether passes are made in bfloat16."""
    if params.precision == "auto":
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) if not torch.cuda.is_available() else True
    return params.precision == "bfloat16"


def _run(
    trainer: Trainer, params: TrainVisionParams, folder: Path, told: Told, should_stop: Callable[[], bool]
) -> bool:
    """Do all steps; whether they are done."""
    trainer.restore(folder)
    trainer.module.train()
    while not trainer.is_done:
        if should_stop():
            trainer.save(folder)
            return False
        loss = trainer.advance()
        told(trainer.name, trainer.step, loss)
        if trainer.step % params.save_every == 0 or trainer.is_done:
            trainer.save(folder)
    return True


def _language_model(folder: Path) -> tuple[nn.Module, Any]:
    if not (folder / "config.json").is_file():
        raise InvalidParams(f"/language_model: {folder} holds no model as transformers saves it (config.json)")
    try:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelFileError(f"{folder}: the language model cannot be loaded ({error})") from error
    return freeze(model), tokenizer


def recipe_of(params: TrainVisionParams) -> Mapping[str, Any]:
    """Return how a model was trained, without the places where things lie."""
    return params.model_dump(mode="json", exclude={"data", "out", "language_model", "gguf", "force", "threads"})
