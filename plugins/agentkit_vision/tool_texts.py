"""What a tool of this package came to, for the person who asked, and in a few words for a model that quotes by reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agentkit.jobs.texts import duration

if TYPE_CHECKING:
    from agentkit.jobs import JobState
    from agentkit_vision.comparing import Compared
    from agentkit_vision.contracts import Said
    from agentkit_vision.looking import Ready
    from agentkit_vision.search.query import Found

__all__ = ["compared", "found_text", "index_texts", "said_text"]

NAMED = 3  # files that cannot be read, at most


def said_text(said: Said) -> str:
    """Return a caption or an answer."""
    return said.text or "(the model says nothing)"


def found_text(
    found: Found, names: Sequence[str], *, like: str | None, what: str | None, state: Ready
) -> tuple[str, str]:
    """Return what a search found, with scores and reasons; `names` are those of the hits."""
    asked = " and ".join(filter(None, [f"like {like}" if like else "", f"'{what}'" if what else ""]))
    if not names:
        return f"no image fits {asked}: {found.searched:,} were looked through", "no images found"
    lines = [f"{n}. {name}: {hit.explain()}" for n, (name, hit) in enumerate(zip(names, found.hits, strict=True), 1)]
    head = f"{len(names)} {'image' if len(names) == 1 else 'images'} of {found.searched:,}, {asked}:"
    notes = []
    if found.reading.unknown and found.how != "text":
        notes.append(f"not understood: {', '.join(found.reading.unknown)}")
    if state.stale:
        notes.append(f"{state.stale:,} new or changed pictures are not looked through, as another process is indexing")
    notes += [f"not read: {path} ({why})" for path, why in state.failed[:NAMED]]
    return "\n".join([head, *lines, *notes]), f"{len(names)} images found"


def compared(found: Compared) -> tuple[str, str]:
    """Return what two pictures have in common."""
    if found.is_same_file:
        return f"{found.one} and {found.other} are the same file, byte for byte", "they are the same"
    told = [f"similarity {found.similarity:.2f} (1 is the same)"]
    if found.same:
        told.append(f"both: {', '.join(f'{name} {value}' for name, value in found.same.items())}")
    told += [f"{name}: {a} in {found.one}, {b} in {found.other}" for name, (a, b) in found.different.items()]
    return "; ".join(told), f"similarity {found.similarity:.2f}"


def index_texts(state: JobState, out: str | None) -> tuple[str, str]:
    """Return what indexing came to."""
    assert state.result is not None
    figures: Mapping[str, Any] = state.result.metrics
    told = [
        f"{figures['images']:,} images can be searched now; {figures['added']:,} new or changed, {figures['same']:,} as before"
    ]
    if figures["removed"]:
        told.append(f"{figures['removed']:,} are gone")
    if figures["failed"]:
        named = "; ".join(figures.get("failures", ())[:NAMED])
        told.append(f"{figures['failed']:,} files could not be read: {named}")
    told.append(f"It took {duration(state.result.wall_s)}")
    return ". ".join(told), f"{figures['images']:,} images are indexed"
