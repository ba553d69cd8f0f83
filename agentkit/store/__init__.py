"""Where runs, events, effects, approvals and checkpoints are kept.

`open_store` gives the `Store`, `checkpointer` the LangGraph saver on the same database. Opening an
existing database reads one number and imports nothing heavy; schema work happens on first use only.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentkit import config
from agentkit.errors import StoreError
from agentkit.protocols import Store
from agentkit.store.lease import lease
from agentkit.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver

__all__ = ["SqliteStore", "checkpointer", "lease", "open_store"]

DATABASE_NAME = "agentkit.db"
_SCHEMES = ("sqlite:///", "sqlite://")


def open_store(settings: config.StoreSettings | None = None, *, url: str | None = None) -> SqliteStore:
    """Return the store that `url`, else the settings, else the data folder names; it exists afterwards.

    Args:
        settings: the `store` section; `None` means its defaults.
        url: a path, `sqlite:///path` or `:memory:`; goes before the settings.

    Raises:
        StoreError: it cannot be opened or written; one sentence that says what to do.
    """
    target = url or (settings.url if settings is not None else None) or str(config.data_dir() / DATABASE_NAME)
    if target == ":memory:":
        return SqliteStore(None)
    for scheme in _SCHEMES:
        target = target.removeprefix(scheme)
    if "://" in target:
        scheme = target.partition("://")[0]
        raise StoreError(f"store.url: '{scheme}://' is no database agentkit can use; give the path of a SQLite file")
    return SqliteStore(Path(target).expanduser())


def checkpointer(store: Store) -> BaseCheckpointSaver[str]:
    """Return the LangGraph saver on `store`'s database; it serves sync and async, and closes with the store.

    Raises:
        StoreError: this kind of store has no saver.
    """
    make: Any = getattr(store, "checkpointer", None)
    if make is None:
        raise StoreError(f"{type(store).__name__} offers no checkpointer(); open the store with `open_store`")
    saver: BaseCheckpointSaver[str] = make()
    return saver
