"""Every exception agentkit raises on purpose, in one tree.

Each message says what is wrong, which thing it is, and what to do about it; each class carries the exit
code a script would see (`docs/exit-codes.md`). Expected outcomes are not here: a tool that failed is a
`Failed` value, a guard's verdict is a value, and a run that ends early has a `StopReason`.

    AgentkitError                       70
    ├── UsageError                       2   the call or the command line is off
    ├── ConfigError                      3   a settings file, variable or flag
    ├── ExtensionError                   3   a plugin, planner, prompt pack or command
    │   └── DuplicateExtension           3   two distributions offer one name
    ├── PromptError                      3   a prompt file is missing or does not render
    ├── ModelError                       3   a model cannot be had or loaded
    │   ├── ModelNotFound                3   no such name, path or repository
    │   ├── ModelFileError               3   the file is not a usable GGUF
    │   └── OfflineModelUnavailable      3   it would have to be downloaded, and we are offline
    ├── EngineError                      4   the model or its server failed while working
    │   ├── ProviderError                4   a remote server said no, or something unreadable
    │   ├── CannotEnforce                4   a constraint was asked for that nobody can hold
    │   ├── UnsupportedPart              4   an image, file or sound the model cannot take
    │   ├── ContextFull                  7   the prompt does not fit, and was not cut
    │   ├── DeadlineExceeded           124   time ran out inside the token loop
    │   └── Cancelled                  130   somebody asked it to stop
    ├── PlanningError                    4   a planner was offered nothing that could be done
    ├── ToolError                       70   a tool is declared wrongly
    ├── PolicyError                      5   policy rules cannot be read, or say no
    ├── StoreError                       3   the database cannot be opened or written
    └── JobError                         1   a long action failed
        ├── MissingDependency            3   an extra is not installed
        ├── InvalidParams                2   a parameter is out of range
        └── BudgetExceeded             124   it would cost, or has cost, more than allowed
"""

from __future__ import annotations


class AgentkitError(Exception):
    """Root of all errors that agentkit raises on purpose."""

    exit_code: int = 70


class UsageError(AgentkitError):
    """The call or the command line is off."""

    exit_code = 2


class ConfigError(AgentkitError):
    """A settings file, an environment variable or a flag cannot be used."""

    exit_code = 3


class ExtensionError(AgentkitError):
    """A plugin, planner, prompt pack or command cannot be loaded; says whose it is."""

    exit_code = 3


class DuplicateExtension(ExtensionError):
    """Two distributions offer the same name in one group."""


class PromptError(AgentkitError):
    """A prompt file is missing, malformed, or does not render."""

    exit_code = 3


class ModelError(AgentkitError):
    """A model cannot be had or loaded."""

    exit_code = 3


class ModelNotFound(ModelError):
    """No model goes by that name, path or repository."""


class ModelFileError(ModelError):
    """The file is not a GGUF that can be loaded; says what it is instead."""


class OfflineModelUnavailable(ModelError):
    """The model would have to be downloaded, and downloading is switched off or impossible."""


class EngineError(AgentkitError):
    """The model, or the server it runs on, failed while working."""

    exit_code = 4


class ProviderError(EngineError):
    """A remote server refused, broke off, or answered something unreadable."""


class CannotEnforce(EngineError):
    """A constraint was asked for that this engine can neither hold nor check."""


class UnsupportedPart(EngineError):
    """The task holds a part (image, file, sound) that the model cannot take."""


class ContextFull(EngineError):
    """The prompt does not fit into the context; nothing was cut in silence."""

    exit_code = 7


class DeadlineExceeded(EngineError):
    """The deadline passed inside the token loop."""

    exit_code = 124


class Cancelled(EngineError):
    """The caller asked for the work to stop."""

    exit_code = 130


class PlanningError(AgentkitError):
    """A planner was offered nothing that could be done."""

    exit_code = 4


class ToolError(AgentkitError):
    """A tool is declared in a way that cannot work. (A tool that fails returns `Failed`.)"""


class PolicyError(AgentkitError):
    """Policy rules cannot be read, or an action outside a run was refused by them."""

    exit_code = 5


class StoreError(AgentkitError):
    """The database cannot be opened, read or written."""

    exit_code = 3


class JobError(AgentkitError):
    """A long action failed."""

    exit_code = 1


class MissingDependency(JobError):
    """A library of an extra is not installed; the message holds the `pip install` line."""

    exit_code = 3


class InvalidParams(JobError):
    """A parameter of an action is missing or out of range; names it by JSON pointer."""

    exit_code = 2


class BudgetExceeded(JobError):
    """An action would cost, or has cost, more than it was allowed."""

    exit_code = 124
