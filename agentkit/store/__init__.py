"""Where runs, events, effects, approvals and checkpoints are kept.

`open_store` gives the `Store`, `checkpointer` the LangGraph saver on the same database. Opening an
existing database reads one number and imports nothing heavy; schema work happens on first use only.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentkit import config
from agentkit.errors import ConfigError, StoreError
from agentkit.protocols import Store
from agentkit.store.sql import SqliteStore, SqlStore

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver

__all__ = ["SqlStore", "SqliteStore", "checkpointer", "is_server", "open_store"]

DATABASE_NAME = "agentkit.db"
DAY_S = 86_400
_SCHEMES = ("sqlite:///", "sqlite://")
_SERVERS = ("postgresql://", "postgres://")


def open_store(settings: config.StoreSettings | None = None, *, url: str | None = None) -> SqlStore:
    """Return the store that `url`, else the settings, else the data folder names; it exists afterwards.

    Finished runs older than `settings.keep_days` are deleted.

    Args:
        settings: the `store` section; `None` means its defaults.
        url: a path, `sqlite:///path`, `:memory:` or `postgresql://...`; goes before the settings.

    Raises:
        ConfigError: `keep_days` is below 0.
        StoreError: it cannot be opened or written; one sentence that says what to do.
        MissingDependency: it is a Postgres server, and the extra `postgres` is not installed.
    """
    keep = settings.keep_days if settings is not None else None
    if keep is not None and not keep >= 0:
        raise ConfigError(f"store.keep_days: {keep:g} is no age; give 0 or more days, or leave it out to keep all runs")
    store = _open(url or (settings.url if settings is not None else None) or str(config.data_dir() / DATABASE_NAME))
    try:
        if keep is not None:
            store.prune(older_than_s=keep * DAY_S)
    except BaseException:
        store.close()
        raise
    return store


def _open(target: str) -> SqlStore:
    if target == ":memory:":
        return SqliteStore(None)
    if is_server(target):
        from agentkit.store.postgres import PostgresStore  # noqa: PLC0415  an extra

        return PostgresStore(target)
    for scheme in _SCHEMES:
        target = target.removeprefix(scheme)
    if "://" in target:
        scheme = target.partition("://")[0]
        raise StoreError(
            f"store.url: '{scheme}://' is no database agentkit can use; give the path of a SQLite file, or "
            "postgresql://user@host/database"
        )
    return SqliteStore(Path(target).expanduser())


def is_server(url: str) -> bool:
    """Whether `url` names a Postgres server."""
    return url.startswith(_SERVERS)


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
