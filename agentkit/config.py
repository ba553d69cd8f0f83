"""Settings: one closed, frozen value, and where each part of it came from.

Defaults < user file < project file < environment < flags. An unknown key is an error that names the
nearest known one. "Off" is `None`, never -1. Nothing else in agentkit reads the environment for settings.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

from agentkit.errors import ConfigError
from agentkit.settings_file import entries, find_project_file
from agentkit.types import CONFINED, LOOKAHEAD, Confinement, PlannerSettings

ENV_PREFIX = "AGENTKIT_"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """Which model, and how it is loaded."""

    model: str = "sprout"  # sprout, a path, hf:owner/repo[:quant | /file.gguf], http(s)://server/v1, scripted:FILE
    context: int | None = None  # tokens; None: what the model was trained for, at most 8192
    threads: int | None = None  # None: the physical cores
    gpu_layers: Literal["auto", "none", "all"] = "auto"
    dialect: str | None = None  # None: read from the GGUF
    live: int = 16  # conversations and branches decoded side by side, 1 to 128
    thinking: int = 0  # tokens that a model may think before each step, if its chat template knows how
    cache_mb: int = 256  # RAM for what was read and no longer fits into the context; 0: read it again
    cache_dir: str | None = None  # a folder for what does not fit there either; kept between processes
    adapters: tuple[str, ...] = ()  # LoRA files, each NAME=FILE
    mmproj: str | None = (
        None  # the file that a model sees or hears with, or its hf: name; None: the one beside the model
    )
    temperature: float = 0.0
    seed: int = 0
    offline: bool = False  # never download
    trial: bool = True  # load a file that was not seen before in a child process first; sprout is known
    remote_model: str = ""  # the model's name on a remote server
    timeout_s: float = 120.0  # of one request to a remote server


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """How far a run may go before it must answer with what it has."""

    max_turns: int | None = 24  # model calls
    max_tool_calls: int | None = 48
    max_effects: int | None = None  # calls of tools that change something
    max_tokens: int | None = 100_000  # prompt and reply tokens of all model calls
    timeout_s: float | None = 600.0
    planner: str = "direct"
    poll_s: tuple[float, ...] = (1.0, 2.0, 5.0, 10.0, 30.0)  # between the calls of a tool that polls; the last goes on
    max_recoveries: int | None = 20  # times a run is taken up whose process was killed
    result_chars: int = 4_000  # of one tool result shown to the model; the rest goes to a file


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRule:
    """One `[[policy.rules]]` table: which calls it is about, and what becomes of them."""

    decision: Literal["allow", "ask", "deny"]
    tool: str = "*"  # a name; * stands for anything
    arguments: Mapping[str, str] = field(default_factory=dict)  # argument -> pattern; all of them must fit
    effect: tuple[Literal["pure", "read", "write", "irreversible"], ...] = ()  # none: any
    interactive: bool | None = None  # only where somebody can be asked, only where nobody can; None: both
    priority: int = 0  # the highest that fits decides; among equals deny goes before ask, and ask before allow
    why: str = ""  # shown with the decision


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySettings:
    """Who decides about tool calls."""

    mode: Literal["manual", "auto", "yolo"] = "auto"
    on_approval: Literal["deny", "queue"] = "deny"  # without a terminal
    allow_tools: tuple[str, ...] = ()
    deny_tools: tuple[str, ...] = ()
    allow_hosts: tuple[str, ...] = ()  # private or loopback hosts that fetch_url may reach
    commands: tuple[str, ...] = (
        "ls", "cat", "head", "tail", "wc", "grep", "find", "echo", "date", "df", "du", "uname",
        "whoami", "pwd", "sort", "uniq", "free", "uptime", "ps", "hostname", "id", "stat", "file",
    )  # fmt: skip
    rules: tuple[PolicyRule, ...] = ()
    approval_expiry_s: float | None = 86_400.0
    trusted_projects: tuple[str, ...] = ()  # folders whose agentkit.toml may allow things, and not only forbid them


@dataclass(frozen=True, slots=True, kw_only=True)
class DelegateSettings:
    """Whether a model may hand parts of its task to sub-runs, and to how many."""

    enabled: bool = False  # adds the tool `delegate` to those of the plugins
    max_depth: int = 1  # sub-runs of sub-runs: 1 means that a sub-run has none of its own
    max_children: int = 4  # sub-runs of one run
    max_runs: int = 8  # sub-runs of a run, and of theirs, in all


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """Where runs, threads and the ledger are kept."""

    url: str | None = None  # None: agentkit.db in the data folder; or a path, or postgresql://
    keep_days: float | None = None  # finished runs that are older are deleted on opening; None: all are kept


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtensionSettings:
    """Which installed extensions are loaded."""

    enabled: bool = True
    only: tuple[str, ...] | None = None  # names; None: all
    disabled: tuple[str, ...] = ()
    import_s: float = 30.0  # seconds for one to be imported, and to give its tools


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set. Plugins' sections stand under `plugins.<name>`."""

    engine: EngineSettings = EngineSettings()
    run: RunSettings = RunSettings()
    planner: PlannerSettings = LOOKAHEAD
    policy: PolicySettings = PolicySettings()
    delegate: DelegateSettings = DelegateSettings()
    tools: Confinement = CONFINED
    store: StoreSettings = StoreSettings()
    extensions: ExtensionSettings = ExtensionSettings()
    plugins: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """Settings with the origin of every value that is not a default."""

    settings: Settings
    origins: Mapping[str, str]  # "engine.model" -> "flag --model", "env AGENTKIT_MODEL", a file


# Short names for what people set most.
ALIASES = {
    "MODEL": "engine.model",
    "CTX": "engine.context",
    "OFFLINE": "engine.offline",
    "MODE": "policy.mode",
    "MAX_TURNS": "run.max_turns",
    "TIMEOUT": "run.timeout_s",
}
# What other programs call the same thing; used in hints only.
_ALSO_CALLED = {
    "ctx": "engine.context",
    "window": "engine.context",
    "ngl": "engine.gpu_layers",
    "gpu": "engine.gpu_layers",
    "temp": "engine.temperature",
    "turns": "run.max_turns",
    "database": "store.url",
    "db": "store.url",
}
_NOT_SETTINGS = {"HOME", "LOG_LEVEL", "FAILPOINT"}


def home(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return `AGENTKIT_HOME`, under which everything is kept when it is set."""
    value = environ.get(f"{ENV_PREFIX}HOME")
    return Path(value).expanduser() if value else None


def config_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of the user's `config.toml`."""
    import platformdirs  # noqa: PLC0415  reached only where a path is needed

    return home(environ) or Path(platformdirs.user_config_dir("agentkit"))


def data_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of the database and of files that runs produce."""
    import platformdirs  # noqa: PLC0415  reached only where a path is needed

    return home(environ) or Path(platformdirs.user_data_dir("agentkit"))


def cache_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of what can be made again."""
    import platformdirs  # noqa: PLC0415  reached only where a path is needed

    own = home(environ)
    return own / "cache" if own else Path(platformdirs.user_cache_dir("agentkit"))


def load(
    *,
    flags: Mapping[str, Any] | None = None,
    cwd: Path | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Loaded:
    """Read all sources and return the settings in force.

    Args:
        flags: dotted key -> value, from the command line; `None` values are not set.
        cwd: where the project file is looked for, from there upwards.
        environ: the environment.

    Raises:
        ConfigError: a file cannot be read, a key is unknown, or a value does not fit.
    """
    settings, origins = Settings(), {}
    project = find_project_file(cwd or Path.cwd())
    for origin, where, key, value in _sources(flags or {}, project, environ):
        changed = _set(settings, key, value, where)
        if project is not None and origin == str(project):
            trusted = _trusted(project.parent, flags or {}, environ)
            changed = changed if trusted else _only_stricter(settings, changed, key, where)
        settings, origins[key] = changed, origin
    return Loaded(settings=settings, origins=origins)


def known_keys() -> list[str]:
    """Return every dotted key, in order."""
    return list(_leaves(Settings()))


def values(settings: Settings) -> dict[str, Any]:
    """Return every dotted key with its value; plugins' sections are flattened under `plugins.`."""
    found = {key: _get(settings, key) for key in _leaves(settings)}
    for name, section in settings.plugins.items():
        found |= {f"plugins.{name}.{key}": value for key, value in section.items()}
    return found


def section(kind: type[Any], given: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a plugin's section, `plugins.<name>`, with its defaults filled in.

    Args:
        kind: the frozen dataclass that the plugin declares.
        given: what was set.
        name: the plugin's.

    Raises:
        ConfigError: a key is unknown, or a value does not fit.
    """
    made = _table(kind, given, f"plugins.{name}", "the settings")
    return {item.name: getattr(made, item.name) for item in fields(kind)}


def _sources(
    flags: Mapping[str, Any], project: Path | None, environ: Mapping[str, str]
) -> Iterator[tuple[str, str, str, Any]]:
    """Yield every value that is set: its origin, where exactly it stands, key and value; what counts most comes last."""
    for path in (config_dir(environ) / "config.toml", project):
        if path is not None and path.is_file():
            for key, value, where in entries(path):
                yield str(path), where, key, value
    for name, text in sorted(environ.items()):
        rest = name.removeprefix(ENV_PREFIX)
        if name != rest and rest not in _NOT_SETTINGS:
            key = ALIASES.get(rest, rest.lower().replace("__", "."))
            yield f"env {name}", f"env {name}", key, text
    for key, value in flags.items():
        if value is not None:
            yield "flag", "flag", key, value


def _trusted(folder: Path, flags: Mapping[str, Any], environ: Mapping[str, str]) -> bool:
    """Whether the user said, anywhere but in the project, that its file may allow things."""
    key = "policy.trusted_projects"
    said: Any = ()
    for _, where, name, value in _sources(flags, None, environ):
        if name == key:
            said = _convert(value, tuple[str, ...], key, where)
    return folder.resolve() in {Path(entry).expanduser().resolve() for entry in said}


def _only_stricter(before: Settings, after: Settings, key: str, where: str) -> Settings:
    """Return what a project's file makes of the settings, which may be a stranger's: it adds to what is forbidden.

    Raises:
        ConfigError: it allows something, or sends what is said to another machine.
    """
    name = key.rpartition(".")[2]
    was, wanted = before.policy, after.policy
    if key == "policy.deny_tools":
        return replace(after, policy=replace(wanted, deny_tools=(*was.deny_tools, *wanted.deny_tools)))
    if key == "policy.rules" and all(rule.decision != "allow" for rule in wanted.rules):
        return replace(after, policy=replace(wanted, rules=(*was.rules, *wanted.rules)))
    if key == "policy.mode" and wanted.mode == "manual":
        return after
    lists = {"allow_tools", "allow_hosts", "commands", "trusted_projects", "rules", "mode"}
    section = key.partition(".")[0]
    abroad = key in {"engine.model", "store.url"} and "://" in str(_get(after, key))
    if abroad or (section in {"policy", "plugins"} and name in lists):
        raise ConfigError(
            f"{key} in {where}: a project's file may be a stranger's, so it can forbid but not allow; set it in "
            f"{config_dir() / 'config.toml'}, or trust the folder there (policy.trusted_projects)"
        )
    return after


def _leaves(section: Any, prefix: str = "") -> Iterator[str]:
    for item in fields(section):
        value = getattr(section, item.name)
        if is_dataclass(value):
            yield from _leaves(value, f"{prefix}{item.name}.")
        elif item.name != "plugins":
            yield f"{prefix}{item.name}"


def _get(settings: Any, key: str) -> Any:
    for name in key.split("."):
        settings = getattr(settings, name)
    return settings


def _set(settings: Settings, key: str, value: Any, origin: str) -> Settings:
    head, _, rest = key.partition(".")
    if head == "plugins" and "." in rest:
        name, _, option = rest.partition(".")
        section = {**settings.plugins.get(name, {}), option: value}
        return replace(settings, plugins={**settings.plugins, name: section})
    if key not in known_keys():
        near = _nearest(key)
        hint = f"; did you mean '{near}'?" if near else "; `agentkit config show` lists the known keys"
        raise ConfigError(f"{key}: unknown key in {origin}{hint}")
    section = getattr(settings, head)
    hints = get_type_hints(type(section))
    return replace(settings, **{head: replace(section, **{rest: _convert(value, hints[rest], key, origin)})})


def _nearest(key: str) -> str | None:
    """Return the known key that was probably meant: in the same section first, then by its name anywhere."""
    head, _, leaf = key.rpartition(".")
    words = _ALSO_CALLED | {short.lower(): whole for short, whole in ALIASES.items()}
    for name in (leaf, *leaf.split("_")):
        if name in words and words[name].startswith(head):
            return words[name]
    known = known_keys()
    within = {whole.rsplit(".", 1)[-1]: whole for whole in known if head and whole.startswith(f"{head}.")}
    anywhere = {whole.rsplit(".", 1)[-1]: whole for whole in known}
    for names, cutoff in ((within, 0.5), (anywhere, 0.6)):
        near = difflib.get_close_matches(leaf, names, 1, cutoff)
        if near:
            return names[near[0]]
    return next(iter(difflib.get_close_matches(key, known, 1, 0.5)), None)


def _convert(value: Any, wanted: Any, key: str, origin: str) -> Any:
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415  0.2 s; only where a value is set

    if (
        isinstance(value, str)
        and value.strip().lower() in {"none", "off", ""}
        and type(None) in getattr(wanted, "__args__", ())
    ):
        return None
    kind = next((kind for kind in get_args(wanted) if isinstance(kind, type) and is_dataclass(kind)), None)
    if kind is not None:
        return tuple(_table(kind, given, f"{key}[{n}]", origin) for n, given in enumerate(_tables(value, key, origin)))
    if isinstance(value, str) and "tuple" in str(wanted):
        value = [item.strip() for item in value.split(",") if item.strip()]
    try:
        return TypeAdapter(wanted).validate_python(value)
    except ValidationError as error:
        problem = error.errors()[0]["msg"]
        raise ConfigError(f"{key}: {value!r} from {origin} does not fit ({problem[0].lower()}{problem[1:]})") from error


def _tables(value: Any, key: str, origin: str) -> list[Mapping[str, Any]]:
    """Return a list of tables, from the environment as TOML writes one in a line."""
    if isinstance(value, str):
        try:
            value = tomllib.loads(f"tables = {value}")["tables"]
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f'{key} from {origin}: not TOML ({error}); such as [{{tool = "x", ...}}]') from error
    value = list(value) if isinstance(value, tuple) else value
    if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
        raise ConfigError(f"{key} from {origin}: must be tables; head each with [[{key}]]")
    return value


def _table(kind: type[Any], given: Mapping[str, Any], key: str, origin: str) -> Any:
    """Return `given` as a `kind`, a frozen dataclass."""
    hints = get_type_hints(kind)
    values = {}
    for name, value in given.items():
        whole = f"{key}.{name}"
        if name not in hints:
            near = difflib.get_close_matches(name, hints, 1, 0.5)
            hint = f"did you mean '{key}.{near[0]}'?" if near else f"there are: {', '.join(hints) or 'none'}"
            raise ConfigError(f"{whole}: unknown key in {origin}; {hint}")
        values[name] = _convert(value, hints[name], whole, origin)
    missing = [one.name for one in fields(kind) if one.default is MISSING and one.default_factory is MISSING]
    if absent := [name for name in missing if name not in values]:
        raise ConfigError(f"{key} in {origin}: '{absent[0]}' is missing; add it")
    return kind(**values)
