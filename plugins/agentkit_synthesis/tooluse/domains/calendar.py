"""A calendar: events with days, hours and people, and who is free when."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

from agentkit_synthesis.tooluse.draws import clock, day, digits, several
from agentkit_synthesis.tooluse.state import by_name, draw_id, pick, record
from agentkit_synthesis.tooluse.values import Domain, Fault, Op, Param, State, Wish
from agentkit_synthesis.values import value

if TYPE_CHECKING:
    from agentkit_synthesis.tooluse.scene import Scene

__all__ = ["DOMAIN"]


def build(rng: Random) -> State:
    """Return some events."""
    events: dict[str, Any] = {}
    people = several(rng, "person", 5)
    for title in several(rng, "event", 5):
        events[draw_id(rng, "E", events)] = {
            "title": title, "day": day(rng), "time": clock(rng), "with": rng.choice(people),
            "note": value("content", rng, "train"),
        }  # fmt: skip
    return {"events": events, "next": digits(rng, 20000, 90000)}


def _find(state: State, title: str) -> Any:
    key, one = by_name(state["events"], title, "title")
    return {"id": key, "title": one["title"], "day": one["day"], "time": one["time"], "with": one["with"]}


def _on(state: State, day: str) -> Any:
    found = [
        {"id": key, "title": one["title"], "time": one["time"]}
        for key, one in state["events"].items()
        if one["day"] == day
    ]
    return found or f"nothing on {day}"


def _note(state: State, event: str) -> Any:
    return record(state["events"], event)["note"]


def _add(state: State, title: str, day: str, time: str) -> Any:
    if any((one["day"], one["time"]) == (day, time) for one in state["events"].values()):
        raise Fault(f"{day} {time} is taken")
    key = f"E-{state['next']}"
    state["next"] += 1
    state["events"][key] = {"title": title, "day": day, "time": time, "with": "", "note": ""}
    return {"id": key}


def _move(state: State, event: str, day: str, time: str) -> Any:
    one = record(state["events"], event)
    one["day"], one["time"] = day, time
    return f"{event} is on {day} at {time}"


def _delete(state: State, event: str) -> Any:
    record(state["events"], event)
    del state["events"][event]
    return f"{event} is deleted"


ID = Param(key="event", names=("id", "{event}_id", "event", "entry"), about="identifier of the {event}, such as E-218")
DAY = Param(key="day", names=("day", "date", "on"), about="day, as 2026-05-31")
TIME = Param(key="time", names=("time", "at", "start", "hour"), about="time of day, as 14:30")
TITLE = Param(key="title", names=("title", "name", "{event}_title"), about="title of the {event}")
OPS = (
    Op(key="find", names=("find_{event}", "get_{event}", "when_is_{event}", "{event}_details"),
       about=("Find an {event} by its title: id, day, time and person.", "When an {event} is, and with whom."), params=(TITLE,),
       run=_find,
       can="look up an {event}"),
    Op(key="on", names=("{event}s_on", "list_day", "agenda", "show_day"), about=("All {event}s of a day.", "What is on a day."),
       params=(DAY,), run=_on,
       can="list the {event}s of a day"),
    Op(key="note", names=("read_note", "{event}_note", "get_description"),
       about=("The note that somebody left with an {event}.", "The description of an {event}."),
       params=(ID,), run=_note, can="read the note of an {event}"),
    Op(key="add", names=("add_{event}", "create_{event}", "schedule_{event}", "new_{event}"),
       about=("Add an {event} to the calendar.", "Schedule an {event}."),
       params=(TITLE, DAY, TIME), run=_add, can="add an {event}", writes=True),
    Op(key="move", names=("move_{event}", "reschedule_{event}", "shift_{event}"),
       about=("Move an {event} to another day and time.", "Reschedule an {event}."),
       params=(ID, DAY, TIME), run=_move, can="move an {event}", writes=True),
    Op(key="delete", names=("delete_{event}", "remove_{event}", "cancel_{event}"),
       about=("Delete an {event}.", "Remove an {event} from the calendar."),
       params=(ID,), run=_delete, can="delete an {event}", writes=True),
)  # fmt: skip


def when(rng: Random, state: State) -> Wish:
    """Return: when is it."""
    _, one = pick(rng, state["events"])
    return Wish(
        op="find", args={"title": one["title"]}, slots={"found_day": one["day"], "found_time": one["time"]}, names="title",
        says=(one["day"], one["time"]), also=("on",),
        say=("when is the {event} {title}", "what day is {title}, and what time", "when do I have the {title}",
            "look up when {title} is"),
        final=("{title} is on {found_day} at {found_time}.", "On {found_day}, {found_time}.",
            "The {event} {title}: {found_day}, {found_time}."),
        lacks={"title": ("when is it", "when is that {event}", "look up an {event} for me")},
    )  # fmt: skip


def with_whom(rng: Random, state: State) -> Wish:
    """Return: who takes part."""
    _, one = pick(rng, state["events"])
    return Wish(
        op="find", args={"title": one["title"]}, slots={"who": one["with"]}, names="title", says=(one["with"],),
        say=("who is the {event} {title} with", "with whom do I have {title}", "who comes to the {title}"),
        final=("{title} is with {who}.", "With {who}.", "{who} comes to it."),
        lacks={"title": ("who is that {event} with", "with whom do I have it")},
    )  # fmt: skip


def agenda(rng: Random, state: State) -> Wish:
    """Return: what is on a day."""
    _, one = pick(rng, state["events"])
    same = [other["title"] for other in state["events"].values() if other["day"] == one["day"]]
    return Wish(
        op="on", args={"day": one["day"]}, slots={"titles": ", ".join(same)}, says=tuple(same), also=("find",),
        say=("what is on (|on )the calendar for {day}", "show me {day}", "which {event}s do I have on {day}",
            "my {event}s of {day}", "what do I do on {day}"),
        final=("On {day}: {titles}.", "There is {titles}.", "{titles}."),
        lacks={"day": ("show me the {event}s of a day", "what is on the calendar", "which {event}s do I have")},
    )  # fmt: skip


def note_of(rng: Random, state: State) -> Wish:
    """Return: what does its note say."""
    key, one = pick(rng, state["events"])
    return Wish(
        op="note", args={"event": key}, slots={"note": one["note"]}, says=(one["note"],), names="event",
            note=f"/events/{key}/note",
        say=("what does the note of {event_id} say", "read me the note of the {event} {event_id}",
            "is there a note with {event_id}", "note of {event_id}"),
        final=("The note says: {note}.", "It says: {note}.", "{event_id}: {note}."),
        lacks={"event": ("read me the note", "what does the note of the {event} say")},
    )  # fmt: skip


def add(rng: Random, state: State) -> Wish:
    """Return: put something in."""
    title, on, at = value("event", rng, "train"), day(rng), clock(rng)
    key = f"E-{state['next']}"
    return Wish(
        op="add", args={"title": title, "day": on, "time": at}, slots={"key": key}, says=(key,),
        say=("add {title} on {day} at {time}", "put the {event} {title} in the calendar, {day} {time}",
            "schedule {title} for {day} {time}", "new {event}: {title}, {day}, {time}"),
        final=("{title} is in the calendar: {key}.", "Added as {key}.", "Done, {key}."),
        changes={"/next": state["next"] + 1, f"/events/{key}": {"title": title, "day": on, "time": at, "with": "", "note": ""}},
        lacks={"time": ("add {title} on {day}", "schedule {title} for {day}"),
            "day": ("add {title} at {time}", "put {title} in the calendar at {time}"),
               "title": ("add an {event} on {day} at {time}", "put something in for {day}, {time}")},
    )  # fmt: skip


def shift(rng: Random, state: State) -> Wish:
    """Return: move one."""
    key, one = pick(rng, state["events"])
    on, at = day(rng), clock(rng)
    changes = {f"/events/{key}/{name}": new for name, new in (("day", on), ("time", at)) if one[name] != new}
    return Wish(
        op="move", args={"event": key, "day": on, "time": at}, says=(key,), names="event", changes=changes,
        say=("move {event_id} to {day} at {time}", "reschedule the {event} {event_id} to {day} {time}",
            "{event_id} has to be on {day} at {time}"),
        final=("{event_id} is on {day} at {time} now.", "Moved {event_id} to {day}, {time}."),
        lacks={"event": ("move it to {day} at {time}", "reschedule the {event} to {day} {time}"),
            "time": ("move {event_id} to {day}",),
               "day": ("move {event_id} to {time} on another day",)},
    )  # fmt: skip


def drop(rng: Random, state: State) -> Wish:
    """Return: delete one."""
    key, _ = pick(rng, state["events"])
    return Wish(
        op="delete", args={"event": key}, says=(key,), names="event", changes={f"/events/{key}": None},
        say=("delete {event_id}", "remove the {event} {event_id}", "take {event_id} out of the calendar",
            "I won't go to {event_id}, delete it"),
        final=("{event_id} is deleted.", "I removed {event_id}.", "Done, {event_id} is gone."),
        lacks={"event": ("delete an {event}", "take it out of the calendar", "remove that {event}")},
    )  # fmt: skip


def move_by_title(scene: Scene) -> None:
    """Find it by title, move it by id."""
    key, one = pick(scene.rng, scene.state["events"])
    on, at = day(scene.rng), clock(scene.rng)
    scene.expect(
        {f"/events/{key}/{name}": new for name, new in (("day", on), ("time", at)) if one[name] != new}, (key,)
    )
    scene.user(
        "move the {event} {title} to {on} at {at}",
        "{title} should be on {on} at {at}",
        "reschedule {title} to {on}, {at}",
        title=one["title"],
        on=on,
        at=at,
    )
    scene.call("find", title=one["title"])
    scene.call("move", event=key, day=on, time=at)
    scene.final(
        "{title} ({key}) is on {on} at {at} now.",
        "Moved: {key} is on {on}, {at}.",
        title=one["title"],
        key=key,
        on=on,
        at=at,
    )


def delete_of_day(scene: Scene) -> None:
    """See what is on a day, and delete all of it."""
    _, one = pick(scene.rng, scene.state["events"])
    keys = [key for key, other in scene.state["events"].items() if other["day"] == one["day"]]
    scene.expect({f"/events/{key}": None for key in keys}, keys)
    scene.user(
        "clear {on}",
        "delete all {event}s of {on}",
        "I'm away on {on}, take everything out",
        "cancel whatever is on {on}",
        on=one["day"],
    )
    scene.call("on", day=one["day"])
    scene.calls([("delete", {"event": key}) for key in keys])
    scene.final("{on} is clear; deleted: {keys}.", "Deleted {keys}.", on=one["day"], keys=", ".join(keys))


def same_day(scene: Scene) -> None:
    """Put something on the day and at the hour of another; it is taken, which is reported."""
    _, one = pick(scene.rng, scene.state["events"])
    title = value("event", scene.rng, "train")
    error = f"{one['day']} {one['time']} is taken"
    scene.expect({}, (error,))
    scene.user(
        "put {title} at the time of {other}",
        "add {title} when {other} is",
        "schedule {title} for the very time of {other}",
        title=title,
        other=one["title"],
    )
    scene.call("find", title=one["title"])
    scene.call("add", title=title, day=one["day"], time=one["time"])
    scene.final(
        "I could not add {title}: {error}.", "{error}, so {title} is not in the calendar.", title=title, error=error
    )


DOMAIN = Domain(
    key="calendar",
    nouns={"event": ("event", "appointment", "entry", "date")},
    build=build, ops=OPS, wishes=(when, with_whom, agenda, note_of, add, shift, drop),
        scripts=(move_by_title, delete_of_day, same_day),
)  # fmt: skip
