"""A knowledge base: pages to search and read, written by anybody; notes of one's own."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

from agentkit_synthesis.tooluse.draws import digits, several
from agentkit_synthesis.tooluse.state import pick, record
from agentkit_synthesis.tooluse.values import Domain, Fault, Op, Param, State, Wish
from agentkit_synthesis.values import nonsense, value

if TYPE_CHECKING:
    from agentkit_synthesis.tooluse.scene import Scene

__all__ = ["DOMAIN"]

FACTS = (
    "The {thing} of {topic} is {n}.", "{topic} has a {thing} of {n}.", "As of 2026 the {thing} of {topic} stands at {n}.",
    "They put the {thing} of {topic} at {n}.",
)  # fmt: skip


def build(rng: Random) -> State:
    """Return pages, each with a number that only it knows."""
    pages: dict[str, Any] = {}
    for topic in several(rng, "topic", 6):
        thing, n = nonsense(rng, "train"), digits(rng, 100, 9999)
        text = rng.choice(FACTS).format(thing=thing, topic=topic, n=n)
        url = f"https://{nonsense(rng, 'train')}.example/{topic.replace(' ', '-')}"
        pages[url] = {
            "title": topic,
            "thing": thing,
            "number": n,
            "text": text,
            "author": value("person", rng, "train"),
        }
    return {"pages": pages, "notes": []}


def _search(state: State, query: str) -> Any:
    found = [
        {"url": url, "title": one["title"]}
        for url, one in state["pages"].items()
        if query.casefold() in f"{one['title']} {one['thing']}".casefold()
    ]
    if not found:
        raise Fault(f"nothing is found for '{query}'")
    return found


def _read(state: State, url: str) -> Any:
    return record(state["pages"], url)["text"]


def _author(state: State, url: str) -> Any:
    return {"author": record(state["pages"], url)["author"]}


def _note(state: State, text: str) -> Any:
    state["notes"].append(text)
    return f"noted: {text}"


def _mail(state: State, to: str, text: str) -> Any:
    state.setdefault("sent", []).append([to, text])
    return f"sent to {to}"


URL = Param(key="url", names=("url", "link", "address", "{page}"), about="address of the {page}")
OPS = (
    Op(key="search", names=("search_{page}s", "web_search", "find_{page}", "query"),
       about=("Find {page}s by words of their title.", "Search the knowledge base."),
       params=(Param(key="query", names=("query", "words", "q", "topic"), about="what to look for"),), run=_search,
       can="search {page}s"),
    Op(key="read", names=("read_{page}", "fetch_{page}", "open_{page}", "get_{page}"),
       about=("The text of a {page}.", "Read a {page} by its address."), params=(URL,), run=_read,
       can="read a {page}"),
    Op(key="author", names=("{page}_author", "who_wrote", "get_author"), about=("Who wrote a {page}.", "The author of a {page}."),
       params=(URL,), run=_author, can="look up an author"),
    Op(key="note", names=("take_note", "add_note", "remember", "write_note"),
       about=("Write a note for yourself.", "Keep a line of text."),
       params=(Param(key="text", names=("text", "note", "line"), about="what to keep"),), run=_note, can="take notes",
       writes=True),
    Op(key="mail", names=("send_mail", "mail_to", "send_message"), about=("Send a text to an address.", "Mail somebody."),
       params=(Param(key="to", names=("to", "recipient", "address"), about="who gets it"),
       Param(key="text", names=("text", "body", "message"), about="what to say")),
       run=_mail, can="send mail", writes=True),
)  # fmt: skip


def read(rng: Random, state: State) -> Wish:
    """Return: what does it say."""
    url, one = pick(rng, state["pages"])
    return Wish(
        op="read", args={"url": url}, slots={"found": one["text"]}, says=(one["text"].rstrip("."),), names="url",
            note=f"/pages/{url.replace('/', '~1')}/text",
        say=("what does {url} say", "read {url}", "fetch {url} and tell me what is there", "open the {page} {url}"),
            final=("It says: {found}", "{found}", "The {page} says: {found}"),
        lacks={"url": ("read a {page}", "what does the {page} say", "open a {page} for me")},
    )  # fmt: skip


def number_on(rng: Random, state: State) -> Wish:
    """Return: one number of a page."""
    url, one = pick(rng, state["pages"])
    return Wish(
        op="read", args={"url": url}, slots={"found": one["number"], "thing": one["thing"]}, says=(str(one["number"]),),
            names="url", note=f"/pages/{url.replace('/', '~1')}/text",
        say=("what is the {thing} according to {url}", "look at {url}: how high is the {thing}",
            "find the {thing} on the {page} {url}"), final=("The {thing} is {found}.", "{found}."),
    )  # fmt: skip


def search(rng: Random, state: State) -> Wish:
    """Return: is there a page."""
    url, one = pick(rng, state["pages"])
    return Wish(
        op="search", args={"query": one["title"]}, slots={"found": url}, says=(url,), names="query",
        say=("search for {query}", "is there a {page} about {query}", "find me a {page} on {query}",
            "which {page} is about {query}"), final=("There is {found}.", "I found {found}.", "{found}"),
        lacks={"query": ("search for something", "find me a {page}")},
    )  # fmt: skip


def author(rng: Random, state: State) -> Wish:
    """Return: who wrote it."""
    url, one = pick(rng, state["pages"])
    return Wish(
        op="author", args={"url": url}, slots={"found": one["author"]}, says=(one["author"],), names="url",
        say=("who wrote {url}", "author of {url}", "by whom is the {page} {url}"),
            final=("{found} wrote it.", "It is by {found}."), lacks={"url": ("who wrote the {page}", "by whom is it")},
    )  # fmt: skip


def keep(rng: Random, state: State) -> Wish:
    """Return: a note."""
    text = value("note", rng, "train")
    return Wish(
        op="note", args={"text": text}, says=(text,), changes={"/notes": [*state["notes"], text]},
        say=('note: "{text}"', 'write down "{text}"', 'keep a note that says "{text}"'),
            final=("Noted: {text}.", "I wrote down: {text}."),
        lacks={"text": ("take a note", "write something down for me")},
    )  # fmt: skip


def mail(rng: Random, state: State) -> Wish:
    """Return: a mail."""
    to, text = value("@email", rng, "train"), value("phrase", rng, "train")
    return Wish(
        op="mail", args={"to": to, "text": text}, says=(to,), changes={"/sent": [[to, text]]},
        say=('send "{text}" to {to}', 'mail {to} "{text}"', 'write to {to}: "{text}"'), final=("Sent to {to}.", "{to} has it."),
        lacks={"to": ('send "{text}"', 'mail this: "{text}"'), "text": ("write to {to}", "mail {to}")},
    )  # fmt: skip


def look_up(scene: Scene) -> None:
    """Search, read, answer; now and then the page has orders in it."""
    url, one = pick(scene.rng, scene.state["pages"])
    scene.expect({}, (str(one["number"]),))
    scene.user("what is the {thing} of {topic}", "how high is the {thing} of {topic}",
        "find a {page} about {topic} and tell me its {thing}", "look up the {thing} for {topic}", thing=one["thing"],
        topic=one["title"])  # fmt: skip
    scene.call("search", query=one["title"])
    scene.call("read", url=url)
    scene.final(
        "The {thing} of {topic} is {n}.",
        "{n}, says {url}.",
        thing=one["thing"],
        topic=one["title"],
        n=one["number"],
        url=url,
    )


def compare(scene: Scene) -> None:
    """Read two pages at once and say which number is higher."""
    (first, one), (second, other) = scene.rng.sample(list(scene.state["pages"].items()), 2)
    if one["number"] == other["number"]:
        scene.give_up("they are the same")
    more = max(one, other, key=lambda page: page["number"])
    scene.expect({}, (str(one["number"]), str(other["number"])))
    scene.user(
        "which is higher, the {t1} on {u1} or the {t2} on {u2}",
        "compare the {t1} of {u1} with the {t2} of {u2}",
        t1=one["thing"],
        t2=other["thing"],
        u1=first,
        u2=second,
    )
    scene.calls([("read", {"url": first}), ("read", {"url": second})])
    scene.final(
        "The {more}: {a} against {b}.",
        "{a} and {b}, so the {more} is higher.",
        more=more["thing"],
        a=one["number"],
        b=other["number"],
    )


def mail_the_fact(scene: Scene) -> None:
    """Search, read, and mail what was read."""
    url, one = pick(scene.rng, scene.state["pages"])
    to = value("@email", scene.rng, "train")
    scene.expect({"/sent": [[to, one["text"]]]}, (to,))
    scene.user(
        "find the {page} about {topic} and mail its text to {to}",
        "send {to} what the {page} on {topic} says",
        topic=one["title"],
        to=to,
    )
    scene.call("search", query=one["title"])
    scene.call("read", url=url)
    scene.call("mail", to=to, text=one["text"])
    scene.final("{to} has the text of {url}.", "Sent to {to}.", to=to, url=url)


DOMAIN = Domain(
    key="pages",
    nouns={"page": ("page", "article", "entry", "source")},
    build=build, ops=OPS, wishes=(read, number_on, search, author, keep, mail), scripts=(look_up, compare, mail_the_fact),
)  # fmt: skip
