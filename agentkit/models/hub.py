"""GGUF files of Hugging Face repositories: the shared cache first, the network only if it must be.

Keeps no copy of its own. Everything that can go wrong on the way is a typed error with the mend.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from agentkit.errors import ModelFileError, ModelNotFound, OfflineModelUnavailable
from agentkit.models.gguf import first_shard, shard_names

T = TypeVar("T")
Progress = Callable[[str, int, int], None]  # file, bytes so far, bytes in all (0: not known)
PREFERRED = ("Q4_K_M", "Q8_0")
_NAME = re.compile(r"^(?P<repo>[\w.-]+/[\w.-]+?)(?::(?P<quant>[\w.-]+)|/(?P<file>[^@]+))?(?:@(?P<revision>[\w./-]+))?$")
_QUANT = re.compile(r"(?<![A-Za-z0-9])((?:IQ|TQ|Q)\d\w*|BF16|F16|F32|MXFP4|NVFP4)(?=[-./])", re.IGNORECASE)
_NOT_MODELS = ("mmproj", "imatrix")


@dataclass(frozen=True, slots=True, kw_only=True)
class HubName:
    """A model on the Hub: `owner/repo`, `owner/repo:Q4_K_M` or `owner/repo/file.gguf`, and `@revision`."""

    repo: str
    quant: str | None = None
    file: str | None = None
    revision: str | None = None

    @classmethod
    def parse(cls, text: str) -> HubName:
        """Read what stands after `hf:`.

        Raises:
            ModelNotFound: it is not of that form.
        """
        found = _NAME.match(text)
        if not found or (found["file"] and not found["file"].lower().endswith(".gguf")):
            raise ModelNotFound(
                f"hf:{text}: not a model's name; write hf:owner/repo, hf:owner/repo:Q4_K_M or "
                "hf:owner/repo/file.gguf, each with @revision if need be"
            )
        return cls(repo=found["repo"], quant=found["quant"], file=found["file"], revision=found["revision"])

    def __str__(self) -> str:
        wanted = f":{self.quant}" if self.quant else f"/{self.file}" if self.file else ""
        return f"hf:{self.repo}{wanted}{f'@{self.revision}' if self.revision else ''}"


class Hub:
    """The Hub and its cache on this machine."""

    def __init__(self, cache: Path | None = None, *, endpoint: str | None = None) -> None:
        if cache is None:
            from huggingface_hub.constants import HF_HUB_CACHE  # noqa: PLC0415  reached only for hf: names

            cache = Path(HF_HUB_CACHE)
        self._cache, self._endpoint = cache, endpoint

    def find(self, name: HubName, *, offline: bool, progress: Progress | None = None) -> Path:
        """Return the model's file (of a split one the first part), downloading it if that is allowed.

        Raises:
            ModelNotFound: no such repository, revision or file.
            OfflineModelUnavailable: it is not in the cache, and downloading is off or impossible.
        """
        here = self._snapshot(name)
        cached = choose(here, name)
        if cached and all(shard in here for shard in shard_names(cached)):
            return here[cached]
        if offline:
            others = f" (the cache has {', '.join(sorted(here))})" if here else ""
            raise OfflineModelUnavailable(
                f"{name} is not in the cache{others}, and downloading is off; run `agentkit models pull {name}` online"
            )
        return self._download(name, progress)

    def installed(self) -> Iterator[tuple[str, str, Path]]:
        """Yield repository, file name and path of every model in the cache."""
        for folder in sorted(self._cache.glob("models--*--*")):
            owner, _, repo = folder.name.removeprefix("models--").partition("--")
            files: dict[str, Path] = {}
            for snapshot in sorted(folder.glob("snapshots/*")):
                files |= _ggufs(snapshot)
            for name in _models(files):
                yield f"{owner}/{repo}", name, files[name]

    def _snapshot(self, name: HubName) -> dict[str, Path]:
        folder = self._cache / f"models--{name.repo.replace('/', '--')}"
        reference = folder / "refs" / (name.revision or "main")
        commit = name.revision or ""
        if reference.is_file():
            commit = reference.read_text(encoding="utf-8").strip()
        return _ggufs(folder / "snapshots" / commit) if commit else {}

    def _download(self, name: HubName, progress: Progress | None) -> Path:
        names = self.list_files(name)
        chosen = choose(names, name)
        if chosen is None:
            raise ModelNotFound(f"{name}: {_nothing_fits(names, name)}")
        first, *_ = [self.fetch(name, shard, progress) for shard in shard_names(chosen)]
        return first

    def list_files(self, name: HubName) -> list[str]:
        """Return the names of all files in the repository."""
        from huggingface_hub import HfApi  # noqa: PLC0415  0.5 s; reached only for a download

        info = _explained(name, lambda: HfApi(endpoint=self._endpoint).model_info(name.repo, revision=name.revision))
        return [file.rfilename for file in info.siblings or ()]

    def fetch(self, name: HubName, file: str, progress: Progress | None) -> Path:
        """Download one file into the cache, and return its path."""
        from huggingface_hub import hf_hub_download  # noqa: PLC0415  0.5 s; reached only for a download

        bar = _bar(file, progress) if progress is not None else None
        return _explained(
            name,
            lambda: Path(
                hf_hub_download(
                    name.repo,
                    file,
                    revision=name.revision,
                    cache_dir=self._cache,
                    endpoint=self._endpoint,
                    tqdm_class=bar,
                )
            ),
        )


def choose(names: Iterable[str], name: HubName) -> str | None:
    """Return the file that `name` means, of those in a repository; None if none does.

    By its own name a file is had whatever it is: an mmproj is one that goes with a model.
    """
    there = list(names)
    if name.file is not None:
        wanted = first_shard(name.file)
        return wanted if wanted in there else None
    models = _models(there)
    for quant in (name.quant,) if name.quant else PREFERRED:
        pattern = re.compile(rf"(?<![A-Za-z0-9_]){re.escape(quant)}(?![A-Za-z0-9_])", re.IGNORECASE)
        fitting = [model for model in models if pattern.search(model)]
        if fitting:
            return fitting[0]
    return models[0] if models and not name.quant else None


def _models(names: Iterable[str]) -> list[str]:
    """Return the GGUFs that are models, of split ones the first part, in order."""
    return sorted(
        name
        for name in names
        if name.lower().endswith(".gguf")
        and first_shard(name) == name
        and not any(mark in PurePosixPath(name).name.lower() for mark in _NOT_MODELS)
    )


def _ggufs(snapshot: Path) -> dict[str, Path]:
    return {path.relative_to(snapshot).as_posix(): path for path in sorted(snapshot.rglob("*.gguf")) if path.is_file()}


def _nothing_fits(names: Sequence[str], name: HubName) -> str:
    models = _models(names)
    if not models:
        return f"the repository holds no GGUF; look for '{name.repo.split('/')[1]}-GGUF' by the same or another owner"
    quants = sorted({found[1].upper() for model in models if (found := _QUANT.search(model))})
    return f"no such file there; it has {', '.join(quants or models[:8])}"


def _explained(name: HubName, work: Callable[[], T]) -> T:
    """Do `work`; whatever the Hub or the network says becomes one of our errors."""
    from huggingface_hub import errors  # noqa: PLC0415  reached only for a download

    try:
        return work()
    except errors.GatedRepoError as error:
        raise ModelNotFound(
            f"{name}: the repository is gated; accept its licence on huggingface.co/{name.repo} and set HF_TOKEN"
        ) from error
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.RemoteEntryNotFoundError) as error:
        raise ModelNotFound(f"{name}: no such repository, revision or file on the Hub; check the spelling") from error
    except errors.HFValidationError as error:
        raise ModelNotFound(f"{name}: not a repository's name ({error}); check the spelling") from error
    except errors.OfflineModeIsEnabled as error:
        raise OfflineModelUnavailable(
            f"{name} is not in the cache, and HF_HUB_OFFLINE is set; unset it once"
        ) from error
    except (errors.HTTPError, ConnectionError, errors.LocalEntryNotFoundError) as error:
        raise OfflineModelUnavailable(
            f"{name} is not in the cache, and the Hub cannot be reached ({_brief(error)}); try again later, "
            "or use sprout, which needs no network"
        ) from error
    except OSError as error:
        raise ModelFileError(f"{name}: cannot be stored ({_brief(error)}); make room or mend permissions") from error


def _brief(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:160] if lines else type(error).__name__


def _bar(file: str, progress: Progress) -> type[Any]:
    """Return a progress bar class, as huggingface_hub takes them, that reports instead of drawing."""
    from huggingface_hub.utils import tqdm  # noqa: PLC0415  reached only for a download

    class Bar(tqdm):  # type: ignore[misc]  # huggingface_hub is not typed for us
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{**options, "disable": True})
            self._done = int(options.get("initial") or 0)

        def update(self, n: float | None = 1) -> None:
            self._done += int(n or 0)
            progress(file, self._done, int(self.total or 0))

    return Bar
