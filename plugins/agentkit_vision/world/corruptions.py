"""Pictures as people have them: damage that happens to files, simulated, with labels that stay true.

Nothing that a label tells is taken away without the label: a picture without colour has no colour in its labels, and where a
picture is cut or put on a wider canvas, by so little that places and sizes keep their names.

    examples = write_corrupted(examples, folder, Path("as-people-have-them"), count=50, seed=0)
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from agentkit.errors import InvalidParams, JobError
from agentkit.jobs import write_atomic
from agentkit_vision.contracts import Example, Pixels
from agentkit_vision.world.words import roles

__all__ = ["DAMAGES", "damaged", "write_corrupted"]

METADATA = "metadata.jsonl"
MOST_CUT = 0.08  # of a side: less than half of the way between two places of the rendered worlds
SCREEN = 560  # side of a photograph of a screen, in pixels
ORIENTATION, TURNED_RIGHT, TURNED_HALF, TURNED_LEFT = (
    0x0112,
    6,
    3,
    8,
)  # the EXIF tag; how it is to be turned to be upright

Rng = np.random.Generator
File = tuple[bytes, str]  # what is written, and its suffix
Floats = NDArray[np.float64]


def damaged(pixels: Pixels, damage: str, rng: Rng) -> File:
    """Return a picture (H, W, 3) as the bytes of a damaged file, and its suffix.

    Raises:
        InvalidParams: there is no such damage.
    """
    if damage not in DAMAGES:
        raise InvalidParams(f"/damage: there is no '{damage}'; there are {', '.join(DAMAGES)}")
    return DAMAGES[damage](Image.fromarray(pixels), rng)


def write_corrupted(
    examples: Sequence[Example], folder: Path, out: Path, *, count: int = 50, seed: int = 0, split: str = "test"
) -> list[Example]:
    """Write damaged copies of pictures with `metadata.jsonl`; return them.

    Each kind of damage has its turn; pictures are drawn without replacement. The same arguments give the same files, with the
    same Pillow.

    Args:
        examples: what to draw from, of the data set in `folder`.
        folder: where their files are.
        out: a new or empty folder.
        count: how many to write.
        seed: what pictures and damages are drawn by.
        split: what the copies are said to be for.

    Raises:
        InvalidParams: there are fewer examples than are wanted, a picture cannot be read, or `out` holds something.
        JobError: a file cannot be written.
    """
    if not 0 < count <= len(examples):
        raise InvalidParams(f"/count: {count} of {len(examples)} pictures cannot be had; give 1 to {len(examples)}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InvalidParams(f"/out: {out} holds something already; name a new folder")
    chosen = np.random.default_rng((seed, 0)).permutation(len(examples))[:count]
    kinds, found, lines = list(DAMAGES), [], []
    for n, which in enumerate(chosen.tolist()):
        damage = kinds[n % len(kinds)]
        example = examples[which]
        data, suffix = damaged(_opened(folder / example.path), damage, np.random.default_rng((seed, 1, n)))
        name = f"{n:03}-{damage}{suffix}"
        _put(out / name, data)
        copy = Example(path=name, labels=_still_seen(example.labels, damage), split=split)
        found.append(copy)
        row = {"file_name": name, "labels": dict(copy.labels), "split": split, "damage": damage, "of": example.path}
        lines.append(json.dumps(row, ensure_ascii=False))
    _put(out / METADATA, ("\n".join(lines) + "\n").encode())
    return found


def _still_seen(labels: Mapping[str, str], damage: str) -> dict[str, str]:
    """Return the labels that a damaged picture still shows."""
    named = roles(tuple(labels))
    return {name: value for name, value in labels.items() if damage not in COLOURLESS or named[name] != "colour"}


def _jpeg_artefacts(image: Image.Image, rng: Rng) -> File:
    """Save badly, up to twice."""
    for _ in range(int(rng.integers(1, 3))):
        image = Image.open(io.BytesIO(_jpeg(image, int(rng.integers(10, 41)))))
    return _jpeg(image, int(rng.integers(10, 41))), ".jpg"


def _crop(image: Image.Image, rng: Rng) -> File:
    """Cut up to `MOST_CUT` off each axis, unevenly."""
    wide, high = image.size
    left, top = (side * rng.uniform(0.02, MOST_CUT) * rng.random() for side in (wide, high))
    right, bottom = (side * MOST_CUT * (1 - rng.random()) - cut for side, cut in ((wide, left), (high, top)))
    box = (round(left), round(top), wide - round(max(0, right)), high - round(max(0, bottom)))
    return _png(image.crop(box)), ".png"


def _noise(image: Image.Image, rng: Rng) -> File:
    """Add the noise of a sensor in the dark: Gaussian, and a few pixels that are stuck."""
    pixels = np.asarray(image, np.float64)
    pixels = pixels + rng.normal(0, rng.uniform(10, 28), pixels.shape)
    stuck = rng.random(pixels.shape[:2])
    share = rng.uniform(0, 0.01)
    pixels[stuck < share] = 255
    pixels[stuck > 1 - share] = 0
    return _png(_image(pixels)), ".png"


def _blur(image: Image.Image, rng: Rng) -> File:
    """Blur as a lens out of focus, or as a hand that moves."""
    side = max(image.size)
    if rng.random() < 0.5:
        return _png(image.filter(ImageFilter.GaussianBlur(side * rng.uniform(0.01, 0.022)))), ".png"
    steps = max(2, round(side * rng.uniform(0.03, 0.06)))
    pixels = np.asarray(image, np.float64)
    axis = int(rng.integers(2))
    padded = np.pad(pixels, [(steps, steps) if n == axis else (0, 0) for n in range(3)], mode="edge")
    size = pixels.shape[axis]
    moved = [np.take(padded, range(n + steps // 2, n + steps // 2 + size), axis=axis) for n in range(steps)]
    return _png(_image(np.mean(moved, axis=0))), ".png"


def _enlarged(image: Image.Image, rng: Rng) -> File:
    """Make it 1000 to 1600 pixels wide, smoothly or in blocks."""
    side = int(rng.integers(1000, 1601))
    how = Image.Resampling.BICUBIC if rng.random() < 0.7 else Image.Resampling.NEAREST
    return _jpeg(image.resize((side, round(side * image.height / image.width)), how), 85), ".jpg"


def _tiny(image: Image.Image, rng: Rng) -> File:
    """Make it 20 to 28 pixels wide, as a thumbnail."""
    side = int(rng.integers(20, 29))
    return _png(
        image.resize((side, max(1, round(side * image.height / image.width))), Image.Resampling.LANCZOS)
    ), ".png"


def _wide(image: Image.Image, rng: Rng) -> File:
    """Go on with the background on two sides, up to 1.9 times as wide or as high; the middle square is the old picture."""
    pixels = np.asarray(image)
    more = round(max(image.size) * rng.uniform(0.15, 0.45))
    axis = int(rng.integers(2))
    return _jpeg(Image.fromarray(_extended(pixels, more, axis)), 90), ".jpg"


def _stretched(image: Image.Image, rng: Rng) -> File:
    """Squeeze it to another aspect ratio, 1 to 1.15 up to 1 to 1.4."""
    ratio, side = rng.uniform(1.15, 1.4), int(rng.integers(90, 400))
    size = (round(side * ratio), side) if rng.random() < 0.5 else (side, round(side * ratio))
    return _jpeg(image.resize(size, Image.Resampling.BICUBIC), 88), ".jpg"


def _light(image: Image.Image, rng: Rng) -> File:
    """Change brightness, contrast and white balance, as a lamp does."""
    pixels = np.asarray(image, np.float64) / 255
    contrast, brightness = rng.uniform(0.75, 1.25), rng.uniform(-0.06, 0.06)  # black, grey and white stay apart
    balance = 1 + rng.uniform(0.04, 0.14) * (1 if rng.random() < 0.5 else -1) * np.array([1.0, 0.15, -1.0])
    return _png(_image(((pixels - 0.5) * contrast + 0.5 + brightness) * balance * 255)), ".png"


def _screen(image: Image.Image, rng: Rng) -> File:
    """Photograph a screen: its pixels and the camera's make moire, it stands askew, glares, and is darker at the edges."""
    shown = image.resize((SCREEN, SCREEN), Image.Resampling.NEAREST if rng.random() < 0.5 else Image.Resampling.BICUBIC)
    pixels = np.asarray(shown, np.float64) * _lines(rng)[:, :, None]
    warped = np.asarray(_askew(_image(pixels), rng), np.float64)
    y, x = np.mgrid[0:SCREEN, 0:SCREEN] / SCREEN - 0.5
    angle, spot = rng.uniform(0, 2 * np.pi), rng.uniform(-0.45, 0.45, 2)
    glare = 60 * np.clip(0.5 + np.cos(angle) * x + np.sin(angle) * y, 0, 1) ** 2
    glare += rng.uniform(30, 80) * np.exp(-((x - spot[0]) ** 2 + (y - spot[1]) ** 2) / 0.015)
    vignette = 1 - rng.uniform(0.5, 0.9) * (x * x + y * y)
    photo = warped * vignette[:, :, None] * rng.uniform(0.8, 1.0) + glare[:, :, None] * rng.uniform(0.4, 1.0)
    photo += rng.normal(0, 4, photo.shape)
    soft = _image(photo).filter(ImageFilter.GaussianBlur(rng.uniform(0.6, 1.4)))
    return _jpeg(soft, int(rng.integers(55, 86))), ".jpg"


def _turned(image: Image.Image, rng: Rng) -> File:
    """Save it lying on its side or on its head, with the EXIF tag that turns it upright."""
    tag, turn = [
        (TURNED_RIGHT, Image.Transpose.ROTATE_90), (TURNED_HALF, Image.Transpose.ROTATE_180), (TURNED_LEFT, Image.Transpose.ROTATE_270)
    ][int(rng.integers(3))]  # fmt: skip
    exif = Image.Exif()
    exif[ORIENTATION] = tag
    buffer = io.BytesIO()
    _larger(image, rng).transpose(turn).save(buffer, "JPEG", quality=90, exif=exif)
    return buffer.getvalue(), ".jpg"


def _grey_alpha(image: Image.Image, rng: Rng) -> File:
    """Take the colour, and add an alpha channel that is opaque, or lets a little of what is below through."""
    grey = np.asarray(image.convert("L"))
    alpha = np.full_like(grey, 255 if rng.random() < 0.5 else int(rng.integers(225, 255)))
    return _png(Image.fromarray(np.dstack([grey, alpha]), "LA")), ".png"


def _alpha(image: Image.Image, rng: Rng) -> File:
    """Add an alpha channel, opaque but for corners that are rounded, under which the colours are noise."""
    pixels = np.asarray(image)
    high, wide = pixels.shape[:2]
    y, x = np.mgrid[0:high, 0:wide]
    radius = 0.12 * min(wide, high)
    off_x = np.clip(np.maximum(radius - x, x - (wide - 1 - radius)), 0, None)
    off_y = np.clip(np.maximum(radius - y, y - (high - 1 - radius)), 0, None)
    hidden = off_x**2 + off_y**2 > radius**2
    shown = np.where(hidden[:, :, None], rng.integers(0, 256, pixels.shape), pixels).astype(np.uint8)
    return _png(Image.fromarray(np.dstack([shown, np.where(hidden, 0, 255).astype(np.uint8)]), "RGBA")), ".png"


def _palette(image: Image.Image, rng: Rng) -> File:
    """Save it as a GIF of 16 to 64 colours."""
    buffer = io.BytesIO()
    _larger(image, rng).quantize(int(rng.integers(16, 65))).save(buffer, "GIF")
    return buffer.getvalue(), ".gif"


def _ink(image: Image.Image, rng: Rng) -> File:
    """Save it in the colours of printing, as a CMYK JPEG."""
    return _jpeg(_larger(image, rng).convert("CMYK"), 85), ".jpg"


DAMAGES: Mapping[str, Callable[[Image.Image, Rng], File]] = {
    "jpeg": _jpeg_artefacts, "crop": _crop, "noise": _noise, "blur": _blur, "enlarged": _enlarged, "tiny": _tiny, "wide": _wide,
    "stretched": _stretched, "light": _light, "screen": _screen, "turned": _turned, "grey-alpha": _grey_alpha, "alpha": _alpha,
    "palette": _palette, "ink": _ink,
}  # fmt: skip
COLOURLESS = {"grey-alpha"}  # damages after which no colour is seen


def _lines(rng: Rng) -> Floats:
    """Return how bright a screen's own lines let each pixel of the photograph be: two gratings that beat, (SCREEN, SCREEN)."""
    y, x = np.mgrid[0:SCREEN, 0:SCREEN].astype(np.float64)
    pitch, tilt = rng.uniform(2.6, 4.2), rng.uniform(-0.06, 0.06)
    across = np.sin(2 * np.pi * (x + tilt * y) / pitch) * np.sin(2 * np.pi * x / (pitch * rng.uniform(1.02, 1.06)))
    down = np.sin(2 * np.pi * (y - tilt * x) / pitch)
    found: Floats = 1 + 0.12 * across + 0.07 * down
    return found


def _askew(image: Image.Image, rng: Rng) -> Image.Image:
    """Return it as seen from the side, each corner moved in by up to 6 % of the width, on a dark room."""
    side = image.width
    corners = np.array([(0, 0), (side, 0), (side, side), (0, side)], np.float64)
    inwards = np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)])
    seen = corners + inwards * rng.uniform(0.005, 0.06, (4, 2)) * side
    room = tuple(int(value) for value in rng.integers(10, 60, 3))
    return image.transform(
        image.size, Image.Transform.PERSPECTIVE, _perspective(seen, corners), Image.Resampling.BICUBIC, fillcolor=room
    )


def _perspective(seen: Floats, corners: Floats) -> list[float]:
    """Return the eight numbers a to h of the projection (ax + by + c, dx + ey + f) / (gx + hy + 1) that takes `seen` to `corners`."""
    rows, right = [], []
    for (x, y), (u, v) in zip(seen, corners, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        right += [u, v]
    found: list[float] = np.linalg.solve(np.array(rows), np.array(right)).tolist()
    return found


def _extended(pixels: Pixels, more: int, axis: int) -> Pixels:
    """Go on with the colour of the border on both sides of an axis."""
    ground = np.median(np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]), axis=0).astype(np.uint8)
    shape = list(pixels.shape)
    shape[axis] = more
    strip = np.broadcast_to(ground, shape)
    return np.concatenate([strip, pixels, strip], axis=axis)


def _larger(image: Image.Image, rng: Rng) -> Image.Image:
    side = int(rng.integers(120, 420))
    return image.resize((side, max(1, round(side * image.height / image.width))), Image.Resampling.BICUBIC)


def _image(pixels: Floats) -> Image.Image:
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))


def _jpeg(image: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _opened(path: Path) -> Pixels:
    try:
        with Image.open(path) as opened:
            return np.asarray(opened.convert("RGB"), np.uint8)
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises for broken files
        raise InvalidParams(f"/folder: {path} cannot be read ({error})") from error


def _put(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, data)
    except OSError as error:
        raise JobError(
            f"{path}: cannot be written ({error.strerror}); free some space, or choose another folder"
        ) from error
