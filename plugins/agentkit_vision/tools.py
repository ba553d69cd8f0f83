"""Pictures as tools: a caption, an answer, others that fit, what two have in common, and a folder made ready for search.

Pictures are files of the workspace, or named by address: these are fetched by `fetch_image`, the one tool here that touches the network, in
a nested call that policy decides about. A model is opened by the first call that needs it, and stays open. What a model reads in a
picture may be a stranger's words, so results are not trusted. Importing this module loads nothing heavy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, WithJsonSchema

from agentkit.errors import InvalidParams
from agentkit.job_tools import Wanted, answered, job_tool, shown
from agentkit.protocols import Tool, ToolContext
from agentkit.tools import tool
from agentkit.types import Done, Outcome
from agentkit_vision.settings import VisionSettings
from agentkit_vision.tool_texts import compared, found_text, index_texts, said_text

if TYPE_CHECKING:
    from agentkit_vision.contracts import Encoder, Picture

__all__ = ["TOOLS"]

FIVE = 5  # images, where nobody says how many
FETCH_S = 30.0
TIMEOUT_S = 300.0  # the first call opens a model; a folder may be indexed
Image = Annotated[str, Field(pattern=r"\.[A-Za-z]\w{1,4}$|/")]  # a file's name, no plain word
Question = Annotated[str, Field(pattern=r"\S\s+\S|[^\x00-\x7f]")]  # two words, or of a script that may have no spaces
Url = Annotated[str, WithJsonSchema({"type": "string", "format": "uri"})]
Folder = Annotated[str, Field(pattern=r"(^|/)[A-Za-z_][\w-]*$|/$|^\.\.?$")]
Count = Annotated[int, Field(ge=1, le=100)]


@tool(
    effect="read",
    egress=False,
    idempotent=True,
    timeout_s=TIMEOUT_S,
    grounded={"image": "context"},
    keywords=("#picture picture photo describe caption show see look alt text",),
)
def caption_image(image: Image, context: ToolContext) -> Outcome:
    """Describe an image.

    Args:
        image: its file, or its address.
    """

    def work() -> Outcome:
        from agentkit_vision.looking import picture_in, speaker  # noqa: PLC0415  models

        picture = picture_in(image, context)
        said = speaker(VisionSettings.of(context.settings).model).caption(picture)
        data = {"caption": said.text, "confidence": said.confidence, "model": said.model, "notes": list(picture.notes)}
        return Done(text=said_text(said), data=data)

    return answered(work)


@tool(
    effect="read",
    egress=False,
    idempotent=True,
    timeout_s=TIMEOUT_S,
    grounded={"image": "context", "question": "clause"},
    keywords=(
        "#picture picture photo colour color shade kind type sort many count size shape pattern texture material whether",
        "look see show big small large",
    ),
)
def ask_image(image: Image, question: Question, context: ToolContext) -> Outcome:
    """Answer what colour, kind, size or pattern something in an image has, or how many there are.

    Args:
        image: its file, or its address.
        question: what to find out.
    """

    def work() -> Outcome:
        from agentkit_vision.looking import picture_in, speaker  # noqa: PLC0415  models

        picture = picture_in(image, context)
        asked = question.replace(image, "the picture")  # what a file is called says nothing about it
        said = speaker(VisionSettings.of(context.settings).model).ask([picture], asked)
        data = {"answer": said.text, "confidence": said.confidence, "model": said.model, "notes": list(picture.notes)}
        return Done(text=said_text(said), data=data, brief="seen")

    return answered(work)


@tool(
    effect="read",
    egress=False,
    idempotent=True,
    timeout_s=TIMEOUT_S,
    grounded={"what": "clause", "like": "context", "k": "context", "folder": "context"},
    keywords=(
        "#picture # pictures similar same alike resemble lookalikes match more others ones version but except only search",
        "look see show",
    ),
)
def find_images(
    like: Image | None, k: Count | None, what: str | None, context: ToolContext, folder: Folder = "."
) -> Outcome:
    """Find images that look like a photo, or fit words.

    Args:
        like: a photo to go by, or null.
        k: how many; null for five.
        what: words, such as red shoes, or beside a photo what is to be different, such as blue; or null.
        folder: where to look.
    """

    def work() -> Outcome:
        from agentkit_vision.looking import encoder, home_of, inside, picture_in, ready  # noqa: PLC0415  models
        from agentkit_vision.search.collection import Collection  # noqa: PLC0415
        from agentkit_vision.search.query import Searcher  # noqa: PLC0415
        from agentkit_vision.search.wording import content  # noqa: PLC0415

        words = content(what or "", like=like, k=k)
        if not words and like is None:
            raise InvalidParams("nothing to look for: give words in `what`, a photo in `like`, or both")
        settings = VisionSettings.of(context.settings)
        photo = None if like is None else picture_in(like, context)
        place = inside(folder, context.workspace)
        home, model = home_of(place, settings.encoder), encoder(settings.encoder)
        state = ready(place, home, model, most=settings.at_once, should_stop=context.cancel.is_set)
        with Collection(home, root=place) as collection:
            found = Searcher(collection, model).find(words, photo, k=k or FIVE)
        names = [shown(hit.file, context.workspace) for hit in found.hits]
        text, brief = found_text(found, names, like=like, what=words, state=state)
        return Done(text=text, brief=brief, data=found.to_json(), artifacts=tuple(str(hit.file) for hit in found.hits))

    return answered(work)


@tool(
    effect="read",
    egress=False,
    idempotent=True,
    timeout_s=TIMEOUT_S,
    grounded={"image_a": "context", "image_b": "context"},
    keywords=("#picture photos difference differ common",),
)
def compare_images(image_a: Image, image_b: Image, context: ToolContext) -> Outcome:
    """Compare a pair of images.

    Args:
        image_a: a file, or an address.
        image_b: another.
    """

    def work() -> Outcome:
        from agentkit_vision.looking import encoder, picture_in  # noqa: PLC0415  models

        pictures = [picture_in(name, context) for name in (image_a, image_b)]
        model = encoder(VisionSettings.of(context.settings).encoder)
        return _compared(pictures, model)

    return answered(work)


@tool(
    effect="read",
    egress=True,
    idempotent=True,
    timeout_s=FETCH_S,
    sinks=("url",),
    grounded={"url": "trusted"},
)
def fetch_image(url: Url, context: ToolContext) -> Outcome:
    """Fetch an image from the web.

    Args:
        url: its address, with http:// or https://.
    """

    def work() -> Outcome:
        from agentkit_vision.looking import fetched_copy  # noqa: PLC0415  Pillow

        path, picture = fetched_copy(url, context)
        width, height = picture.size
        told = f"fetched: {picture.format}, {width:,} x {height:,} pixels; ask about it by its address"
        return Done(text=told, brief="fetched", data={"path": str(path), "url": url, "size": [width, height]})

    return answered(work)


def _compared(pictures: list[Picture], model: Encoder) -> Outcome:
    from agentkit_vision.comparing import compare  # noqa: PLC0415

    found = compare(pictures[0], pictures[1], model)
    text, brief = compared(found)
    return Done(text=text, brief=brief, data=found.to_json())


@job_tool(
    index_texts,
    writes=False,
    folder="context",
    keywords="pictures photos directory search ready collection prepare catalogue",
)
def index_images(folder: Folder, context: ToolContext) -> Wanted:
    """Index a folder of images for search.

    Args:
        folder: where they are.
    """
    from agentkit_vision.looking import home_of, inside, is_own  # noqa: PLC0415
    from agentkit_vision.search.listing import list_images  # noqa: PLC0415

    place = inside(folder, context.workspace)
    model = VisionSettings.of(context.settings).encoder
    home = home_of(place, model)
    folders = {place, *(file.parent for file in list_images(place).files)}
    return Wanted(
        home="agentkit_vision.search.indexing:INDEX",
        params={"folder": str(place), "collection": str(home), "encoder": model, "reindex": is_own(home)},
        about=place,
        reads=tuple(sorted(folders)),
    )


TOOLS: tuple[Tool, ...] = (caption_image, ask_image, find_images, compare_images, index_images, fetch_image)
"""In the order in which they are shown."""
