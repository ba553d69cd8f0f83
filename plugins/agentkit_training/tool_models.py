"""The models that a tool may name: the one built in, a folder in the workspace, or an id whose files are on this machine."""

from __future__ import annotations

import json
from pathlib import Path

from agentkit.errors import InvalidParams
from agentkit.job_tools import within

__all__ = ["local_model"]


def local_model(name: str, workspace: Path) -> str:
    """Return the model to train or to look at: `sprout`, a folder in the workspace, or an id whose files are here.

    Raises:
        InvalidParams: it is none of them.
    """
    if name == "sprout":
        return name
    folder = within(name, workspace)
    if folder.is_dir():
        _no_id_beneath(folder, workspace)
        return str(folder)
    if name.count("/") != 1 or name.startswith((".", "~")):
        raise InvalidParams(f"/model: there is no folder {name} in the workspace, and it is no id like org/model")
    return str(_cached(name))


def _no_id_beneath(folder: Path, workspace: Path) -> None:
    """Refuse an adapter whose base would be looked for on the network, or outside the workspace."""
    about = folder / "adapter_config.json"
    if not about.is_file():
        return
    try:
        base = str(json.loads(about.read_text(encoding="utf-8")).get("base_model_name_or_path") or "")
    except (OSError, ValueError) as error:
        raise InvalidParams(f"/model: {about} cannot be read ({error}); give a folder that PEFT wrote") from error
    from agentkit import config  # noqa: PLC0415

    path = Path(base).resolve()
    places = (workspace.resolve(), config.cache_dir().resolve())
    if base != "sprout" and not (path.is_dir() and any(path.is_relative_to(place) for place in places)):
        raise InvalidParams(
            f"/model: {folder.name} is an adapter of {base}, which is not in the workspace; put it there"
        )


def _cached(name: str) -> Path:
    from huggingface_hub import snapshot_download  # noqa: PLC0415  0.5 s
    from huggingface_hub.errors import LocalEntryNotFoundError  # noqa: PLC0415

    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (LocalEntryNotFoundError, ValueError) as error:
        raise InvalidParams(f"/model: {name} is not on this machine; fetch it with `hf download {name}`") from error
