"""Load a model of transformers and what prepares its input; every refusal is a typed error.

Guarantees: what was asked for is what is loaded; no code that a repository brings is run, and no pickle is read; a
checkpoint that lacks weights is refused, where transformers would fill in random ones; a model that does not fit into
memory is refused before it is loaded, and before it is downloaded.

Images are prepared by Pillow where transformers has both ways, so that torchvision's presence changes no vector.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoImageProcessor, AutoProcessor
from transformers.utils import logging

from agentkit.errors import MissingDependency, ModelError, ModelFileError, UsageError
from agentkit.models.machine import Memory, memory
from agentkit_vision.hugging.places import Place, find_place
from agentkit_vision.hugging.weights import check_fits, fingerprint, read_headers, weight_bytes

__all__ = ["Kind", "Loaded", "brief", "load", "quiet", "refusals"]

Kind = Callable[[str, str, str], Any]  # (name, architecture, model_type) -> transformers' class; raises ModelError
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_PREPARES = ("processor_config.json", "preprocessor_config.json")
_TOKENIZES = ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt", "tekken.json")
_LIBRARIES = (
    "torchvision",
    "num2words",
    "sentencepiece",
    "tiktoken",
    "protobuf",
    "timm",
    "einops",
    "accelerate",
    "bitsandbytes",
)
_FAILURES = (
    OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError, StrictDataclassError,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A model in memory, with what prepares its input.

    Attributes:
        name: what it was asked for as.
        architecture: transformers' name of its class.
        model: in evaluation mode, on `device`.
        processor: with an `image_processor` and a `tokenizer`.
        fingerprint: names the weights, and what is done before and after them.
        device: where it computes.
        dtype: in which floats.
    """

    name: str
    architecture: str
    model: Any
    processor: Any
    fingerprint: str
    device: torch.device
    dtype: torch.dtype

    def put(self, inputs: Any) -> dict[str, Any]:
        """Return inputs on the model's device, floats in its type."""
        return {
            key: value.to(self.device, self.dtype if value.is_floating_point() else None)
            if isinstance(value, torch.Tensor)
            else value
            for key, value in inputs.items()
        }


def load(
    name: str,
    kind: Kind,
    *,
    device: str = "auto",
    dtype: str = "auto",
    download: bool = True,
    free: Callable[[], Memory | None] | None = None,
) -> Loaded:
    """Load a model by its id or folder.

    Args:
        name: as `find_place` takes it.
        kind: names the class for an architecture and a model type, or refuses them.
        device: `auto` (a GPU where there is one), `cpu`, `cuda`, `cuda:1`, `mps`.
        dtype: `float32`, `bfloat16`, `float16`, or `auto`: float32 on a CPU, bfloat16 elsewhere.
        download: whether an id's files that are not in the cache may be fetched.
        free: says what memory there is; None: this machine's or its GPU's.

    Raises:
        UsageError: no such device or dtype.
        ModelNotFound, OfflineModelUnavailable: it cannot be had.
        ModelFileError: it is incomplete, damaged or of another kind.
        ModelError: it does not fit into memory.
        MissingDependency: its processor needs a library that is not installed.
    """
    place_of_work = _device(device)
    floats = _dtype(dtype, place_of_work)
    room = free or (lambda: _free(place_of_work))
    place = find_place(name, download=download)
    architecture, model_type = _architecture(place)
    cls = kind(name, architecture, model_type)
    processor = _processor(place)
    place = place.with_weights(lambda size: check_fits(name, size, free=room))
    tensors = read_headers(place.folder)
    check_fits(name, weight_bytes(tensors, floats.itemsize), free=room)
    model = _model(place, cls, floats).to(place_of_work).eval()
    about = (type(processor).__name__, type(processor.image_processor).__name__, str(floats))
    return Loaded(
        name=name,
        architecture=type(model).__name__,
        model=model,
        processor=processor,
        fingerprint=fingerprint(place.folder, tensors, *about),
        device=place_of_work,
        dtype=floats,
    )


class _Quiet:
    """How many are quiet, and how loud it was before the first."""

    lock, count, level, bars = Lock(), 0, 0, True


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' progress bars and advice off the terminal; several threads may be at it."""
    with _Quiet.lock:
        if _Quiet.count == 0:
            _Quiet.level, _Quiet.bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
            logging.set_verbosity_error()
            logging.disable_progress_bar()
        _Quiet.count += 1
    try:
        yield
    finally:
        with _Quiet.lock:
            _Quiet.count -= 1
            if _Quiet.count == 0:
                logging.set_verbosity(_Quiet.level)
                if _Quiet.bars:
                    logging.enable_progress_bar()


@contextmanager
def refusals(name: str, what: str) -> Iterator[None]:
    """Turn what transformers raises about a model into an error that names it."""
    try:
        yield
    except ImportError as error:
        text = str(error)
        found = next((one for one in _LIBRARIES if one in text.lower() and importlib.util.find_spec(one) is None), None)
        if found is None:
            raise ModelFileError(f"{name}: transformers cannot load its {what} ({brief(error)})") from error
        raise MissingDependency(f"{name}: its {what} needs {found}: pip install {found}") from error
    except _FAILURES as error:
        raise ModelFileError(
            f"{name}: transformers cannot load its {what} ({brief(error)}); fetch the model again"
        ) from error


def brief(error: Exception) -> str:
    """Return what an exception says, on one line of at most 300 characters."""
    return re.sub(r"\s+", " ", str(error)).strip()[:300] or type(error).__name__


def _architecture(place: Place) -> tuple[str, str]:
    """Return the class that the configuration names ('' if none), and its model type."""
    found = place.config
    names = found.get("architectures") or [""]
    model_type = str(found.get("model_type") or "")
    if not model_type:
        raise ModelFileError(f"{place.name}: its config.json names no model_type; give a model of transformers")
    return str(names[0]), model_type


def _processor(place: Place) -> Any:
    """Return what prepares images and texts.

    Files are looked for first: transformers makes an empty tokenizer for some models that have none.
    """
    for names, what in ((_PREPARES, "say how pictures are prepared"), (_TOKENIZES, "hold the tokenizer")):
        if not any((place.folder / name).is_file() for name in names):
            raise ModelFileError(
                f"{place.name}: has none of {', '.join(names)}, which {what}; fetch the model again, or give one that "
                "takes pictures and text"
            )
    options = {"local_files_only": True, "trust_remote_code": False}
    with quiet(), refusals(place.name, "processor"):
        found = AutoProcessor.from_pretrained(place.folder, **options)
        images = getattr(found, "image_processor", None)
        if images is not None and not type(images).__name__.endswith("Pil"):  # torchvision is here: see the module
            found.image_processor = AutoImageProcessor.from_pretrained(place.folder, backend="pil", **options)
    missing = [part for part in ("image_processor", "tokenizer") if getattr(found, part, None) is None]
    if missing:
        raise ModelFileError(
            f"{place.name}: its processor ({type(found).__name__}) has no {' and no '.join(missing)}; "
            "give a model that takes pictures and text"
        )
    return found


def _model(place: Place, cls: Any, dtype: torch.dtype) -> Any:
    with quiet(), refusals(place.name, "weights"):
        model, about = cls.from_pretrained(
            place.folder,
            dtype=dtype,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    if missing := sorted(about["missing_keys"]):
        some = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        raise ModelFileError(
            f"{place.name}: its weights lack {some}, so it would speak at random; fetch the model again, or give one "
            f"that was saved as {type(model).__name__}"
        )
    return model


def _device(name: str) -> torch.device:
    mps = torch.backends.mps.is_available()
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if mps else "cpu")
    try:
        found = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"device {name}: there is no such kind; use auto, cpu, cuda or mps") from error
    here = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": mps}.get(found.type, False)
    if not here or (found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count()):
        raise UsageError(f"device {name}: this machine or this torch has none; use auto or cpu")
    return found


def _dtype(name: str, device: torch.device) -> torch.dtype:
    if name == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    if name not in DTYPES:
        raise UsageError(f"dtype {name}: use auto, {', '.join(DTYPES)}")
    return DTYPES[name]


def _free(device: torch.device) -> Memory | None:
    """Return the memory that is left where a model would compute."""
    if device.type != "cuda":
        return memory()
    try:
        free, total = torch.cuda.mem_get_info(device)
    except RuntimeError as error:
        raise ModelError(f"device {device}: its driver does not answer ({brief(error)}); use device cpu") from error
    return Memory(place=torch.cuda.get_device_name(device), total=total, free=free)
