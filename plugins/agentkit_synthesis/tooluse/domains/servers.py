"""An operator's servers: what runs where, logs, restarts, versions."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

from agentkit_synthesis.tooluse.draws import digits, several
from agentkit_synthesis.tooluse.state import pick, record
from agentkit_synthesis.tooluse.values import Domain, Fault, Op, Param, State, Wish

if TYPE_CHECKING:
    from agentkit_synthesis.tooluse.scene import Scene

__all__ = ["DOMAIN"]

LINES = (
    "connection refused",
    "out of memory",
    "disk almost full",
    "certificate expires soon",
    "all good",
    "slow query",
)


def build(rng: Random) -> State:
    """Return hosts and the services on them."""
    hosts = {name: {"cpu": digits(rng, 2, 97), "disk": digits(rng, 5, 96)} for name in several(rng, "host", 4)}
    services = {
        name: {
            "host": rng.choice(list(hosts)), "status": rng.choice(("running", "stopped")),
            "version": f"{rng.randint(1, 9)}.{rng.randint(0, 30)}.{rng.randint(0, 9)}",
            "replicas": rng.randint(1, 6), "log": rng.choice(LINES),
        }
        for name in several(rng, "service", 5)
    }  # fmt: skip
    return {"hosts": hosts, "services": services}


def _status(state: State, service: str) -> Any:
    one = record(state["services"], service)
    return {name: one[name] for name in ("status", "host", "version", "replicas")}


def _on(state: State, host: str) -> Any:
    record(state["hosts"], host)
    return [name for name, one in state["services"].items() if one["host"] == host] or f"nothing runs on {host}"


def _load(state: State, host: str) -> Any:
    return dict(record(state["hosts"], host))


def _log(state: State, service: str) -> Any:
    return record(state["services"], service)["log"]


def _start(state: State, service: str) -> Any:
    one = record(state["services"], service)
    if one["status"] == "running":
        raise Fault(f"{service} is running already")
    one["status"] = "running"
    return f"{service} is running"


def _stop(state: State, service: str) -> Any:
    one = record(state["services"], service)
    if one["status"] == "stopped":
        raise Fault(f"{service} is stopped already")
    one["status"] = "stopped"
    return f"{service} is stopped"


def _scale(state: State, service: str, replicas: int) -> Any:
    one = record(state["services"], service)
    if one["status"] == "stopped":
        raise Fault(f"{service} is stopped; start it first")
    if not 1 <= replicas <= 20:
        raise Fault("1 to 20 replicas can run")
    one["replicas"] = replicas
    return f"{service} has {replicas} replicas"


def _deploy(state: State, service: str, version: str) -> Any:
    record(state["services"], service)["version"] = version
    return f"{service} is at {version}"


SERVICE = Param(key="service", names=("service", "{service}", "name", "{service}_name"), about="name of the {service}")
HOST = Param(key="host", names=("host", "{host}", "server", "machine"), about="name of the {host}")
OPS = (
    Op(key="status", names=("{service}_status", "check_{service}", "get_{service}"),
       about=("Whether a {service} runs, where, and in which version.", "The status of a {service}."),
       params=(SERVICE,), run=_status, can="check a {service}", trusted=True),
    Op(key="on", names=("{service}s_on", "list_{service}s", "whats_on_{host}"),
       about=("The {service}s on a {host}.", "List what runs on a {host}."), params=(HOST,), run=_on,
       can="list the {service}s of a {host}"),
    Op(key="load", names=("{host}_load", "get_metrics", "check_{host}"),
       about=("How busy a {host} is: processor and disk in percent.", "The load of a {host}."), params=(HOST,),
       run=_load, can="check a {host}", trusted=True),
    Op(key="log", names=("last_log", "tail_log", "read_log", "{service}_log"),
       about=("The last line of a {service}'s log.", "What a {service} logged last."), params=(SERVICE,),
       run=_log, can="read a log"),
    Op(key="start", names=("start_{service}", "boot_{service}", "up"), about=("Start a {service}.", "Bring a {service} up."),
       params=(SERVICE,), run=_start,
       can="start a {service}", writes=True),
    Op(key="stop", names=("stop_{service}", "halt_{service}", "down"), about=("Stop a {service}.", "Take a {service} down."),
       params=(SERVICE,), run=_stop,
       can="stop a {service}", writes=True),
    Op(key="scale", names=("scale_{service}", "set_replicas", "resize_{service}"),
       about=("Set how many replicas of a {service} run.", "Scale a {service}."),
       params=(SERVICE, Param(key="replicas", names=("replicas", "count", "instances"), about="how many", kind="integer")),
       run=_scale, can="scale a {service}", writes=True),
    Op(key="deploy", names=("deploy_{service}", "release", "roll_out", "upgrade_{service}"),
       about=("Deploy a version of a {service}.", "Roll a {service} out in another version."),
       params=(SERVICE, Param(key="version", names=("version", "tag", "release"), about="version, such as 2.14.0")), run=_deploy,
       can="deploy a {service}", writes=True),
)  # fmt: skip


def running(rng: Random, state: State) -> Wish:
    """Return: does it run."""
    name, one = pick(rng, state["services"])
    return Wish(
        op="status", args={"service": name}, slots={"found": one["status"]}, says=(one["status"],), names="service",
        say=("is {service_id} running", "does the {service} {service_id} run", "status of {service_id}", "is {service_id} up"),
            final=("{service_id} is {found}.", "It is {found}."),
        lacks={"service": ("is the {service} running", "check a {service} for me")},
    )  # fmt: skip


def version(rng: Random, state: State) -> Wish:
    """Return: which version."""
    name, one = pick(rng, state["services"])
    return Wish(
        op="status", args={"service": name}, slots={"found": one["version"]}, says=(one["version"],), names="service",
        say=("which version of {service_id} is out", "version of {service_id}",
            "what version does the {service} {service_id} have"), final=("{service_id} is at {found}.", "{found}."),
        lacks={"service": ("which version is out", "what version does the {service} have")},
    )  # fmt: skip


def disk(rng: Random, state: State) -> Wish:
    """Return: how full is it."""
    name, one = pick(rng, state["hosts"])
    return Wish(
        op="load", args={"host": name}, slots={"found": one["disk"]}, says=(str(one["disk"]),), names="host",
        say=("how full is the disk of {host_id}", "disk of {host_id}", "how much of the disk of the {host} {host_id} is used"),
            final=("The disk of {host_id} is {found}% full.", "{found} percent."),
        lacks={"host": ("how full is the disk", "check the disk of a {host}")},
    )  # fmt: skip


def last_line(rng: Random, state: State) -> Wish:
    """Return: what did it log."""
    name, one = pick(rng, state["services"])
    return Wish(
        op="log", args={"service": name}, slots={"found": one["log"]}, says=(one["log"],), names="service",
            note=f"/services/{name}/log",
        say=("what did {service_id} log last", "last log line of {service_id}", "show me the log of the {service} {service_id}"),
            final=("It logged: {found}.", "{service_id}: {found}."),
        lacks={"service": ("show me the log", "what did the {service} log last")},
    )  # fmt: skip


def flip(rng: Random, state: State) -> Wish:
    """Return: start what is stopped, stop what runs."""
    name, one = pick(rng, state["services"])
    op, new = ("stop", "stopped") if one["status"] == "running" else ("start", "running")
    return Wish(
        op=op, args={"service": name}, slots={"now": new}, says=(name,), names="service",
            changes={f"/services/{name}/status": new},
        say=(f"{op} {{service_id}}", f"please {op} the {{service}} {{service_id}}", f"{{service_id}} has to {op}"),
            final=("{service_id} is {now}.", "Done: {service_id} is {now}."),
        lacks={"service": (f"{op} a {{service}}", f"please {op} it")},
    )  # fmt: skip


def deploy(rng: Random, state: State) -> Wish:
    """Return: another version."""
    name, _ = pick(rng, state["services"])
    new = f"{rng.randint(10, 19)}.{rng.randint(0, 30)}.{rng.randint(0, 9)}"
    return Wish(
        op="deploy", args={"service": name, "version": new}, says=(new,), names="service",
            changes={f"/services/{name}/version": new},
        say=("deploy {version} of {service_id}", "roll {service_id} out at {version}",
            "upgrade the {service} {service_id} to {version}"), final=("{service_id} is at {version}.", "Deployed {version}."),
        lacks={"version": ("upgrade {service_id}", "deploy another version of {service_id}"),
            "service": ("deploy {version}", "roll {version} out")},
    )  # fmt: skip


def scale_stopped(scene: Scene) -> None:
    """Scale what is stopped: it fails, it is started, and then it works."""
    stopped = {name: one for name, one in scene.state["services"].items() if one["status"] == "stopped"}
    if not stopped:
        scene.give_up("all run")
    name, one = pick(scene.rng, stopped)
    count = scene.rng.choice([n for n in range(2, 15) if n != one["replicas"]])
    scene.expect({f"/services/{name}/status": "running", f"/services/{name}/replicas": count}, (name, str(count)))
    scene.user(
        "scale {name} to {count}, start it if it is down",
        "{name} should have {count} replicas; bring it up where needed",
        name=name,
        count=count,
    )
    scene.call("scale", service=name, replicas=count)
    scene.call("start", service=name)
    scene.call("scale", service=name, replicas=count)
    scene.final(
        "{name} was stopped; it runs with {count} replicas now.", "{name} has {count} replicas.", name=name, count=count
    )


def stop_all_on(scene: Scene) -> None:
    """See what is on a host; stop all of it."""
    host = pick(scene.rng, scene.state["services"])[1]["host"]
    names = [name for name, one in scene.state["services"].items() if one["host"] == host]
    if any(scene.state["services"][name]["status"] == "stopped" for name in names):
        scene.give_up("some are stopped")
    scene.expect({f"/services/{name}/status": "stopped" for name in names}, names)
    scene.user(
        "stop everything on {where}",
        "take all {service}s on {where} down",
        "{where} is serviced tonight, stop what runs there",
        where=host,
    )
    scene.call("on", host=host)
    scene.calls([("stop", {"service": name}) for name in names])
    scene.final("Stopped on {where}: {names}.", "{names} are down.", where=host, names=", ".join(names))


def host_of(scene: Scene) -> None:
    """Find where a service runs, then how busy that host is."""
    name, one = pick(scene.rng, scene.state["services"])
    cpu = scene.state["hosts"][one["host"]]["cpu"]
    scene.expect({}, (one["host"], str(cpu)))
    scene.user(
        "how busy is the {host} that {name} runs on",
        "processor load where {name} is",
        "check the {host} of {name}, how high is its cpu",
        name=name,
    )
    scene.call("status", service=name)
    scene.call("load", host=one["host"])
    scene.final(
        "{name} is on {where}, whose processor is at {cpu}%.",
        "{where} is at {cpu} percent.",
        name=name,
        where=one["host"],
        cpu=cpu,
    )


def same_version(scene: Scene) -> None:
    """Deploy one service in another's version."""
    (first, one), (second, other) = scene.rng.sample(list(scene.state["services"].items()), 2)
    if one["version"] == other["version"]:
        scene.give_up("the same already")
    scene.expect({f"/services/{second}/version": one["version"]}, (one["version"],))
    scene.user(
        "bring {b} to the version of {a}",
        "{b} should have the same version as {a}",
        "deploy {b} in the version that {a} has",
        a=first,
        b=second,
    )
    scene.call("status", service=first)
    scene.call("deploy", service=second, version=one["version"])
    scene.final("{b} is at {v}, like {a}.", "Done: {b} is at {v}.", a=first, b=second, v=one["version"])


DOMAIN = Domain(
    key="servers",
    nouns={"service": ("service", "app", "unit", "workload"), "host": ("host", "node", "box")},
    build=build, ops=OPS, wishes=(running, version, disk, last_line, flip, deploy),
        scripts=(scale_stopped, stop_all_on, host_of, same_version),
)  # fmt: skip
