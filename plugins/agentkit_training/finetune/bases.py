"""The model that training starts from: sprout, a folder, or a Hugging Face id.

Guarantees: what was asked for is what is loaded, or an error says why not; a folder is never looked for on the network;
offline (`engine.offline`, `HF_HUB_OFFLINE`), nothing is.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from agentkit import config as settings
from agentkit.errors import InvalidParams, MissingDependency, ModelFileError, OfflineModelUnavailable

__all__ = ["Base", "find_base", "load_model", "load_tokenizer"]

_SMALL = ("*.json", "*.model", "*.jinja")  # what a plan needs
_WEIGHTS = ("*.safetensors",)


@dataclass(frozen=True)
class Base:
    """A model on disk, whole or, for a plan, without its weights.

    Attributes:
        name: what it was asked for as.
        folder: where it is; an adapter's own folder where it is one.
        provenance: `embedded`, `folder`, or `hf:<id>@<revision>`.
        adapter: whether `folder` is a LoRA on another base.
    """

    name: str
    folder: Path
    provenance: str
    adapter: bool = False

    @cached_property
    def config(self) -> dict[str, Any]:
        """The model's config.json; of an adapter, its base's.

        Raises:
            ModelFileError: it cannot be read.
        """
        where = self.under().folder if self.adapter else self.folder
        return _json(where / "config.json")

    def under(self) -> Base:
        """Return the base that an adapter belongs to; the model itself if it is none."""
        if not self.adapter:
            return self
        name = _json(self.folder / "adapter_config.json").get("base_model_name_or_path") or ""
        return find_base(str(name), weights=False)

    @property
    def sha256(self) -> str:
        """A hash of the weights' names, sizes and times, and of the configuration; cheap for large files."""
        digest = hashlib.sha256(json.dumps(self.config, sort_keys=True).encode())
        for path in sorted(self.folder.glob("*.safetensors")):
            about = path.stat()
            digest.update(f"{path.name} {about.st_size} {about.st_mtime_ns}".encode())
        return digest.hexdigest()


def find_base(name: str, *, weights: bool = True) -> Base:
    """Return where a model is.

    Args:
        name: `sprout`, a folder that `save_pretrained` wrote (an adapter's too), or an id like `org/model`.
        weights: fetch them, if it is an id; without, only the small files.

    Raises:
        InvalidParams: there is no such folder, or it is a GGUF, whose weights cannot be trained.
        OfflineModelUnavailable: an id that is not in the cache, and the hub is switched off or cannot be reached.
    """
    if name == "sprout":
        from agentkit_training.sprout_hf import sprout_folder  # noqa: PLC0415  torch: 2 s

        return Base(name, sprout_folder(), "embedded")
    folder = Path(name).expanduser()
    if folder.is_dir():
        if (folder / "adapter_config.json").is_file():
            return Base(name, folder, "folder", adapter=True)
        if (folder / "config.json").is_file():
            return Base(name, folder, "folder")
        raise InvalidParams(f"/model: {folder} has no config.json; give a folder that save_pretrained wrote")
    if name.endswith(".gguf") or folder.is_file():
        raise InvalidParams(f"/model: {name} is a file; training needs the float weights: a folder, an id, or sprout")
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise InvalidParams(f"/model: there is no folder {name}, and it is no id like org/model; sprout is built in")
    return Base(name, *_fetched(name, weights=weights))


def load_tokenizer(base: Base) -> Any:
    """Return the tokenizer, which has a token to pad with.

    Raises:
        ModelFileError: there is none, or transformers cannot read it.
    """
    from transformers import AutoTokenizer  # noqa: PLC0415  heavy

    folder = base.folder if (base.folder / "tokenizer_config.json").exists() else base.under().folder
    with _refusals(folder, "tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if tokenizer.eos_token is None:
        raise ModelFileError(f"{folder}: the tokenizer has no eos_token, so nothing could be taught to end; set one")
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    return tokenizer


def load_model(base: Base, *, precision: str = "float32", four_bit: bool = False, scores: bool = False) -> Any:
    """Return the model; an adapter is loaded upon its base, trainable.

    Args:
        base: a whole one.
        precision: `float32` or `bfloat16`.
        four_bit: quantise the base to NF4 with bitsandbytes; needs a GPU.
        scores: one score a text in place of the next token's, for reward models.

    Raises:
        ModelFileError: transformers cannot load it.
        MissingDependency: bitsandbytes is not installed.
        InvalidParams: 4 bits without a GPU.
    """
    import torch  # noqa: PLC0415  heavy
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification  # noqa: PLC0415

    under = base.under()
    if base.adapter:
        under = find_base(under.name)
    kind = AutoModelForSequenceClassification if scores else AutoModelForCausalLM
    options: dict[str, Any] = {"num_labels": 1} if scores else {}
    if four_bit:
        options["quantization_config"] = _nf4()
    with _refusals(under.folder, "model"):
        model = kind.from_pretrained(
            under.folder, dtype=getattr(torch, precision), local_files_only=True, use_safetensors=True, **options
        )
    if not base.adapter:
        return model
    from peft import PeftModel  # noqa: PLC0415  heavy

    with _refusals(base.folder, "adapter"):
        return PeftModel.from_pretrained(model, base.folder, is_trainable=True)


def _nf4() -> Any:
    """Return the QLoRA configuration (Dettmers et al. 2023, arXiv 2305.14314)."""
    import importlib.util  # noqa: PLC0415

    import torch  # noqa: PLC0415
    from transformers import BitsAndBytesConfig  # noqa: PLC0415

    if not torch.cuda.is_available():
        raise InvalidParams("/four_bit: bitsandbytes' 4 bits need a GPU; on the CPU train a LoRA on the full weights")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise MissingDependency("4-bit training needs bitsandbytes: pip install bitsandbytes")
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


def _fetched(name: str, *, weights: bool) -> tuple[Path, str]:
    """Return a hub model's folder in the cache, and its provenance; fetches what is not there."""
    from huggingface_hub import snapshot_download  # noqa: PLC0415  0.5 s
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError  # noqa: PLC0415

    offline = bool(settings.load().settings.engine.offline) or os.environ.get("HF_HUB_OFFLINE", "") in {"1", "true"}
    wanted = [*_SMALL, *(_WEIGHTS if weights else ())]
    try:
        folder = Path(snapshot_download(name, allow_patterns=wanted, local_files_only=offline))
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError, ValueError) as error:
        why = "downloading is switched off" if offline else f"the hub did not give it ({type(error).__name__}: {error})"
        raise OfflineModelUnavailable(
            f"/model: {name} is not in the cache, and {why}; download it where there is a network with "
            f"`hf download {name}` and copy the cache, or give a folder"
        ) from error
    if not (folder / "config.json").is_file():
        raise OfflineModelUnavailable(f"/model: {name} is in the cache in part; run `hf download {name}` once online")
    return folder, f"hf:{name}@{folder.name}"


def _json(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelFileError(f"{path}: cannot be read ({error}); give a folder that save_pretrained wrote") from error
    return found


@contextmanager
def _refusals(folder: Path, what: str) -> Iterator[None]:
    """Turn what transformers raises about a folder into an error that names it."""
    from safetensors import SafetensorError  # noqa: PLC0415

    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelFileError(f"{folder}: transformers cannot load this {what} ({first})") from error
