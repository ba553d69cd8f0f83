"""CLIP, SigLIP, SigLIP 2 and BLIP-2 as encoders: tiny ones of random weights, against transformers called by hand."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from PIL import Image  # noqa: E402
from transformers import AutoModel, AutoProcessor, Blip2ForImageTextRetrieval  # noqa: E402
from transformers.modeling_outputs import BaseModelOutputWithPooling  # noqa: E402

from agentkit.errors import ContextFull, EngineError, UsageError  # noqa: E402
from agentkit_vision.contracts import Encoder  # noqa: E402
from agentkit_vision.hugging.encoding import HuggingEncoder, _pooled  # noqa: E402
from tests.plugins.vision import hugging_models as make  # noqa: E402

KINDS = ("clip", "siglip", "siglip2", "blip2_retrieval")
TEXTS = ["red shoe", "a", "blue hat, small"]
IMAGES = [make.pixels(0), make.pixels(1, 40, 17), make.pixels(2, 16, 16), make.pixels(3, 9, 50)]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    home = tmp_path_factory.mktemp("encoders")
    return {kind: getattr(make, kind)(home / kind) for kind in KINDS}


@pytest.fixture(scope="module")
def encoders(folders: dict[str, Path]) -> dict[str, HuggingEncoder]:
    return {kind: HuggingEncoder(str(folder)) for kind, folder in folders.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_vectors_are_of_length_one_and_of_the_width_that_is_said(
    kind: str, encoders: dict[str, HuggingEncoder]
) -> None:
    encoder = encoders[kind]
    assert isinstance(encoder, Encoder)
    for vectors, count in ((encoder.embed_images(IMAGES), 4), (encoder.embed_texts(TEXTS), 3)):
        assert vectors.shape == (count, encoder.dim)
        assert vectors.dtype == np.float32
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
        assert np.abs(vectors[0] - vectors[1]).max() > 0.01  # what goes in matters
    assert encoder.embed_images([]).shape == encoder.embed_texts([]).shape == (0, encoder.dim)
    assert encoder.attributes == {}


@pytest.mark.parametrize("kind", KINDS)
def test_a_vector_does_not_depend_on_its_batch(
    kind: str, encoders: dict[str, HuggingEncoder], folders: dict[str, Path]
) -> None:
    encoder, small = encoders[kind], HuggingEncoder(str(folders[kind]), batch=3)
    images, texts = encoder.embed_images(IMAGES), encoder.embed_texts(TEXTS)
    for n, image in enumerate(IMAGES):
        assert np.allclose(encoder.embed_images([image])[0], images[n], atol=1e-5)
    for n, text in enumerate(TEXTS):
        assert np.allclose(encoder.embed_texts([text])[0], texts[n], atol=1e-5)
    assert np.allclose(small.embed_images(IMAGES), images, atol=1e-5)
    assert np.allclose(encoder.embed_images(IMAGES[::-1])[::-1], images, atol=1e-5)


@pytest.mark.parametrize("kind", ["clip", "siglip", "siglip2"])
def test_they_are_what_transformers_gives_by_hand(
    kind: str, encoders: dict[str, HuggingEncoder], folders: dict[str, Path]
) -> None:
    model = AutoModel.from_pretrained(folders[kind]).eval()
    processor = AutoProcessor.from_pretrained(folders[kind], backend="pil")
    padding = {"padding": True} if kind == "clip" else {"padding": "max_length", "max_length": 24}
    pictures = [Image.fromarray(image) for image in IMAGES]
    images = processor.image_processor(
        images=pictures, return_tensors="pt"
    )  # Siglip2Processor would force patches of 16
    texts = processor.tokenizer(TEXTS, return_tensors="pt", **padding)
    with torch.no_grad():
        found = model(**images, **texts)
    assert np.allclose(encoders[kind].embed_images(IMAGES), found.image_embeds.numpy(), atol=1e-5)
    assert np.allclose(encoders[kind].embed_texts(TEXTS), found.text_embeds.numpy(), atol=1e-5)
    cosines = (found.image_embeds @ found.text_embeds.T).numpy()
    assert np.allclose(encoders[kind].similarity(IMAGES, TEXTS), cosines, atol=1e-5)


def test_siglip_is_given_texts_of_full_length(folders: dict[str, Path]) -> None:
    """Padding to the longest text gives other vectors, so this would fail if it were forgotten."""
    model = AutoModel.from_pretrained(folders["siglip"]).eval()
    tokenizer = AutoProcessor.from_pretrained(folders["siglip"], backend="pil").tokenizer
    with torch.no_grad():
        short = model.get_text_features(**tokenizer(["a"], return_tensors="pt")).pooler_output[0].numpy()
    found = HuggingEncoder(str(folders["siglip"])).embed_texts(["a"])[0]
    assert found @ (short / np.linalg.norm(short)) < 0.99


def test_blip2_is_as_alike_as_the_model_says(encoders: dict[str, HuggingEncoder], folders: dict[str, Path]) -> None:
    model = Blip2ForImageTextRetrieval.from_pretrained(folders["blip2_retrieval"]).eval()
    processor = AutoProcessor.from_pretrained(folders["blip2_retrieval"], backend="pil")
    inputs = processor(
        images=[Image.fromarray(image) for image in IMAGES], text=TEXTS, return_tensors="pt", padding=True
    )
    with torch.no_grad():
        found = model(**inputs, use_image_text_matching_head=False)
    encoder = encoders["blip2_retrieval"]
    assert np.allclose(encoder.similarity(IMAGES, TEXTS), found.logits_per_image.numpy(), atol=1e-5)
    assert np.allclose(encoder.embed_texts(TEXTS), found.text_embeds.numpy(), atol=1e-5)
    mean = found.image_embeds.mean(dim=1)
    mean = (mean / mean.norm(dim=1, keepdim=True)).numpy()
    assert np.allclose(encoder.embed_images(IMAGES), mean, atol=1e-5)
    assert found.image_embeds.std(dim=1).max() > 0.01  # its queries differ, so a largest of them is no mean
    assert encoder.similarity([], TEXTS).shape == (0, 3)


def test_texts_that_are_too_long_are_refused_and_not_cut(encoders: dict[str, HuggingEncoder]) -> None:
    for kind in ("clip", "siglip"):
        with pytest.raises(ContextFull, match=r"has \d+ tokens of 24 that it takes"):
            encoders[kind].embed_texts(["short", "long " * 20])


def test_threads_take_turns(encoders: dict[str, HuggingEncoder]) -> None:
    encoder = encoders["clip"]
    alone = [encoder.embed_images([image])[0] for image in IMAGES]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda image: encoder.embed_images([image])[0], IMAGES * 3))
    assert np.allclose(found, alone * 3, atol=1e-5)


def test_other_floats_are_another_fingerprint_and_nearly_the_same_vectors(
    encoders: dict[str, HuggingEncoder], folders: dict[str, Path]
) -> None:
    half = HuggingEncoder(str(folders["clip"]), dtype="bfloat16")
    assert half.fingerprint != encoders["clip"].fingerprint
    assert (half.embed_images(IMAGES) * encoders["clip"].embed_images(IMAGES)).sum(axis=1).min() > 0.99
    assert half.embed_images(IMAGES).dtype == np.float32


def test_both_forms_of_features_are_read() -> None:
    vectors = torch.ones(2, 3)
    assert _pooled(vectors) is vectors
    assert torch.equal(_pooled(BaseModelOutputWithPooling(last_hidden_state=None, pooler_output=vectors)), vectors)


def broken(work: Callable[[torch.nn.Module], None], folder: Path) -> HuggingEncoder:
    encoder = HuggingEncoder(str(folder))
    with torch.no_grad():
        work(encoder._loaded.model)
    return encoder


def test_numbers_that_are_no_vector_are_an_error(folders: dict[str, Path]) -> None:
    encoder = broken(lambda model: model.visual_projection.weight.fill_(float("nan")), folders["clip"])
    with pytest.raises(EngineError, match="no vector"):
        encoder.embed_images(IMAGES[:1])
    encoder = broken(lambda model: model.visual_projection.weight.zero_(), folders["clip"])
    with pytest.raises(EngineError, match="no vector"):
        encoder.embed_images(IMAGES[:1])


def test_a_batch_of_none_is_refused(folders: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match="batch 0"):
        HuggingEncoder(str(folders["clip"]), batch=0)
