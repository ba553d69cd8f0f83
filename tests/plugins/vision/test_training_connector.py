"""The second stage: what the language model reads in training is what it reads at work, and nothing but the resampler learns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("safetensors")
pytest.importorskip("PIL")

from agentkit.engine.llama import LlamaEngine, Model  # noqa: E402
from agentkit.engine.llama.context import Context, ContextOptions, Part  # noqa: E402
from agentkit.engine.llama.rows import Row  # noqa: E402
from agentkit.messages import user_message  # noqa: E402
from agentkit.protocols import Request  # noqa: E402
from agentkit.types import ImagePart, Task, TextPart  # noqa: E402
from agentkit_vision.nn.reading import Reader  # noqa: E402
from agentkit_vision.nn.resampler import PerceiverResampler, ResamplerConfig  # noqa: E402
from agentkit_vision.nn.saving import freeze, weights_hash  # noqa: E402
from agentkit_vision.nn.towers import ImageTower, ImageTowerConfig, TextTower, TextTowerConfig  # noqa: E402
from agentkit_vision.nn.words import Words  # noqa: E402
from agentkit_vision.pictures import to_png  # noqa: E402
from agentkit_vision.training import fitting  # noqa: E402
from agentkit_vision.training.connector import (  # noqa: E402
    CAPTION,
    CAPTION_ASKED,
    IGNORED,
    Asked,
    Connector,
    Lessons,
    grounds,
    question_corpus,
    shuffled,
)
from agentkit_vision.training.data import Labelled, read_labelled  # noqa: E402
from agentkit_vision.training.stepping import Trainer  # noqa: E402
from agentkit_vision.world.parsing import attributes_of, said_pairs  # noqa: E402
from agentkit_vision.world.words import number_word  # noqa: E402
from tests.plugins.vision.training_toys import SPROUT, drawn, sprout_hf  # noqa: E402

LATENTS, WIDTH = 4, 256
ASKED = [
    Asked("what colour is the shoe?", "red"),
    Asked("How many things are there", "three"),
    Asked(CAPTION, "a small red shoe, left, on white"),
    Asked("is it a mug?", "no"),
]
Language = tuple[Any, Any]  # model, tokenizer


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Labelled:
    return read_labelled(drawn(tmp_path_factory.mktemp("world") / "data", 80), 48)


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> Language:
    return fitting._language_model(sprout_hf(tmp_path_factory.mktemp("sprout") / "hf"))


@pytest.fixture(scope="module")
def words(data: Labelled) -> Words:
    return Words.build(question_corpus(data, seed=0, count=200))


def made(language: Language, words: Words) -> Connector:
    model, tokenizer = language
    tower = freeze(ImageTower(ImageTowerConfig(size=48, stem=8, width=32, layers=1, dim=32)))
    texts = freeze(TextTower(TextTowerConfig(vocab=len(words), width=16, layers=1, dim=32)))
    questions = TextTower(TextTowerConfig(vocab=len(words), width=32, layers=1, dim=8))
    questions.project.requires_grad_(False)
    resampler = PerceiverResampler(
        ResamplerConfig(input_width=32, width=32, latents=LATENTS, layers=1, heads=2, head_width=16, output_width=WIDTH, output_rms=0.05)
    )  # fmt: skip
    reader = Reader(questions, words, texts=texts, text_words=words)
    return Connector(resampler, reader, image_tower=tower, language_model=model, tokenizer=tokenizer, half=False)


@pytest.fixture
def connector(language: Language, words: Words) -> Connector:
    return made(language, words)


class Fixed:
    """Gives rows that were made before, and writes down what it was told."""

    fingerprint, reads_words = "fixed", True

    def __init__(self, rows: np.ndarray) -> None:
        self.rows, self.told = rows, list[str]()

    def see(self, image: bytes, words: str) -> np.ndarray:
        self.told.append(words)
        return self.rows


def prompt(engine: LlamaEngine, question: str, pixels: np.ndarray) -> Sequence[int]:
    """Return the tokens of a prompt as the speaker asks for it."""
    parts = (TextPart(text=question), ImagePart(data=to_png(pixels)))
    request = Request(messages=[user_message(Task(parts=parts))], allow=frozenset({"final"}), max_tokens=8)
    with engine.session(request) as session:
        return list(session.tokens)


def test_the_layout_in_training_is_that_of_the_engine(connector: Connector, data: Labelled) -> None:
    asked = [one for *_, one in grounds(data, seed=0, split="test")[:60]] + ASKED
    ids, labels, places = connector._laid_out(asked, LATENTS)
    eye = Fixed(np.full((LATENTS, WIDTH), 0.01, np.float32))
    with LlamaEngine(SPROUT, eye=eye, threads=1) as engine:
        for n, one in enumerate(asked):
            theirs = prompt(engine, one.question, data.pixels[0])
            rows = [place for place, token in enumerate(theirs) if isinstance(token, Row)]
            assert places[n].tolist() == rows, one.question
            begun = int((labels[n] != IGNORED).nonzero()[0])
            assert begun == len(theirs)
            ours = ids[n, :begun].tolist()
            assert [token for place, token in enumerate(ours) if place not in rows] == [
                int(token) for place, token in enumerate(theirs) if place not in rows
            ], one.question
    assert eye.told == list(dict.fromkeys(one.question for one in asked))  # what was seen before is kept


def test_what_is_learnt_is_the_answer_and_its_end(connector: Connector) -> None:
    ids, labels, _ = connector._laid_out(ASKED, LATENTS)
    tokenizer = connector._tokenizer
    for n, one in enumerate(ASKED):
        chosen = labels[n] != IGNORED
        assert torch.equal(ids[n][chosen], labels[n][chosen])
        assert tokenizer.decode(labels[n][chosen]) == f"<final>{one.answer}<end>"


def test_logits_of_training_are_those_of_llama_cpp(connector: Connector, data: Labelled) -> None:
    """Float weights there, q8_0 here: of all tokens the worst is off by half a unit, and the choice is nearly always the same."""
    pixels = torch.from_numpy(data.pixels[: len(ASKED)])
    with torch.no_grad():
        logits, labels = connector.logits(pixels, ASKED)
        rows = connector.latents(*connector._frozen[0](pixels), [one.question for one in ASKED]).numpy()
    ids, _, _ = connector._laid_out(ASKED, LATENTS)
    same, differences = [], []
    model = Model(SPROUT)
    context = Context(model, ContextOptions(tokens=512, threads=1, live=1))
    try:
        for n, one in enumerate(ASKED):
            with LlamaEngine(SPROUT, eye=Fixed(rows[n]), threads=1) as engine:
                begun = prompt(engine, one.question, data.pixels[n])
            chosen = (labels[n] != IGNORED).nonzero()[:, 0].tolist()
            whole = [*begun, *ids[n, len(begun) : chosen[-1] + 1].tolist()]
            context.keep_first(0, 0)
            end = max(place for place, token in enumerate(whole) if isinstance(token, Row)) + 1
            for part in (whole[: end - LATENTS], whole[end - LATENTS : end]):
                context.decode([Part(0, part)])
            (theirs,) = context.decode([Part(0, whole[end:], [place - end for place in chosen])])
            for place, row in zip(chosen, theirs, strict=True):
                mine = logits[n, place].float().numpy()
                differences.append(np.abs(mine - np.asarray(row)[: len(mine)]).max())
                same.append(int(mine.argmax()) == int(np.argmax(row[: len(mine)])))
    finally:
        context.close()
        model.close()
    assert len(same) > 15
    assert np.median(differences) < 0.5
    assert max(differences) < 1.0
    assert np.mean(same) > 0.9


def test_a_row_matters_and_a_row_beyond_the_answer_is_not_read(connector: Connector, data: Labelled) -> None:
    one, other = (torch.from_numpy(data.pixels[n : n + 1]) for n in (0, 1))
    with torch.no_grad():
        mine, labels = connector.logits(one, ASKED[:1])
        theirs, _ = connector.logits(other, ASKED[:1])
        padded, _ = connector.logits(torch.cat([one, one]), [ASKED[0], ASKED[2]])
    begun = int((labels[0] != IGNORED).nonzero()[0])
    assert float((mine - theirs)[0, begun:].abs().max()) > 1e-6
    torch.testing.assert_close(mine[0], padded[0, : mine.shape[1]], rtol=0, atol=1e-4)


def test_nothing_but_the_connector_learns(connector: Connector, data: Labelled) -> None:
    tower, model = connector._frozen
    before, mine = weights_hash(tower, model), weights_hash(connector)
    lessons = Lessons(data, connector, batch=6, captions=0.3, seed=0)
    trainer = Trainer(connector, lessons.loss, steps=3, rate=1e-3, name="connector")
    while not trainer.is_done:
        trainer.advance()
    assert weights_hash(tower, model) == before
    assert weights_hash(connector) != mine
    assert all(weight.grad is None for module in (tower, model) for weight in module.parameters())
    frozen = {id(weight) for module in (tower, model) for weight in module.parameters()}
    assert not any(id(weight) in frozen for weight in connector.parameters())
    assert not tower.training
    assert not model.training


def test_the_connector_learns(connector: Connector, data: Labelled) -> None:
    lessons = Lessons(data, connector, batch=12, captions=0.2, seed=0)
    trainer = Trainer(connector, lessons.loss, steps=24, rate=3e-3, name="connector")
    losses = [trainer.advance() for _ in range(24)]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:3])


def test_stopped_and_gone_on_with_gives_the_same_weights_to_the_bit(
    language: Language, words: Words, data: Labelled, tmp_path: Path
) -> None:
    def trainer() -> Trainer:
        torch.manual_seed(3)
        fresh = made(language, words)
        return Trainer(fresh, Lessons(data, fresh, batch=4, captions=0.2, seed=0).loss, steps=4, rate=1e-3, name="x")

    whole = trainer()
    while not whole.is_done:
        whole.advance()
    first, second = trainer(), trainer()
    first.advance()
    first.advance()
    first.save(tmp_path)
    assert second.restore(tmp_path)
    while not second.is_done:
        second.advance()
    assert weights_hash(second.module) == weights_hash(whole.module)


def test_right_is_said_where_every_token_is_the_most_probable(connector: Connector, data: Labelled) -> None:
    pixels = torch.from_numpy(data.pixels[:1])
    with torch.no_grad():
        logits, labels = connector.logits(pixels, ASKED[:1])
    by_hand = all(int(logits[0, n].argmax()) == int(labels[0, n]) for n in range(labels.shape[1]) if labels[0, n] != IGNORED)  # fmt: skip
    assert connector.right(pixels, ASKED[:1]) == [by_hand]
    asked = list(ASKED[:2])
    connector.logits = lambda pixels, asked: (torch.nn.functional.one_hot(torch.tensor([[1, 2], [3, 4]]), 9), torch.tensor([[IGNORED, 2], [3, 5]]))  # type: ignore[method-assign]  # fmt: skip
    assert connector.right(pixels, asked) == [True, False]


def test_lessons_are_true(connector: Connector, data: Labelled) -> None:
    lessons = Lessons(data, connector, batch=4, captions=0.3, seed=0)
    captions = 0
    for row in range(80):
        labels = data.examples[row].labels
        one = lessons._asked(row, False, 2, row)
        if one.question in CAPTION_ASKED:
            captions += 1
            assert said_pairs(attributes_of(one.answer, data.vocabulary)) == said_pairs(labels)
        else:
            assert one.answer in {"yes", "no", number_word(labels["count"]), *labels.values()}, one
        grey = lessons._asked(row, True, 2, row)
        assert labels["colour"] not in (grey.answer, *grey.question.split())
    assert 10 < captions < 45


def test_questions_that_measure_are_worded_as_none_that_taught(data: Labelled) -> None:
    taught = {one.question.lower().rstrip("?.") for *_, one in grounds(data, seed=0, split="train")}
    asked = {one.question.lower().rstrip("?.") for *_, one in grounds(data, seed=0, split="test")}
    assert not taught & asked


def test_another_picture_is_never_the_same() -> None:
    for count in (2, 3, 40):
        found = shuffled(count, 1)
        assert sorted(found) == list(range(count))
        assert all(place != n for n, place in enumerate(found))
