"""`agentkit see caption|ask`: what a model says about pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from agentkit.cli.output import clean, document, json_option, say
from agentkit_vision.typed import typed_picture

if TYPE_CHECKING:
    from agentkit_vision.contracts import Picture, Said

__all__ = ["ask", "caption"]

model_option = click.option(
    "-m",
    "--model",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="embedded, a GGUF with its mmproj beside it, or a folder or an id of the Hub.",
)
mmproj_option = click.option(
    "--mmproj", metavar="FILE", help="what the GGUF sees with, where it lies elsewhere or there are several."
)


@click.command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@model_option
@mmproj_option
@json_option
def caption(images: tuple[str, ...], model: str, mmproj: str | None, as_json: bool) -> None:
    """Describe each IMAGE in one sentence; a path, or an address with http:// or https://.

    \b
    agentkit see caption photo.png
    agentkit see caption *.jpg --json
    agentkit see caption photo.png -m HuggingFaceTB/SmolVLM-256M-Instruct
    agentkit see caption photo.png -m ./llava.gguf --mmproj ./vision/mmproj-f16.gguf
    """
    from agentkit_vision.opening import open_speaker

    pictures = [typed_picture(image) for image in images]
    speaker = open_speaker(model, **_options(mmproj))
    rows = [_row(picture, speaker.caption(picture), "caption") for picture in pictures]
    if as_json:
        document("see caption", rows)
        return
    for row in rows:
        click.echo(clean(row["caption"]) if len(rows) == 1 else f"{clean(row['image'])}: {clean(row['caption'])}")
        _show_notes(row)


@click.command()
@click.argument("words", nargs=-1, required=True, metavar="IMAGE... QUESTION")
@model_option
@mmproj_option
@json_option
def ask(words: tuple[str, ...], model: str, mmproj: str | None, as_json: bool) -> None:
    """Answer a QUESTION about an IMAGE, or about several at once where the model takes them.

    \b
    agentkit see ask photo.png "what colour is the shoe?"
    agentkit see ask before.png after.png "what has changed?" -m ./qwen2-vl-2b.gguf
    """
    from agentkit_vision.opening import open_speaker

    *images, question = words
    if not images:
        raise click.UsageError("give at least one image, and the question after it, in quotes")
    pictures = [typed_picture(image) for image in images]
    said = open_speaker(model, **_options(mmproj)).ask(pictures, question)
    row = {**_row(pictures[0], said, "answer"), "images": images, "question": question}
    if as_json:
        document("see ask", row)
        return
    click.echo(clean(said.text))
    _show_notes(row)


def _options(mmproj: str | None) -> dict[str, str]:
    return {} if mmproj is None else {"mmproj": mmproj}


def _row(picture: Picture, said: Said, what: str) -> dict[str, Any]:
    return {
        "image": picture.source,
        what: said.text,
        "confidence": said.confidence,
        "model": said.model,
        "size": picture.size,
        "notes": picture.notes,
    }


def _show_notes(row: dict[str, Any]) -> None:
    """Say on stderr what people may want to know beside the answer."""
    sure = "" if row["confidence"] is None else f", {row['confidence']:.0%} sure"
    notes = "".join(f"; {note}" for note in row["notes"])
    say(f"{row['model']}{sure}{notes}", faint=True)
