"""Where a model of the Hub or of a folder is: its small files first, its weights once they are wanted.

Guarantees: a folder is never looked for on the network; what the cache holds is taken as it is, without asking the
network; offline (`engine.offline`, `HF_HUB_OFFLINE`), or where downloads are not allowed, nothing is asked at all.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from agentkit import config as settings
from agentkit.errors import ModelFileError, ModelNotFound, OfflineModelUnavailable

__all__ = ["Place", "find_place", "read_json"]

SMALL = ("*.json", "*.txt", "*.model", "*.jinja")  # configurations, vocabularies, chat templates
WEIGHTS = ("model*.safetensors",)
T = TypeVar("T")
_ID = re.compile(r"^(?P<repo>[\w.-]+/[\w.-]+?)(?:@(?P<revision>[\w./-]+))?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A model's folder. Of an id, the weights may still be missing.

    Attributes:
        name: what it was asked for as.
        folder: where it is; of an id the snapshot in the Hub's cache.
        repo: the id; None where a folder was asked for.
        may_download: whether the network may be asked for what is missing.
    """

    name: str
    folder: Path
    repo: str | None = None
    may_download: bool = False

    @property
    def config(self) -> Mapping[str, Any]:
        """The model's config.json.

        Raises:
            ModelFileError: it cannot be read.
        """
        return read_json(self.folder / "config.json")

    def with_weights(self, check: Callable[[int], None] | None = None) -> Place:
        """Return the same place with the weights in it; a folder as it is.

        They are of the commit that the small files are of, whatever the branch holds by now.

        Args:
            check: is given the bytes of the weights before they are downloaded, and may refuse.

        Raises:
            OfflineModelUnavailable: they are not in the cache, and cannot be downloaded.
            ModelFileError: the repository has no safetensors.
        """
        if self.repo is None:
            return self
        wanted, commit = [*SMALL, *WEIGHTS], self.folder.name
        folder = _cached(self.repo, commit, wanted)
        if folder is None or not any(folder.glob("model*.safetensors")):
            if self.may_download:
                size = _size(self.repo, commit, self.name)
                if check is not None:
                    check(size)
            folder = _fetched(self.name, self.repo, commit, wanted, may_download=self.may_download)
        return Place(name=self.name, folder=folder, repo=self.repo)


def find_place(name: str, *, download: bool = True) -> Place:
    """Return where a model is.

    Args:
        name: a folder that `save_pretrained` wrote, or an id like `org/model`, `org/model@revision`, `hf:org/model`.
        download: whether an id's files that are not in the cache may be fetched.

    Raises:
        ModelNotFound: there is no such folder, and it is no id; or the Hub has no such repository.
        ModelFileError: it is a file, or a folder without a model.
        OfflineModelUnavailable: an id that is not in the cache, and the Hub is switched off or cannot be reached.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _checked(Place(name=name, folder=folder))
    if folder.is_file():
        raise ModelFileError(f"{name}: is a file; give the folder that save_pretrained wrote, or an id like org/model")
    found = _ID.match(name.removeprefix("hf:"))
    if not found or name.startswith((".", "/", "~")):
        raise ModelNotFound(f"{name}: there is no such folder, and it is no id like org/model; check the spelling")
    repo, revision = found["repo"], found["revision"]
    may_download = download and not _is_offline()
    here = _cached(repo, revision, SMALL)
    if here is None or not (here / "config.json").is_file():
        here = _fetched(name, repo, revision, SMALL, may_download=may_download)
    return _checked(Place(name=name, folder=here, repo=repo, may_download=may_download))


def read_json(path: Path) -> Mapping[str, Any]:
    """Return what a JSON file holds.

    Raises:
        ModelFileError: it is missing, no JSON, or no object.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelFileError(f"{path}: cannot be read ({error}); fetch the model again") from error
    if not isinstance(found, dict):
        raise ModelFileError(f"{path}: holds no JSON object; fetch the model again")
    return found


def _checked(place: Place) -> Place:
    """Refuse what holds no model of transformers."""
    folder = place.folder
    if (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file():
        raise ModelFileError(f"{place.name}: is an adapter; merge it into its base and give that folder")
    if (folder / "model_index.json").is_file():
        raise ModelFileError(f"{place.name}: is a pipeline that draws; give a model that reads pictures")
    if not (folder / "config.json").is_file():
        ggufs = sorted(path.name for path in folder.glob("*.gguf"))
        instead = f"; it holds {ggufs[0]}: give that file" if ggufs else ""
        raise ModelFileError(
            f"{place.name}: has no config.json{instead or '; give a folder that save_pretrained wrote'}"
        )
    return place


def _is_offline() -> bool:
    said = os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"}
    return said or bool(settings.load().settings.engine.offline)


def _cached(repo: str, revision: str | None, wanted: Sequence[str]) -> Path | None:
    """Return the snapshot in the cache; None if there is none, or some of `wanted` is known to be missing."""
    from huggingface_hub import snapshot_download  # noqa: PLC0415  0.5 s; reached only for an id
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError  # noqa: PLC0415

    try:
        return Path(snapshot_download(repo, revision=revision, allow_patterns=list(wanted), local_files_only=True))
    except LocalEntryNotFoundError:
        return None
    except HFValidationError as error:
        raise ModelNotFound(f"{repo}: is no name of a repository ({_brief(error)}); check the spelling") from error


def _fetched(name: str, repo: str, revision: str | None, wanted: Sequence[str], *, may_download: bool) -> Path:
    from huggingface_hub import snapshot_download  # noqa: PLC0415  0.5 s; reached only for an id

    if not may_download:
        raise OfflineModelUnavailable(
            f"{name} is not in the cache (or only in part), and downloading is switched off; fetch it once with "
            f"`hf download {repo}`{f' --revision {revision}' if revision else ''}, or give a folder"
        )
    return _explained(name, repo, lambda: Path(snapshot_download(repo, revision=revision, allow_patterns=list(wanted))))


def _size(repo: str, revision: str, name: str) -> int:
    """Return the bytes of the weights on the Hub; refuse a repository that has only other forms of them."""
    from huggingface_hub import HfApi  # noqa: PLC0415  0.5 s; reached only for a download

    def ask() -> dict[str, int]:
        info = HfApi().model_info(repo, revision=revision, files_metadata=True)
        return {file.rfilename: file.size or 0 for file in info.siblings or ()}

    files = _explained(name, repo, ask)
    sizes = [size for file, size in files.items() if any(fnmatch.fnmatch(file, pattern) for pattern in WEIGHTS)]
    if not sizes:
        others = sorted(file for file in files if file.endswith((".bin", ".pt", ".pth", ".ckpt", ".h5", ".gguf")))
        raise ModelFileError(
            f"{name}: the repository has no safetensors{f', only {others[0]}' if others else ''}; a pickle runs code when "
            f"it is loaded, so take a revision with safetensors ({repo}@refs/pr/N), or another repository"
        )
    return sum(sizes)


def _explained(name: str, repo: str, work: Callable[[], T]) -> T:
    """Do `work`; whatever the Hub or the network says becomes one of our errors."""
    from huggingface_hub import errors  # noqa: PLC0415  reached only for a download

    try:
        return work()
    except errors.GatedRepoError as error:
        raise ModelNotFound(
            f"{name}: the repository is gated; accept its licence on huggingface.co/{repo} and set HF_TOKEN"
        ) from error
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        raise ModelNotFound(f"{name}: no such repository or revision on the Hub; check the spelling") from error
    except errors.HFValidationError as error:
        raise ModelNotFound(f"{name}: is no name of a repository ({_brief(error)}); check the spelling") from error
    except (errors.HTTPError, ConnectionError, errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled) as error:
        raise OfflineModelUnavailable(
            f"{name} is not in the cache, and the Hub cannot be reached ({_brief(error)}); try again later, fetch it "
            f"elsewhere with `hf download {repo}` and copy the cache, or give a folder"
        ) from error
    except OSError as error:
        raise ModelFileError(f"{name}: cannot be stored ({_brief(error)}); make room or mend permissions") from error


def _brief(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:160] if lines else type(error).__name__
