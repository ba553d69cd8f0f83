"""What is installed: plugins, planners, prompt packs and commands, found by entry point.

Finding reads metadata only and runs nothing. Loading imports one extension; a failure there, a
`SystemExit` included, is that extension's alone and is shown by `agentkit plugins`.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, partial
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from typing import Any

from agentkit.config import ExtensionSettings, Settings, section
from agentkit.errors import AgentkitError, DuplicateExtension, ExtensionError, MissingDependency
from agentkit.protocols import Eye, Tool

GROUPS = ("agentkit.plugins", "agentkit.planners", "agentkit.heuristics", "agentkit.prompts", "agentkit.commands")
OWN = "agentkit-local"
IMPORT_S = 30.0  # for an extension to be imported, and for a plugin to give its tools
_TYPES = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})


@dataclass(frozen=True, slots=True, kw_only=True)
class EyeOffer:
    """An eye for one language model, not yet opened.

    Attributes:
        model: SHA-256 of the model's file (`Capabilities.fingerprint`), in hexadecimal.
        make: opens it; called once, when the first picture comes.
    """

    model: str
    make: Callable[[], Eye]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """What one plugin contributes: a value, no hooks."""

    name: str
    tools: Callable[[], tuple[Tool, ...]] = tuple  # called when tools are needed; may import
    eyes: Callable[[], tuple[EyeOffer, ...]] = tuple  # called when a local model is opened; must be quick
    decode: Callable[[bytes], Any] | None = None  # a picture's bytes -> its pixels, upright: uint8 (height, width, 3)
    settings: type[Any] | None = None  # a frozen dataclass: the section `plugins.<name>`
    needs: tuple[str, ...] = ()  # importable modules without which it cannot work
    extra: str = ""  # the extra of agentkit-local that brings them
    description: str = ""

    def require(self) -> None:
        """Raise `MissingDependency` with the install line if a needed library is absent."""
        missing = [name for name in self.needs if find_spec(name) is None]
        if missing:
            raise MissingDependency(
                f"plugin '{self.name}' needs {', '.join(missing)}: pip install 'agentkit-local[{self.extra}]'"
            )


@dataclass(frozen=True, slots=True)
class Extension:
    """One entry point, not yet imported."""

    name: str
    group: str
    dist: str
    version: str
    entry: EntryPoint = field(repr=False, compare=False)

    def load(self, seconds: float = IMPORT_S) -> Any:
        """Import it; raise `ExtensionError` that says whose fault it is.

        Args:
            seconds: after which it is left behind; what it prints goes to stderr meanwhile.
        """
        return in_time(
            self.entry.load, seconds, f"{self.group} '{self.name}' from {self.dist} {self.version} failed to load"
        )


def in_time(work: Callable[[], Any], seconds: float, what: str) -> Any:
    """Return what a stranger's code gives; raise `ExtensionError` that begins with `what` if it fails or takes too long.

    Nothing it does gets out: a thread of its own takes what it raises, and stdout, which belongs to the answer, is stderr
    for it. A thread that hangs is left behind, and ends with the program.
    """
    box: list[Any] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            box.append(work())
        except BaseException as error:  # noqa: BLE001  also SystemExit, and Ctrl-C of its own making
            failed.append(error)

    thread = threading.Thread(target=run, name="agentkit-extension", daemon=True)
    with contextlib.redirect_stdout(sys.stderr):
        thread.start()
        thread.join(seconds)
    if thread.is_alive():
        raise ExtensionError(f"{what}: it was not done within {seconds:g} s, and was left behind")
    if failed:
        raise ExtensionError(f"{what}: {type(failed[0]).__name__}: {failed[0]}") from failed[0]
    return box[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """An extension that could not be loaded, and why."""

    extension: Extension
    error: ExtensionError | MissingDependency


def installed(group: str) -> dict[str, Extension]:
    """Return what is installed under `group`, by name, in name order; names that two offer are left out."""
    return {name: several[0] for name, several in _offered(group).items() if len(several) == 1}


def contested(group: str) -> list[Broken]:
    """Return the extensions of `group` whose name another distribution offers as well; none of them is used."""
    return [
        Broken(extension=extension, error=_duplicate(group, several))
        for several in _offered(group).values()
        if len(several) > 1
        for extension in several
    ]


def _offered(group: str) -> dict[str, list[Extension]]:
    """Return who offers what, by name, one extension a distribution."""
    found: dict[str, dict[str, Extension]] = {}
    for entry in sorted(entry_points(group=group), key=lambda entry: entry.name):
        dist = entry.dist
        name, version = (dist.name, dist.version) if dist is not None else ("unknown", "")
        found.setdefault(entry.name, {})[name] = Extension(entry.name, group, name, version, entry)
    return {name: sorted(by_dist.values(), key=lambda one: one.dist) for name, by_dist in found.items()}


def _duplicate(group: str, several: Sequence[Extension]) -> DuplicateExtension:
    who = " and ".join(extension.dist for extension in several)
    return DuplicateExtension(f"{group} '{several[0].name}': both {who} offer it; uninstall one")


def load_plugins(settings: ExtensionSettings) -> tuple[dict[str, Plugin], list[Broken]]:
    """Return the plugins that load, and those that do not with the reason."""
    plugins: dict[str, Plugin] = {}
    broken: list[Broken] = []
    if not settings.enabled:
        return plugins, broken
    broken += [item for item in contested("agentkit.plugins") if _wanted(item.extension.name, settings)]
    for name, extension in installed("agentkit.plugins").items():
        if not _wanted(name, settings):
            continue
        try:
            plugin = extension.load(settings.import_s)
            if not isinstance(plugin, Plugin):
                raise ExtensionError(
                    f"agentkit.plugins '{name}' from {extension.dist} is a {type(plugin).__name__}, "
                    "not an agentkit.Plugin"
                )
            plugins[name] = plugin
        except ExtensionError as error:
            broken.append(Broken(extension=extension, error=error))
    return plugins, broken


def _wanted(name: str, settings: ExtensionSettings) -> bool:
    return name not in settings.disabled and (settings.only is None or name in settings.only)


def load_tools(settings: Settings) -> tuple[list[Tool], list[Broken]]:
    """Return the tools of all plugins that load, and the plugins that cannot give theirs with the reason.

    Each tool has its plugin's section of the settings. A plugin one of whose tools has a name that is taken
    gives none.

    Raises:
        ConfigError: a plugin's section has an unknown key, or a value that does not fit.
    """
    plugins, broken = load_plugins(settings.extensions)
    tools: dict[str, Tool] = {}
    found = installed("agentkit.plugins")
    for name in sorted(plugins, key=lambda name: found[name].dist != OWN):  # nobody takes a name from agentkit's own
        plugin, extension = plugins[name], found[name]
        known = section_of(name, plugin, settings)
        what = f"plugin '{name}' from {extension.dist} cannot give its tools"
        try:
            given = in_time(partial(_tools_of, plugin), settings.extensions.import_s, what)
            offered = {tool.name: replace(tool, settings=known) for tool in _sound(given, what)}
        except ExtensionError as error:
            broken.append(Broken(extension=extension, error=error))
            continue
        taken = sorted(tools.keys() & offered.keys())
        if taken:
            text = f"plugin '{name}' from {extension.dist}: another plugin has a tool '{taken[0]}' already; disable one"
            broken.append(Broken(extension=extension, error=ExtensionError(text)))
            continue
        tools |= offered
    return list(tools.values()), broken


class Offers:
    """What the plugins that `settings` allow have for models that see; they are loaded when first asked."""

    def __init__(self, settings: ExtensionSettings) -> None:
        """Load nothing yet."""
        self._settings = settings

    @cached_property
    def _plugins(self) -> list[tuple[str, Plugin]]:
        """Who they are, and what they contribute; agentkit's own first."""
        plugins, _ = load_plugins(self._settings)
        found = installed("agentkit.plugins")
        names = sorted(plugins, key=lambda name: found[name].dist != OWN)
        return [(f"plugin '{name}' from {found[name].dist}", plugins[name]) for name in names]

    def eye(self, model: str) -> Callable[[], Eye] | None:
        """Return what opens an eye for the model of that fingerprint; None where no plugin offers one.

        A plugin that fails here offers none, and a line of the log says so. Opening the eye raises `ExtensionError` that
        says whose fault it is.
        """
        for who, plugin in self._plugins:
            what = f"{who} cannot say which eyes it has"
            try:
                offers = in_time(partial(_eyes_of, plugin), self._settings.import_s, what)
            except ExtensionError as error:
                logging.getLogger(__name__).warning("%s; going on without it", error)
                continue
            for offer in offers:
                if isinstance(offer, EyeOffer) and offer.model == model:
                    return partial(_opened_eye, offer, self._settings.import_s, f"{who} cannot open its eye")
        return None

    @property
    def decodes(self) -> bool:
        """Whether a plugin decodes pictures."""
        return any(plugin.decode is not None for _, plugin in self._plugins)

    def pixels(self, image: bytes) -> Any | None:
        """Return a picture's pixels, uint8 (height, width, 3), by the first plugin that can; None where none can.

        Raises:
            AgentkitError: of the plugin's own: it is no picture, or one that cannot be shown.
            ExtensionError: the plugin failed.
        """
        for who, plugin in self._plugins:
            if plugin.decode is None:
                continue
            try:
                return plugin.decode(image)
            except MissingDependency:  # what it needs is not installed: as if it were not, either
                continue
            except AgentkitError:
                raise
            except Exception as error:
                raise ExtensionError(f"{who} cannot decode a picture: {type(error).__name__}: {error}") from error
        return None


def _eyes_of(plugin: Plugin) -> list[Any]:
    return list(plugin.eyes())


def _opened_eye(offer: EyeOffer, seconds: float, what: str) -> Eye:
    eye = in_time(offer.make, seconds, what)
    if not isinstance(eye, Eye):
        raise ExtensionError(f"{what}: {type(eye).__name__} is no Eye; it must have fingerprint, reads_words and see")
    return eye


def _tools_of(plugin: Plugin) -> list[Any]:
    return list(plugin.tools())


def _sound(given: Sequence[Any], what: str) -> Sequence[Tool]:
    """Return the tools, whose schemas can at least be told from nonsense; raise `ExtensionError` otherwise."""
    names: set[str] = set()
    for tool in given:
        if not isinstance(tool, Tool):
            raise ExtensionError(f"{what}: {type(tool).__name__} is no Tool; declare it with @agentkit.tool")
        schema: Any = tool.spec.parameters
        fields = (
            schema.get("properties", {}) if isinstance(schema, Mapping) and schema.get("type") == "object" else None
        )
        if not isinstance(fields, Mapping) or not all(isinstance(f, Mapping) and _typed(f) for f in fields.values()):
            raise ExtensionError(f"{what}: the parameters of '{tool.name}' are no JSON Schema of an object")
        if tool.name in names:
            raise ExtensionError(f"{what}: two of them are called '{tool.name}'")
        names.add(tool.name)
    return given


def _typed(schema: Mapping[str, Any]) -> bool:
    kinds = schema.get("type", "string")
    return all(isinstance(kind, str) and kind in _TYPES for kind in (kinds if isinstance(kinds, list) else [kinds]))


def section_of(name: str, plugin: Plugin, settings: Settings) -> dict[str, Any]:
    """Return the plugin's section; a field called as one of policy's lists has its default from there."""
    policy = {"commands": settings.policy.commands, "allow_hosts": settings.policy.allow_hosts}
    kind = plugin.settings or _NoSettings
    shared = {item.name: policy[item.name] for item in fields(kind) if item.name in policy}
    return section(kind, {**shared, **settings.plugins.get(name, {})}, name)


@dataclass(frozen=True, slots=True)
class _NoSettings:
    """The section of a plugin that declares none."""


def load_planner(name: str) -> Any:
    """Return the planner of that name.

    Raises:
        ExtensionError: there is none, or it does not load.
    """
    planners = installed("agentkit.planners")
    rivals = [item.error for item in contested("agentkit.planners") if item.extension.name == name]
    if rivals:
        raise rivals[0]
    if name not in planners:
        raise ExtensionError(f"planner '{name}' is not installed; there are: {', '.join(planners) or 'none'}")
    planner = planners[name].load()
    return planner() if isinstance(planner, type) else planner


def load_heuristics() -> dict[str, Any]:
    """Return the installed heuristics by name: each says of a run's `Progress` how likely it is to reach its goal.

    Raises:
        ExtensionError: one does not load.
    """
    return {name: extension.load() for name, extension in installed("agentkit.heuristics").items()}
