"""What can be wrong with a collection, beyond what agentkit's own errors tell apart."""

from __future__ import annotations

from agentkit.errors import StoreError

__all__ = ["CollectionBusy", "DamagedCollection", "EncoderMismatch", "NotMade"]


class EncoderMismatch(StoreError):
    """The collection's vectors are another encoder's: the two are never compared and never mixed."""


class CollectionBusy(StoreError):
    """Another process, or another writer of this one, is writing to the collection."""


class DamagedCollection(StoreError):
    """A file of the collection is not what was written."""


class NotMade(StoreError):
    """No collection is there yet, or it was begun and its making was broken off."""
