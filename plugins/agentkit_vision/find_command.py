"""`agentkit see find`: pictures that fit words, a photo, or both."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from agentkit.cli.output import clean, document, json_option, say
from agentkit_vision.typed import typed_picture

if TYPE_CHECKING:
    from agentkit_vision.contracts import Picture
    from agentkit_vision.search.collection import Collection
    from agentkit_vision.search.query import Found

__all__ = ["find"]


@click.command()
@click.argument("words", nargs=-1)
@click.option("--like", metavar="PHOTO", help="A photo to go by: a path, or an address.")
@click.option("--in", "folder", type=click.Path(file_okay=False, path_type=Path), default=Path(), metavar="FOLDER", help="Where to look.  [default: here]")  # fmt: skip
@click.option("-k", "--count", type=click.IntRange(1, 1000), default=10, show_default=True, metavar="N", help="How many, at most.")  # fmt: skip
@click.option("--where", "conditions", multiple=True, metavar="CONDITION", help="colour=red, colour!=red, path=shoes/*, width>=100; all must hold.")  # fmt: skip
@click.option("--diverse", type=click.FloatRange(0, 1), default=0.0, metavar="X", help="0: the best fits; towards 1: fits that differ from each other.")  # fmt: skip
@click.option("--sheet", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write a contact sheet, FILE.html and FILE.png.")  # fmt: skip
@click.option("--open", "opened", is_flag=True, help="Show the contact sheet in a browser.")
@click.option("-m", "--model", default="auto", show_default=True, metavar="NAME", help="embedded, or a folder or an id of an encoder of the Hub.")  # fmt: skip
@json_option
def find(
    words: tuple[str, ...],
    like: str | None,
    folder: Path,
    count: int,
    conditions: tuple[str, ...],
    diverse: float,
    sheet: Path | None,
    opened: bool,
    model: str,
    as_json: bool,
) -> None:
    """Find images that fit WORDS, look like a photo, or are like it but different.

    A folder that was not indexed is indexed first; what is unchanged is not read again. Each line has the score, a cosine,
    and why.

    \b
    agentkit see find "red shoes" --in shop
    agentkit see find --like photo.png --in shop -k 3
    agentkit see find "but blue, without stripes" --like photo.png --in shop --open
    agentkit see find shoes --where colour=red --where "width>=200" --diverse 0.5 --json
    """
    from agentkit_vision.looking import home_of, ready
    from agentkit_vision.opening import open_encoder
    from agentkit_vision.search.collection import Collection
    from agentkit_vision.search.query import Filters, Searcher

    text = " ".join(words)
    if not text.strip() and like is None:
        raise click.UsageError('nothing to look for: give words, as in find "red shoes", or --like PHOTO, or both')
    filters = Filters.parse(conditions)
    photo = None if like is None else typed_picture(like)
    place, encoder = folder.expanduser().resolve(), open_encoder(model)
    home = home_of(place, model)
    state = ready(place, home, encoder)
    with Collection(home, root=place) as collection:
        found = Searcher(collection, encoder).find(text, photo, k=count, filters=filters, relevance=1 - diverse)
        page = _sheet(found, collection, sheet, opened, text, like, photo)
    if as_json:
        document("see find", {**found.to_json(), "indexed": state.new, "sheet": page})
    else:
        _show(found)
        for path, why in state.failed:
            say(f"! {clean(path)}: {clean(why)}")
        if page is not None:
            say(f"wrote {page}")
    if opened and page is not None:
        click.launch(str(page))


def _show(found: Found) -> None:
    for hit in found.hits:
        click.echo(f"{clean(hit.path)}  {clean(hit.explain())}")
    if found.reading.unknown:
        say(f"not understood: {clean(', '.join(found.reading.unknown))}")
    say(f"{len(found.hits)} of {found.searched:,} images, by {found.how}", faint=True)


def _sheet(
    found: Found,
    collection: Collection,
    out: Path | None,
    opened: bool,
    text: str,
    like: str | None,
    photo: Picture | None,
) -> Path | None:
    """Write the contact sheet that was asked for; return the page."""
    if out is None and not opened:
        return None
    import tempfile

    from agentkit_vision.pictures import thumbnail
    from agentkit_vision.search.sheet import write_sheet

    side = 160
    place = Path(tempfile.mkdtemp(prefix="agentkit-see-")) / "sheet" if out is None else out.expanduser().absolute()
    place = place.with_suffix("") if place.suffix.lower() in {".html", ".png"} else place
    title = " ".join(filter(None, [f"like {like}" if like else "", text]))
    page, _ = write_sheet(
        found,
        place,
        title=title,
        thumbnail=lambda hit: collection.thumbnail(hit.id),
        photo=None if photo is None else thumbnail(photo, side),
    )
    return page
