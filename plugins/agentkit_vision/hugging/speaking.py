"""Ask models that read pictures and text: chat models by their template, BLIP-2 and PaliGemma by their prompts.

Answers are greedy, so one question has one answer. The confidence is the product of the probabilities of the tokens
that were kept, under the model's own distribution (before a repetition penalty or the like): of all of an answer with
its end, where it ended by itself; of a caption's first sentence where more was said.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

from agentkit.errors import ContextFull, EngineError, ModelFileError, UnsupportedPart, UsageError
from agentkit.models.machine import Memory
from agentkit_vision.contracts import Picture, Said
from agentkit_vision.hugging.loading import Loaded, brief, load, quiet
from agentkit_vision.hugging.prompts import CAPTION, FORMS, disarmed, first_sentence

__all__ = ["HuggingSpeaker"]

_BLIP2_ENCODER = "Blip2ForImageTextRetrieval"
_AS_DATA = re.compile(r"""['"]type['"]: ?['"]image""")  # a template for plain texts writes parts as they are
_TOKEN = "<image>"  # of BLIP-2's processor


class HuggingSpeaker:
    """A model that reads pictures and text, by id or folder; a `Speaker`."""

    def __init__(
        self,
        name: str,
        *,
        device: str = "auto",
        dtype: str = "auto",
        max_tokens: int = 128,
        download: bool = True,
        free: Callable[[], Memory | None] | None = None,
    ) -> None:
        """Load a model.

        Args:
            name: an id (`HuggingFaceTB/SmolVLM-256M-Instruct`), with `@revision` if need be, or a folder.
            device: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`.
            dtype: `auto` (float32 on a CPU, bfloat16 elsewhere), `float32`, `bfloat16`, `float16`.
            max_tokens: an answer is ended after these.
            download: whether an id's files that are not in the cache may be fetched.
            free: says what memory there is; None: this machine's or its GPU's.

        Raises:
            UsageError: `max_tokens` is below 1, or as `load`.
            ModelFileError: it has no chat template, and is none that is asked without; or as `load`.
            ModelError, MissingDependency: as `load`.
        """
        if max_tokens < 1:
            raise UsageError(f"max_tokens {max_tokens}: must be at least 1")
        self._loaded: Loaded = load(name, _kind, device=device, dtype=dtype, download=download, free=free)
        self._max_tokens, self._lock = max_tokens, Lock()
        self._form = FORMS.get(self._loaded.model.config.model_type)
        self._control = _control_tokens(self._loaded.processor)
        self._takes_several = self._form is None and _pictures_taken(name, self._loaded.processor)
        if self._loaded.model.config.model_type == "blip-2":
            _settle_blip2(self._loaded)

    @property
    def name(self) -> str:
        """What people call it."""
        return self._loaded.name

    @property
    def fingerprint(self) -> str:
        """A hash of its weights, of its preparation of pictures and texts, and of its dtype."""
        return self._loaded.fingerprint

    @property
    def takes_several(self) -> bool:
        """Whether one question may be about several pictures."""
        return self._takes_several

    def caption(self, picture: Picture) -> Said:
        """Return one sentence about a picture, without its full stop.

        Raises:
            EngineError: the model failed.
        """
        tokens, chances = self._generate([picture], CAPTION if self._form is None else self._form.caption)
        text = self._decoded(tokens)
        kept = first_sentence(text)
        if len(kept) < len(text.rstrip(".。")):  # more was said: find the tokens that say what is kept
            for count in range(1, len(tokens) + 1):
                if kept in self._decoded(tokens[:count]):
                    chances = chances[:count]
                    break
        return Said(text=kept, confidence=math.exp(sum(chances)), model=self.name)

    def ask(self, pictures: Sequence[Picture], question: str) -> Said:
        """Return the answer to a question about one picture or several.

        Raises:
            UsageError: there is no picture, or no question.
            UnsupportedPart: the model takes one picture only.
            ContextFull: pictures and question have more tokens than the model takes.
            EngineError: the model failed.
        """
        if not pictures or not question.strip():
            raise UsageError("ask: give at least one picture, and a question")
        if len(pictures) > 1 and not self._takes_several:
            raise UnsupportedPart(
                f"{self.name}: takes one picture in a question, not {len(pictures)}; ask about one at a time"
            )
        asked = disarmed(question.strip(), self._control)
        if self._form is not None:
            asked = self._form.question.format(question=asked)
        tokens, chances = self._generate(pictures, asked)
        return Said(text=self._decoded(tokens), confidence=math.exp(sum(chances)), model=self.name)

    def _generate(self, pictures: Sequence[Picture], text: str) -> tuple[list[int], list[float]]:
        """Return the new tokens and their log-probabilities."""
        with self._lock, torch.inference_mode(), quiet():
            try:
                images = [Image.fromarray(np.array(one.pixels)) for one in pictures]
                inputs = self._loaded.put(self._prepared(images, text))
                room = self._room(inputs["input_ids"].shape[1])
                made = self._loaded.model.generate(
                    **inputs,
                    do_sample=False,
                    num_beams=1,
                    max_new_tokens=min(room, self._max_tokens),
                    return_dict_in_generate=True,
                    output_logits=True,
                )
            except (ValueError, TypeError, KeyError, IndexError, RuntimeError) as error:
                raise EngineError(
                    f"{self.name}: cannot answer about {len(pictures)} picture(s) ({brief(error)})"
                ) from error
            tokens = made.sequences[0, -len(made.logits) :]
            chances = torch.log_softmax(torch.stack(made.logits)[:, 0].float(), dim=-1)
            return tokens.tolist(), chances.gather(1, tokens[:, None])[:, 0].tolist()

    def _room(self, used: int) -> int:
        """Return how many tokens may follow `used` ones."""
        config = self._loaded.model.config.get_text_config(decoder=True)
        most = None if config.is_encoder_decoder else getattr(config, "max_position_embeddings", None)
        if most is None:
            return self._max_tokens
        if used >= most:
            raise ContextFull(
                f"{self.name}: pictures and question have {used} tokens of {most} that it takes; ask a shorter "
                "question, or about fewer pictures"
            )
        return int(most) - used

    def _prepared(self, images: Sequence[Image.Image], text: str) -> Any:
        """Return the model's input; what the processor makes for training only is left out."""
        processor = self._loaded.processor
        if self._form is None:
            return processor.apply_chat_template(
                _messages(images, text),
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                return_tensors="pt",
            )
        found = processor(images=images[0], text=text, return_tensors="pt")
        return {key: value for key, value in found.items() if key != "labels"}

    def _decoded(self, tokens: Sequence[int]) -> str:
        with self._lock:  # a tokenizer of tokenizers cannot be read while another thread sets its padding
            text: str = self._loaded.processor.tokenizer.decode(tokens, skip_special_tokens=True)
        return text.strip()


def _messages(images: Sequence[Image.Image], text: str) -> list[dict[str, Any]]:
    parts = [*({"type": "image", "image": image} for image in images), {"type": "text", "text": text}]
    return [{"role": "user", "content": parts}]


def _kind(name: str, architecture: str, model_type: str) -> Any:
    """Return the class to load, or refuse a model that does not read pictures and text and write text."""
    known = MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
    if architecture == known.get(model_type) or (not architecture and model_type in known):
        return AutoModelForImageTextToText
    if architecture == _BLIP2_ENCODER:
        why = "compares pictures with texts and writes none; it is an encoder for searching"
    elif model_type in known:
        why = f"is a part of a model or another form of it, where {known[model_type]} reads pictures and writes text"
    else:
        why = "does not read pictures and write text, as far as transformers knows"
    raise ModelFileError(
        f"{name}: is a {architecture or model_type}, which {why}; give for example "
        "HuggingFaceTB/SmolVLM-256M-Instruct or Salesforce/blip2-opt-2.7b"
    )


def _control_tokens(processor: Any) -> frozenset[str]:
    """Return the tokens that a question must not write: special ones, and those that the chat template writes."""
    template = str(getattr(processor, "chat_template", None) or "")
    added = processor.tokenizer.added_tokens_decoder.values()
    return frozenset(one.content for one in added if one.special or one.content in template)


def _pictures_taken(name: str, processor: Any) -> bool:
    """Return whether a chat template has a place for each of several pictures.

    Raises:
        ModelFileError: it is missing, broken, or leaves pictures or the question out.
    """
    if not getattr(processor, "chat_template", None):
        raise ModelFileError(
            f"{name}: has no chat template, so nobody knows how to ask it; give its chat model (-Instruct, -it, -hf)"
        )
    image, word = Image.new("RGB", (8, 8)), "zebra"
    try:
        with quiet():
            none, one, two = (
                processor.apply_chat_template(_messages([image] * count, word), add_generation_prompt=True)
                for count in range(3)
            )
    except Exception as error:  # a template raises whatever it likes
        raise ModelFileError(f"{name}: its chat template does not render ({brief(error)}); fetch it again") from error
    if word not in one or none == one or _AS_DATA.search(one):
        raise ModelFileError(f"{name}: its chat template leaves pictures or text out; give a chat model for pictures")
    return bool(one != two)


def _settle_blip2(loaded: Loaded) -> None:
    """See to it that the prompt has a place for each query of the picture, as the model looks for them.

    Raises:
        ModelFileError: tokenizer and model do not mean the same token.
    """
    processor, config = loaded.processor, loaded.model.config
    processor.num_query_tokens = int(config.num_query_tokens)
    found = processor.tokenizer.convert_tokens_to_ids(_TOKEN)
    if found != config.image_token_index:
        raise ModelFileError(
            f"{loaded.name}: its tokenizer has {_TOKEN} as {found}, and config.json says {config.image_token_index}; "
            "fetch a newer revision, whose image_token_index is that of the tokenizer"
        )
