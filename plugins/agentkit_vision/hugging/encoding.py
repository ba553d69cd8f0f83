"""Put pictures and texts into one space with CLIP, SigLIP, SigLIP 2 or BLIP-2.

CLIP and its kin have one vector for a picture, and the scalar product of two vectors is their likeness. BLIP-2
(Li et al. 2023, arXiv 2301.12597, section 3.1) has one for each of its queries, 32 as published, and the likeness of a
picture and a text is the largest of their products with the text's. A largest of several is no product of two vectors,
so for BLIP-2 the vector of a picture is the mean of its queries' vectors, which is good for finding candidates only;
`similarity` gives the likeness as the model has it, for ranking them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import AutoModel, Blip2ForImageTextRetrieval

from agentkit.errors import ContextFull, EngineError, ModelFileError, UsageError
from agentkit.models.machine import Memory
from agentkit_vision.contracts import Pixels, Vectors
from agentkit_vision.hugging.loading import Loaded, load, quiet

__all__ = ["HuggingEncoder"]

_BLIP2 = "Blip2ForImageTextRetrieval"
_JOINT = {"CLIPModel": "clip", "SiglipModel": "siglip", "Siglip2Model": "siglip2", _BLIP2: "blip-2"}
_PADDED = ("siglip", "siglip2")  # were trained on texts of full length


class HuggingEncoder:
    """CLIP, SigLIP, SigLIP 2 or BLIP-2's retrieval model, by id or folder; an `Encoder`.

    Vectors do not depend on what else is in their batch, but for the last bits.
    """

    def __init__(
        self,
        name: str,
        *,
        device: str = "auto",
        dtype: str = "float32",
        batch: int = 32,
        download: bool = True,
        free: Callable[[], Memory | None] | None = None,
    ) -> None:
        """Load a model.

        Args:
            name: an id (`google/siglip2-base-patch16-224`), with `@revision` if need be, or a folder.
            device: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`.
            dtype: `float32`, the same on every machine, or `bfloat16`, `float16`, `auto`; part of the fingerprint.
            batch: images or texts that are computed at once.
            download: whether an id's files that are not in the cache may be fetched.
            free: says what memory there is; None: this machine's or its GPU's.

        Raises:
            UsageError: `batch` is below 1, or as `load`.
            ModelError, MissingDependency: as `load`.
        """
        if batch < 1:
            raise UsageError(f"batch {batch}: must be at least 1")
        self._loaded: Loaded = load(name, _kind, device=device, dtype=dtype, download=download, free=free)
        self._batch, self._lock = batch, Lock()
        config = self._loaded.model.config
        kind = _JOINT[self._loaded.architecture]
        self._is_blip2, self._is_padded = kind == "blip-2", kind in _PADDED
        text = config.qformer_config if self._is_blip2 else config.text_config
        self._tokens = int(text.max_position_embeddings)
        if self._is_blip2:
            self._dim = int(config.image_text_hidden_size)
        else:
            self._dim = int(text.projection_size if self._is_padded else config.projection_dim)

    @property
    def name(self) -> str:
        """What people call it."""
        return self._loaded.name

    @property
    def fingerprint(self) -> str:
        """A hash of its weights, of its preparation of pictures and texts, and of its dtype."""
        return self._loaded.fingerprint

    @property
    def dim(self) -> int:
        """The width of its vectors."""
        return self._dim

    @property
    def attributes(self) -> Mapping[str, Sequence[str]]:
        """None: it is a model of everything."""
        return {}

    def embed_images(self, images: Sequence[Pixels]) -> Vectors:
        """Return a vector of length 1 for each image, (n, dim); of BLIP-2 the mean of its queries' vectors.

        Raises:
            EngineError: the model gave what is no vector.
        """
        return self._unit(self._in_batches(images, self._of_images))

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """Return a vector of length 1 for each text, (n, dim).

        Raises:
            ContextFull: a text has more tokens than the model takes; nothing is cut.
            EngineError: the model gave what is no vector.
        """
        return self._unit(self._in_batches(texts, self._of_texts))

    def similarity(self, images: Sequence[Pixels], texts: Sequence[str]) -> NDArray[np.float32]:
        """Return how alike each image and each text are, (images, texts), -1 to 1: the cosine.

        For BLIP-2 it is the largest cosine of all queries, as the model itself has it.

        Raises:
            ContextFull, EngineError: as `embed_texts`.
        """
        words = self.embed_texts(texts)
        if not self._is_blip2:
            return self.embed_images(images) @ words.T
        queries = self._in_batches(images, self._of_queries)
        if not queries.size:
            return np.zeros((0, len(texts)), np.float32)
        found: NDArray[np.float32] = np.einsum("iqd,td->iqt", queries, words).max(axis=1)
        return found

    def _in_batches(self, items: Sequence[Any], work: Callable[[Sequence[Any]], torch.Tensor]) -> NDArray[np.float32]:
        found = []
        for start in range(0, len(items), self._batch):
            with self._lock, torch.inference_mode(), quiet():
                found.append(work(items[start : start + self._batch]).float().cpu().numpy())
        return np.concatenate(found) if found else np.zeros((0, self._dim), np.float32)

    def _unit(self, vectors: NDArray[np.float32]) -> Vectors:
        if vectors.ndim != 2 or vectors.shape[1] != self._dim:
            raise EngineError(f"{self.name}: gave numbers of shape {vectors.shape}, not vectors of {self._dim}")
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not np.isfinite(lengths).all() or not (lengths > 0).all():
            raise EngineError(f"{self.name}: gave numbers that are no vector; load it with dtype float32")
        return np.asarray(vectors / lengths, np.float32)

    def _of_images(self, images: Sequence[Pixels]) -> torch.Tensor:
        if self._is_blip2:
            return self._of_queries(images).mean(dim=1)
        return _pooled(self._loaded.model.get_image_features(**self._prepared(images)))

    def _prepared(self, images: Sequence[Pixels]) -> dict[str, Any]:
        pictures = [Image.fromarray(np.ascontiguousarray(image)) for image in images]
        return self._loaded.put(self._loaded.processor.image_processor(images=pictures, return_tensors="pt"))

    def _of_queries(self, images: Sequence[Pixels]) -> torch.Tensor:
        """Return the vectors of BLIP-2's queries, of length 1, (n, queries, dim): as its `forward` makes them."""
        model = self._loaded.model
        seen = model.vision_model(**self._prepared(images)).last_hidden_state
        mask = torch.ones(seen.shape[:-1], dtype=torch.long, device=seen.device)
        queries = model.query_tokens.expand(seen.shape[0], -1, -1)
        found = model.qformer(query_embeds=queries, encoder_hidden_states=seen, encoder_attention_mask=mask)
        projected = model.vision_projection(found.last_hidden_state.to(model.vision_projection.weight.dtype))
        return torch.nn.functional.normalize(projected, dim=-1)

    def _of_texts(self, texts: Sequence[str]) -> torch.Tensor:
        tokenizer, model = self._loaded.processor.tokenizer, self._loaded.model
        longest = max(texts, key=lambda text: len(tokenizer(text)["input_ids"]))
        if (count := len(tokenizer(longest)["input_ids"])) > self._tokens:
            raise ContextFull(
                f"{self.name}: {longest[:40]!r} ... has {count} tokens of {self._tokens} that it takes; shorten it"
            )
        padding = {"padding": "max_length", "max_length": self._tokens} if self._is_padded else {"padding": True}
        inputs = self._loaded.put(tokenizer(list(texts), return_tensors="pt", **padding))
        inputs.pop("token_type_ids", None)
        if not self._is_blip2:
            return _pooled(model.get_text_features(**inputs))
        words = model.embeddings(input_ids=inputs["input_ids"])
        found = model.qformer(query_embeds=words, query_length=0, attention_mask=inputs["attention_mask"])
        first: torch.Tensor = found.last_hidden_state[:, 0, :].to(model.text_projection.weight.dtype)
        return torch.as_tensor(model.text_projection(first))


def _kind(name: str, architecture: str, model_type: str) -> Any:
    """Return the class to load, or refuse a model that does not put pictures and texts into one space."""
    if architecture in _JOINT:
        return Blip2ForImageTextRetrieval if architecture == _BLIP2 else AutoModel
    if not architecture and model_type in ("clip", "siglip", "siglip2"):
        return AutoModel
    raise ModelFileError(
        f"{name}: is a {architecture or model_type}, and to put pictures and texts into one space it must be one of "
        f"{', '.join(_JOINT)}; give for example google/siglip2-base-patch16-224 or openai/clip-vit-base-patch32"
    )


def _pooled(found: Any) -> torch.Tensor:
    """Return the vectors in what transformers 4 (a tensor) or 5 (an output with a pooled one) gives."""
    vectors = found if isinstance(found, torch.Tensor) else found.pooler_output
    return torch.as_tensor(vectors)
