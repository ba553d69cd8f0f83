"""Tab: slash commands and their words at the start of a line, file names after an @ anywhere."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

MAX_FILES = 60
_MENTION = re.compile(r"(?:^|\s)@(\S*)$")


class Words(Completer):
    """Completes what can be completed in the chat.

    Args:
        commands: the slash commands with what each is for.
        arguments: slash command -> the words that may follow it, asked for when needed.
        root: where file names start from.
    """

    def __init__(
        self, commands: Mapping[str, str], arguments: Mapping[str, Callable[[], Sequence[str]]], root: Path
    ) -> None:
        self._commands, self._arguments, self._root = commands, arguments, root

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """Yield what could stand at the cursor."""
        text = document.text_before_cursor
        if text.startswith("/"):
            yield from self._slash(text)
        elif match := _MENTION.search(text):
            yield from self._files(match[1])

    def _slash(self, text: str) -> Iterable[Completion]:
        name, space, rest = text.partition(" ")
        if not space:
            for command, what in self._commands.items():
                if command.startswith(name):
                    yield Completion(command, start_position=-len(name), display_meta=what)
            return
        for word in self._arguments.get(name, lambda: ())():
            if word.startswith(rest):
                yield Completion(word, start_position=-len(rest))

    def _files(self, typed: str) -> Iterable[Completion]:
        folder_text, _, start = typed.rpartition("/")
        folder = self._root / folder_text if folder_text or not typed.startswith("/") else Path("/")
        try:
            entries = sorted(folder.iterdir())
        except OSError:  # no such folder, or not ours to read: nothing to offer
            return
        hits = [path for path in entries if path.name.startswith(start) and (start or not path.name.startswith("."))]
        for path in hits[:MAX_FILES]:
            name = path.name + ("/" if path.is_dir() else "")
            yield Completion(name, start_position=-len(start), display_meta="folder" if path.is_dir() else "")


def without_marks(text: str, root: Path) -> str:
    """Return `text` with the @ taken off names of files that are there."""
    return re.sub(
        r"(^|\s)@(\S+)", lambda m: m[1] + (m[2] if (root / m[2].rstrip(".,;:!?")).exists() else f"@{m[2]}"), text
    )
