"""Finding images by words, by a photo, or by both; every score is explained.

Search is exact: each image that the filters allow is compared with the query. Of equal scores the older image comes first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agentkit.errors import UsageError
from agentkit_vision.contracts import Encoder, Picture
from agentkit_vision.search.attributes import AttributeReader, Prompt, value_alone
from agentkit_vision.search.collection import Collection, check
from agentkit_vision.search.composing import Composed, Weights, compose
from agentkit_vision.search.errors import DamagedCollection
from agentkit_vision.search.filters import Filters
from agentkit_vision.search.ranking import BLOCK, best_first, mmr, scores, unit
from agentkit_vision.search.values import Snapshot
from agentkit_vision.search.wording import Reading, beside, read_query

__all__ = ["Filters", "Found", "Hit", "Searcher", "Weights"]

MOST = 1_000  # results
POOL, POOL_A_RESULT = 100, 10  # best images that diversity chooses from: at least, and for each result
COSINE = 1.02  # no two vectors of length 1 have a product above, with what rounding adds
NO_FILTERS, EQUAL = Filters(), Weights()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """An image that was found.

    Attributes:
        path: its name in the collection.
        file: where it lies.
        score: cosine of its vector and the query, -1 to 1; the sum of the two parts.
        image: what the photo contributes to it.
        text: what the words contribute.
        labels: as the collection has them.
        read: attribute -> value, as the encoder reads the image; for all that it tells.
        as_asked: attributes that the words ask for and that it has so.
        not_as_asked: those that it has otherwise.
        kept: other attributes that it has as the photo has them.
    """

    id: int
    path: str
    file: Path
    sha256: str
    score: float
    image: float
    text: float
    labels: Mapping[str, str] = field(default_factory=dict)
    read: Mapping[str, str] = field(default_factory=dict)
    as_asked: Sequence[str] = ()
    not_as_asked: Sequence[str] = ()
    kept: Sequence[str] = ()

    def explain(self) -> str:
        """Return why it was found, in one line."""
        parts = [f"{self.image:.2f} photo"] if self.image else []
        parts += [f"{self.text:.2f} text"] if self.text else []
        told = f"{self.score:.2f}" + (f" = {' + '.join(parts)}".replace("+ -", "- ") if len(parts) > 1 else "")
        groups = (("as asked", self.as_asked), ("not as asked", self.not_as_asked), ("as in the photo", self.kept))
        for words, names in groups:
            if names:
                told += f"; {words}: {', '.join(f'{name} {self.read[name]}' for name in names)}"
        return told


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a search came to.

    Attributes:
        hits: those that have more of what the words ask for first, of these the best first; or in the order in which diversity chose
            them among such.
        how: `text`, `photo`, `photo + text` or `photo + attributes`.
        reading: the words, understood.
        own: attribute -> the photo's own value, of those that the words change.
        searched: images of the collection.
        allowed: those that filters, refusals and the photo itself left.
    """

    hits: tuple[Hit, ...]
    how: str
    reading: Reading
    own: Mapping[str, str]
    searched: int
    allowed: int

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        plain = asdict(self)
        plain["hits"] = [{**hit, "file": str(hit["file"])} for hit in plain["hits"]]
        return plain


class Searcher:
    """A collection with its encoder; threads may share it.

    Args:
        collection: to search in.
        encoder: its own.
        prompt: the text that stands for an attribute's value.

    Raises:
        EncoderMismatch: the collection is another encoder's.
    """

    def __init__(self, collection: Collection, encoder: Encoder, *, prompt: Prompt = value_alone) -> None:
        collection.check_encoder(encoder)
        self.collection, self.encoder = collection, encoder
        self.reader = AttributeReader(encoder, prompt)

    def find(
        self,
        text: str = "",
        photo: Picture | None = None,
        *,
        k: int = 10,
        filters: Filters = NO_FILTERS,
        weights: Weights = EQUAL,
        relevance: float = 1.0,
    ) -> Found:
        """Return the images that fit best.

        Args:
            text: words; may refuse things ("without stripes", "but not red").
            photo: a picture to go by; itself is not found.
            k: how many at most, 1 to 1,000.
            filters: conditions that have to hold.
            weights: of the photo and the words.
            relevance: 0 to 1: how much the fit counts against diversity (maximal marginal relevance).

        Raises:
            UsageError: there is nothing to look for, or an argument is out of range.
            EncoderMismatch: somebody indexed the collection anew with another encoder.
            DamagedCollection: the vectors are not what was written.
        """
        if not 1 <= k <= MOST:
            raise UsageError(f"k = {k}: ask for 1 to {MOST:,} images")
        if not 0 <= relevance <= 1:
            raise UsageError(f"relevance = {relevance}: choose 0 (diverse) to 1 (nothing but the fit)")
        now = self.collection.snapshot()
        check(self.collection.home, now.encoder, now.fingerprint, self.encoder)
        reading = read_query(text, self.reader.values, photo=photo is not None)
        image = (
            unit(np.asarray(self.encoder.embed_images([photo.pixels])[0], np.float32)) if photo is not None else None
        )
        photo_reads = self.reader.read_one(image) if image is not None else {}
        reading = beside(reading, photo_reads)
        query = compose(self.encoder, self.reader, reading, image, weights)
        allowed = np.flatnonzero(self._allowed(now, filters, reading, photo))
        chosen = self._chosen(now, allowed, query.whole, reading, k, relevance)
        root = self.collection.root
        hits = tuple(self._hit(now, int(n), root, query, reading, photo_reads) for n in chosen)
        return Found(hits=hits, how=query.how, reading=reading, own=query.own, searched=len(now), allowed=len(allowed))

    def _allowed(self, now: Snapshot, filters: Filters, reading: Reading, photo: Picture | None) -> NDArray[np.bool_]:
        """Return (n,) whether an image may be found."""
        kept = filters.allowed(now, lambda name: self._read(now, name))
        for name, values in reading.refused.items():
            kept &= np.array([value not in values for value in self._read(now, name) or ()], bool)
        if photo is not None:
            kept &= np.array([sha256 != photo.sha256 for sha256 in now.sha256], bool)
        return kept

    def _read(self, now: Snapshot, name: str) -> list[str] | None:
        """Return the value of an attribute that each image has, as the encoder reads it; None for one that it does not tell."""
        if name not in self.reader.values:
            return None
        blocks = (now.slots[start : start + BLOCK] for start in range(0, len(now), BLOCK))
        return [value for block in blocks for value in self.reader.read(now.matrix[block], name)]

    def _as_asked(self, now: Snapshot, reading: Reading) -> NDArray[np.int64]:
        """Return (n,) how many of the attributes that words ask for an image has as asked."""
        met = np.zeros(len(now), np.int64)
        for name, values in reading.asked.items():
            met += np.array([value in values for value in self._read(now, name) or ()], np.int64)
        return met

    def _chosen(self, now: Snapshot, allowed: NDArray[np.int64], query: NDArray[np.float32], reading: Reading, k: int, relevance: float) -> NDArray[np.int64]:  # fmt: skip
        """Return places in the snapshot, in the order in which they are shown: what is as asked before what is not."""
        fits = scores(now.matrix, now.slots[allowed], query)
        if not np.all(np.abs(fits) < COSINE):
            raise DamagedCollection(f"{self.collection.home}: a vector in it is none; index its folder again")
        met = self._as_asked(now, reading)[allowed]
        if relevance == 1:
            return allowed[best_first(fits, met, k)]
        pool = best_first(fits, met, max(POOL, POOL_A_RESULT * k))
        vectors = np.asarray(now.matrix[now.slots[allowed[pool]]], np.float32)
        return allowed[pool[mmr(fits[pool], vectors, k, relevance)]]

    def _hit(self, now: Snapshot, n: int, root: Path, query: Composed, reading: Reading, photo_reads: Mapping[str, str]) -> Hit:  # fmt: skip
        vector = np.asarray(now.matrix[now.slots[n]], np.float32)
        read = self.reader.read_one(vector)
        image, text = float(query.image @ vector), float(query.text @ vector)
        path = now.paths[n]
        return Hit(
            id=int(now.ids[n]),
            path=path,
            file=root / path,
            sha256=now.sha256[n],
            score=image + text,
            image=image,
            text=text,
            labels=now.labels[n],
            read=read,
            as_asked=tuple(name for name, values in reading.asked.items() if read[name] in values),
            not_as_asked=tuple(name for name, values in reading.asked.items() if read[name] not in values),
            kept=tuple(name for name in read if name not in reading.asked and read[name] == photo_reads.get(name)),
        )
