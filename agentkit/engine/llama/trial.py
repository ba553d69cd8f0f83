"""The inside of a trial: load a model, give it something to see and to hear if it can, decode two tokens, say how it went.

Run as a program by `agentkit.engine.trial`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import struct
import sys
import wave
from io import BytesIO
from pathlib import Path
from typing import Any

from agentkit.errors import AgentkitError

TOKENS = 2


def main(argv: list[str]) -> int:
    """Try the file `argv[0]` as `argv[1]` says (JSON); print one line of JSON."""
    logging.basicConfig(stream=sys.stderr, level=logging.DEBUG, format="%(message)s")
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")  # if memory runs out, let it be this process
    try:
        _load(Path(argv[0]), json.loads(argv[1]))
    except AgentkitError as error:
        _say({"error": str(error), "kind": type(error).__name__})
        return 0
    except MemoryError:
        _say({"error": f"{argv[0]}: there is not enough memory to load it", "kind": "ModelError"})
        return 0
    _say({"ok": True})
    return 0


def _picture(side: int = 64) -> bytes:
    """Return a grey picture, as a BMP: the one form that needs no library."""
    size = 3 * side * side
    head = struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 54 + size, 0, 0, 54, 40, side, side, 1, 24, 0, size, 0, 0, 0, 0)
    return head + bytes([128]) * size


def _sound() -> bytes:
    """Return half a second of silence, as a WAV."""
    file = BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(16_000)
        sound.writeframes(bytes(16_000))
    return file.getvalue()


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")


def _load(path: Path, how: dict[str, Any]) -> None:
    from agentkit.engine.llama import LlamaEngine  # noqa: PLC0415  what it says on stderr is wanted
    from agentkit.messages import user_message  # noqa: PLC0415
    from agentkit.protocols import Request  # noqa: PLC0415
    from agentkit.types import AudioPart, ImagePart, Part, Task, TextPart  # noqa: PLC0415

    engine = LlamaEngine(path, cache_mb=0, **how)
    try:
        parts: list[Part] = [TextPart(text="Hello")]
        if engine.capabilities.images:
            parts.append(ImagePart(data=_picture()))
        if engine.capabilities.audio:
            parts.append(AudioPart(data=_sound()))
        for _ in engine.stream(Request(messages=[user_message(Task(parts=tuple(parts)))], max_tokens=TOKENS)):
            pass
    finally:
        engine.close()


if __name__ == "__main__":
    sys.stdout.flush()
    status = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(status)  # nothing that is left to tidy up may change the verdict
