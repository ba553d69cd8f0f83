"""What is installed: plugins, planners, prompt packs and commands, found by entry point.

Finding reads metadata only and runs nothing. Loading imports one extension; a failure there, a
`SystemExit` included, is that extension's alone and is shown by `agentkit plugins`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from typing import Any

from agentkit.config import ExtensionSettings, Settings, section
from agentkit.errors import DuplicateExtension, ExtensionError, MissingDependency
from agentkit.protocols import Tool

GROUPS = ("agentkit.plugins", "agentkit.planners", "agentkit.prompts", "agentkit.commands")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """What one plugin contributes: a value, no hooks."""

    name: str
    tools: Callable[[], tuple[Tool, ...]] = tuple  # called when tools are needed; may import
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

    def load(self) -> Any:
        """Import it; raise `ExtensionError` that says whose fault it is."""
        try:
            return self.entry.load()
        except (Exception, SystemExit) as error:
            raise ExtensionError(
                f"{self.group} '{self.name}' from {self.dist} {self.version} failed to load: "
                f"{type(error).__name__}: {error}"
            ) from error


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
            plugin = extension.load()
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
    for name, plugin in plugins.items():
        extension = installed("agentkit.plugins")[name]
        known = section_of(name, plugin, settings)
        try:
            offered = {tool.name: replace(tool, settings=known) for tool in plugin.tools()}
        except (Exception, SystemExit) as error:  # noqa: BLE001  a stranger's code
            text = f"plugin '{name}' from {extension.dist} cannot give its tools: {type(error).__name__}: {error}"
            broken.append(Broken(extension=extension, error=ExtensionError(text)))
            continue
        taken = sorted(tools.keys() & offered.keys())
        if taken:
            text = f"plugin '{name}' from {extension.dist}: another plugin has a tool '{taken[0]}' already; disable one"
            broken.append(Broken(extension=extension, error=ExtensionError(text)))
            continue
        tools |= offered
    return list(tools.values()), broken


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
