"""A house: lamps, heating and doors in its rooms."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

from agentkit_synthesis.tooluse.draws import digits, several
from agentkit_synthesis.tooluse.state import by_name, draw_id, pick, record
from agentkit_synthesis.tooluse.values import Domain, Fault, Op, Param, State, Wish

if TYPE_CHECKING:
    from agentkit_synthesis.tooluse.scene import Scene

__all__ = ["DOMAIN"]

POWER = ("on", "off")
NOTES = ("back at six", "the plumber comes tomorrow", "cake is in the fridge", "do not forget the bins")


def build(rng: Random) -> State:
    """Return rooms with a device each."""
    devices: dict[str, Any] = {}
    for room in several(rng, "room", 5):
        devices[draw_id(rng, "D", devices)] = {
            "room": room, "power": rng.choice(POWER), "level": digits(rng, 5, 95), "degrees": digits(rng, 15, 26),
            "locked": rng.random() < 0.5,
        }  # fmt: skip
    return {"devices": devices, "board": rng.choice(NOTES)}


def _find(state: State, room: str) -> Any:
    key, one = by_name(state["devices"], room, "room")
    return {"device": key, "power": one["power"], "level": one["level"]}


def _power(state: State, device: str, power: str) -> Any:
    one = record(state["devices"], device)
    if one["power"] == power:
        raise Fault(f"{device} is {power} already")
    one["power"] = power
    return f"{device} is {power}"


def _level(state: State, device: str, level: int) -> Any:
    one = record(state["devices"], device)
    if not 0 <= level <= 100:
        raise Fault("the level goes from 0 to 100")
    if one["power"] == "off":
        raise Fault(f"{device} is off; switch it on first")
    one["level"] = level
    return f"{device} is at {level}"


def _degrees(state: State, room: str) -> Any:
    return {"degrees": by_name(state["devices"], room, "room")[1]["degrees"]}


def _heat(state: State, room: str, degrees: int) -> Any:
    one = by_name(state["devices"], room, "room")[1]
    if not 5 <= degrees <= 30:
        raise Fault("5 to 30 degrees can be set")
    state["devices"][by_name(state["devices"], room, "room")[0]]["degrees"] = degrees
    return f"{one['room']} is set to {degrees}"


def _lock(state: State, room: str, locked: bool) -> Any:
    key, one = by_name(state["devices"], room, "room")
    state["devices"][key]["locked"] = locked
    return f"the door of {one['room']} is {'locked' if locked else 'open'}"


def _board(state: State) -> Any:
    return state["board"]


ROOM = Param(key="room", names=("room", "where", "place", "room_name"), about="name of the room")
DEVICE = Param(
    key="device", names=("device", "{lamp}_id", "id", "which"), about="identifier of the {lamp}, such as D-514"
)
OPS = (
    Op(key="find", names=("find_{lamp}", "{lamp}_in", "get_{lamp}", "lookup_{lamp}"),
       about=("The {lamp} of a room: its id, and whether it is on.", "Find a {lamp} by room."),
       params=(ROOM,), run=_find, can="look up a {lamp}"),
    Op(key="power", names=("switch_{lamp}", "set_power", "turn_{lamp}", "toggle_{lamp}"),
       about=("Switch a {lamp} on or off.", "Turn a {lamp} on or off."),
       params=(DEVICE, Param(key="power", names=("power", "state", "to"), about="state, on or off", enum=POWER)), run=_power,
       can="switch a {lamp}", writes=True),
    Op(key="level", names=("dim_{lamp}", "set_level", "set_brightness"),
       about=("Set how bright a {lamp} is, in percent.", "Dim a {lamp}."),
       params=(DEVICE, Param(key="level", names=("level", "percent", "brightness"), about="level, 0 to 100", kind="integer")),
       run=_level, can="dim a {lamp}", writes=True),
    Op(key="degrees", names=("get_{heating}", "temperature_of", "read_{heating}"),
       about=("How warm the {heating} of a room is set.", "The temperature of a room."),
       params=(ROOM,), run=_degrees, can="read a temperature", trusted=True),
    Op(key="heat", names=("set_{heating}", "heat_room", "adjust_{heating}"),
       about=("Set the {heating} of a room.", "Change how warm a room is."),
       params=(ROOM, Param(key="degrees", names=("degrees", "temperature", "celsius"), about="temperature, 5 to 30 degrees",
       kind="integer")), run=_heat, can="set the {heating}", writes=True),
    Op(key="lock", names=("lock_door", "set_lock", "door"), about=("Lock or open the door of a room.",
       "Set the lock of a room's door."),
       params=(ROOM, Param(key="locked", names=("locked", "closed", "lock"), about="whether it is to be locked", kind="boolean")),
       run=_lock, can="lock a door", writes=True),
    Op(key="board", names=("read_board", "get_notes", "message_board"),
       about=("What somebody wrote on the kitchen board.", "The note on the board."), params=(), run=_board,
       can="read the board"),
)  # fmt: skip


def warmth(rng: Random, state: State) -> Wish:
    """Return: how warm is it."""
    _, one = pick(rng, state["devices"])
    return Wish(
        op="degrees", args={"room": one["room"]}, slots={"found": one["degrees"]}, says=(str(one["degrees"]),), names="room",
        say=("how warm is the {room}", "temperature in the {room}", "what is the {heating} of the {room} set to"),
            final=("The {room} is at {found} degrees.", "{found} degrees."),
        lacks={"room": ("how warm is it", "what is the {heating} set to")},
    )  # fmt: skip


def heat(rng: Random, state: State) -> Wish:
    """Return: warm a room."""
    key, one = pick(rng, state["devices"])
    degrees = rng.choice([n for n in range(16, 26) if n != one["degrees"]])
    return Wish(
        op="heat", args={"room": one["room"], "degrees": degrees}, says=(str(degrees),), names="room",
            changes={f"/devices/{key}/degrees": degrees},
        say=("set the {room} to {degrees} degrees", "{heating} of the {room}: {degrees}",
            "make the {room} {degrees} degrees warm", "I want {degrees} degrees in the {room}"),
        final=("The {room} is set to {degrees} degrees.", "{room}: {degrees} degrees."),
        lacks={"degrees": ("make the {room} warmer", "change the {heating} of the {room}"),
            "room": ("set it to {degrees} degrees", "I want {degrees} degrees")},
    )  # fmt: skip


def switch(rng: Random, state: State) -> Wish:
    """Return: switch one."""
    key, one = pick(rng, state["devices"])
    power = "off" if one["power"] == "on" else "on"
    return Wish(
        op="power", args={"device": key, "power": power}, says=(key,), names="device", changes={f"/devices/{key}/power": power},
        say=("switch {device} {power}", "turn the {lamp} {device} {power}", "{device} {power}", "{power} with {device}"),
            final=("{device} is {power}.", "Switched {device} {power}."),
        lacks={"device": ("switch the {lamp} {power}", "turn it {power}"),
            "power": ("switch {device}", "do something about the {lamp} {device}")},
    )  # fmt: skip


def door(rng: Random, state: State) -> Wish:
    """Return: lock or open."""
    key, one = pick(rng, state["devices"])
    locked = not one["locked"]
    word, done = ("lock", "locked") if locked else ("unlock", "open")
    return Wish(
        op="lock", args={"room": one["room"], "locked": locked}, says=(done,), names="room",
            changes={f"/devices/{key}/locked": locked}, slots={"done": done},
        say=(f"{word} the {{room}}", f"please {word} the door of the {{room}}", f"the door of the {{room}}: {word} it"),
            final=("The {room} is {done}.", "The door of the {room} is {done}."),
        lacks={"room": (f"{word} the door", f"please {word} a door")},
    )  # fmt: skip


def board(rng: Random, state: State) -> Wish:
    """Return: what is on the board."""
    return Wish(
        op="board", args={}, slots={"found": state["board"]}, says=(state["board"],), note="/board",
        say=("what is on the board", "read me the board", "did anybody leave a note", "any notes on the kitchen board"),
            final=("It says: {found}.", "The board says: {found}."),
    )  # fmt: skip


def switch_in_room(scene: Scene) -> None:
    """Find the room's lamp, then switch it."""
    key, one = pick(scene.rng, scene.state["devices"])
    power = "off" if one["power"] == "on" else "on"
    scene.expect({f"/devices/{key}/power": power}, (key,))
    scene.user(
        "switch the {lamp} in the {room} {power}",
        "{lamp} {power} in the {room}",
        "turn the {lamp} of the {room} {power}",
        room=one["room"],
        power=power,
    )
    scene.call("find", room=one["room"])
    scene.call("power", device=key, power=power)
    scene.final(
        "The {lamp} in the {room} ({key}) is {power}.", "{key} is {power}.", room=one["room"], key=key, power=power
    )


def dim_what_is_off(scene: Scene) -> None:
    """Dim a lamp that is off: it fails, it is switched on, and then it works."""
    dark = {key: one for key, one in scene.state["devices"].items() if one["power"] == "off"}
    if not dark:
        scene.give_up("all are on")
    key, one = pick(scene.rng, dark)
    level = scene.rng.choice([n for n in range(10, 91, 5) if n != one["level"]])
    scene.expect({f"/devices/{key}/power": "on", f"/devices/{key}/level": level}, (key, str(level)))
    scene.user(
        "set {key} to {level} percent, switch it on if it is off",
        "dim the {lamp} {key} to {level}; turn it on where needed",
        key=key,
        level=level,
    )
    scene.call("level", device=key, level=level)
    scene.call("power", device=key, power="on")
    scene.call("level", device=key, level=level)
    scene.final("{key} is on and at {level}.", "It was off; {key} is at {level} now.", key=key, level=level)


def same_warmth(scene: Scene) -> None:
    """Set one room as warm as another."""
    (_, one), (key, other) = scene.rng.sample(list(scene.state["devices"].items()), 2)
    if one["degrees"] == other["degrees"]:
        scene.give_up("they are as warm")
    scene.expect({f"/devices/{key}/degrees": one["degrees"]}, (str(one["degrees"]),))
    scene.user(
        "make the {b} as warm as the {a}",
        "set the {b} to the temperature of the {a}",
        "the {b} should have the {heating} of the {a}",
        a=one["room"],
        b=other["room"],
    )
    scene.call("degrees", room=one["room"])
    scene.call("heat", room=other["room"], degrees=one["degrees"])
    scene.final(
        "The {b} is at {n} degrees, like the {a}.",
        "Both at {n} degrees now.",
        a=one["room"],
        b=other["room"],
        n=one["degrees"],
    )


DOMAIN = Domain(
    key="house",
    nouns={"lamp": ("lamp", "light", "bulb"), "heating": ("heating", "thermostat", "radiator")},
    build=build, ops=OPS, wishes=(warmth, heat, switch, door, board), scripts=(switch_in_room, dim_what_is_off, same_warmth),
)  # fmt: skip
