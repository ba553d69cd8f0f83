"""The card of a data set: `README.md` with the head that the Hugging Face Hub reads."""

from __future__ import annotations

import json

from agentkit_synthesis.dataset.manifest import Manifest

__all__ = ["card"]

SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
)


def card(manifest: Manifest, *, title: str, about: str) -> str:
    """Return the card's text.

    Args:
        manifest: of the data set.
        title: its heading.
        about: a few sentences: what the rows are, and how they were verified.
    """
    head = [
        "---",
        f"pretty_name: {json.dumps(title)}",
        "language: en",
        f"size_categories: {_size(manifest.count)}",
        "task_categories: [text-generation]",
        "tags: [synthetic, agentkit]",
        "configs:",
        "- config_name: default",
        "  data_files:",
        *[f"  - {{split: {split}, path: {split}.jsonl}}" for split in ("train", "test") if manifest.rows.get(split)],
        *(
            ["- config_name: pairs", "  data_files:", "  - {split: train, path: pairs.jsonl}"]
            if manifest.rows.get("pairs")
            else []
        ),
        "---",
    ]
    body = [
        "",
        f"# {title}",
        "",
        about,
        "",
        f"{manifest.count:,} rows of {manifest.tried:,} that were tried ({manifest.verified_share:.1%} verified), made by "
        f"`{manifest.source}` from seed {manifest.seed}. `manifest.json` holds the options; with it any row can be made again "
        "from its id: `agentkit synth row FOLDER ID`.",
        "",
        *_table("file", {f"{name}.jsonl": rows for name, rows in manifest.rows.items()}),
        *_table("family", manifest.families),
        *(_table("rejected because", manifest.rejected) if manifest.rejected else []),
        "The data is synthetic: it shows what its program knows, and no people's words. The licence is for whoever publishes it to "
        "choose.",
        "",
    ]
    return "\n".join(head + body)


def _size(count: int) -> str:
    return next((name for limit, name in SIZES if count < limit), "n>10M")


def _table(title: str, rows: object) -> list[str]:
    items = sorted(dict(rows).items())  # type: ignore[call-overload]
    return [f"| {title} | rows |", "|---|---:|", *[f"| {name} | {count:,} |" for name, count in items], ""]
