"""Making a data set: rows in order, on any number of workers, with a checkpoint every second.

Guarantees: the same bytes for every number of workers and after any interruption; memory that does not grow with the number of
rows; the folder that was asked for appears whole or not at all.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from agentkit.errors import InvalidParams, JobError
from agentkit.jobs import JobContext, write_atomic
from agentkit_synthesis.dataset.card import card
from agentkit_synthesis.dataset.chunks import Recipe, chunks
from agentkit_synthesis.dataset.files import NAMES, Files, Progress
from agentkit_synthesis.dataset.manifest import Manifest, is_made, read_manifest, sha256_of, versions

__all__ = ["make_rows", "refuse_other"]

SAVE_EVERY_S = 1.0
HOPELESS = 1_000  # fewer than one row kept of so many, after twice as many tries, is no data set


def make_rows(
    source: str,
    options: Mapping[str, Any],
    *,
    count: int,
    seed: int,
    workers: int,
    out: Path,
    context: JobContext,
    kind: str,
    title: str = "",
    about: str = "",
    pairs: bool = False,
    parquet: bool = False,
    force: bool = False,
    chunk: int = 256,
    patience: int = 200,
) -> dict[str, Any]:
    """Make `count` verified rows and put the data set's folder at `out`; return its figures.

    Args:
        source, options, seed: what makes the rows, `module:function`; JSON values that they depend on; what they draw from.
        count: rows to keep, over all splits.
        workers: processes; the bytes do not depend on it.
        out: the folder; made last, in one step.
        context: of the job; rows and checkpoint are in its folder until all is done.
        kind: how the rows' ids begin.
        title, about: of the card.
        pairs, parquet, force: the source gives preference pairs; Parquet beside JSON Lines; replace what is at `out`.
        chunk: rows that a worker makes at once.
        patience: rows tried before a source that has given none is given up.

    Raises:
        JobError: fewer than one row in a thousand verified, or none at first; the source failed; the disk is full.
        InvalidParams, MissingDependency: `out` holds something else; there is no pyarrow for Parquet.
    """
    recipe = Recipe(source=source, options=dict(options), seed=seed)
    if not is_made(out, source=source, options=options, seed=seed, count=count, parquet=parquet):
        refuse_other(out, force=force)
        work = context.run_dir / "dataset"
        with Files(work, context.checkpoint_dir / "rows.json", pairs=pairs) as files:
            progress = _fill(recipe, files, context, count=count, workers=workers, chunk=chunk, patience=patience)
        if progress.kept < count:
            return _shares(progress.kept, progress.next)
        if parquet:
            _write_parquet(work, files.names)
        manifest = _describe(work, recipe, progress, kind)
        write_atomic(work / "README.md", card(manifest, title=title or kind, about=about))
        _publish(work, out)
    return _told(out, count, context)


def _write_parquet(work: Path, names: list[str]) -> None:
    from agentkit_synthesis.dataset.parquet import to_parquet  # noqa: PLC0415  pyarrow: heavy

    for name in names:
        to_parquet(work / NAMES[name])


def _told(out: Path, count: int, context: JobContext) -> dict[str, Any]:
    """Return the figures of the folder, and tell the job of its files."""
    for path in sorted(out.iterdir()):
        context.artifact(path, "dataset")
    made = read_manifest(out)
    context.step(count, count, phase="rows")
    groups = {"rows": dict(made.rows), "families": dict(made.families), "rejected": dict(made.rejected)}
    return {**_shares(made.count, made.tried), **groups}


def refuse_other(out: Path, *, force: bool) -> None:
    """Refuse to write over what is there.

    Raises:
        InvalidParams: `out` exists and may not be replaced.
    """
    if out.exists() and not (force and out.is_dir()):
        raise InvalidParams(f"/out: {out} exists; name another folder, or force it")


def _fill(
    recipe: Recipe, files: Files, context: JobContext, *, count: int, workers: int, chunk: int, patience: int
) -> Progress:
    """Make rows until there are `count`, or the job is to stop."""
    progress, saved = files.progress, time.monotonic()
    began, before = saved, progress.kept
    if progress.kept >= count:
        return progress
    with closing(chunks(recipe, start=progress.next, size=min(chunk, count), workers=workers)) as made:
        for _, outcomes in made:
            for outcome in outcomes:
                files.add(outcome)
                if progress.kept == count:
                    break
            now = time.monotonic()
            done = progress.kept == count
            stops = not done and context.should_stop()
            if done or stops or now - saved >= SAVE_EVERY_S:
                files.save()
                saved = now
            rate = (progress.kept - before) / max(now - began, 1e-9)
            context.step(progress.kept, count, phase="rows", message=f"{rate:,.0f} rows/s")
            if done or stops:
                break
            _give_up(recipe.source, progress, patience)
    return progress


def _give_up(source: str, progress: Progress, patience: int) -> None:
    tried, kept = progress.next, progress.kept
    if (kept == 0 and tried >= patience) or (tried >= 2 * HOPELESS and kept * HOPELESS < tried):
        few = "none" if not kept else f"only {kept}"
        raise JobError(f"{source}: {few} of {tried} rows verified: {progress.reasons()}; change the options")


def _describe(work: Path, recipe: Recipe, progress: Progress, kind: str) -> Manifest:
    """Write and return the manifest of what is in `work`."""
    rows = {name: progress.rows[name] for name in NAMES if (work / NAMES[name]).exists()}
    data = sorted(path.name for path in work.iterdir() if path.suffix in {".jsonl", ".parquet"})
    manifest = Manifest(
        kind=kind,
        source=recipe.source,
        options=recipe.options,
        seed=recipe.seed,
        **_shares(progress.kept, progress.next),
        rows=rows,
        families=dict(sorted(progress.families.items())),
        rejected=dict(sorted(progress.rejected.items())),
        files={name: sha256_of(work / name) for name in data},
        versions=versions(),
    )
    manifest.write(work)
    return manifest


def _publish(work: Path, out: Path) -> None:
    """Put the finished folder at `out` in one step; what was there goes only when the new one is ready."""
    ready, old = out.with_name(f".{out.name}.new"), out.with_name(f".{out.name}.old")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        for left in (ready, old):
            shutil.rmtree(left, ignore_errors=True)
        shutil.copytree(work, ready, copy_function=_link_or_copy)
        if out.exists():
            out.rename(old)
        ready.rename(out)
        shutil.rmtree(old, ignore_errors=True)
    except (OSError, shutil.Error) as error:
        raise JobError(f"{out}: cannot be written ({error}); free some space, or name another folder") from error
    shutil.rmtree(work)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copyfile(source, target)


def _shares(count: int, tried: int) -> dict[str, Any]:
    return {"count": count, "tried": tried, "verified_share": round(count / tried, 6) if tried else 0.0}
