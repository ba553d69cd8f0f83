"""The first stage: views of pictures, texts that are true of them, and a loss that knows which texts are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytest.importorskip("PIL")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from agentkit.errors import InvalidParams, JobError  # noqa: E402
from agentkit_vision.nn.contrastive import ClipLoss  # noqa: E402
from agentkit_vision.nn.towers import ImageTower, ImageTowerConfig, TextTower, TextTowerConfig  # noqa: E402
from agentkit_vision.nn.words import Words  # noqa: E402
from agentkit_vision.training.contrast import Contrast, PartialClipLoss, corpus, zero_shot  # noqa: E402
from agentkit_vision.training.data import Labelled, digest_of, read_labelled, read_parts  # noqa: E402
from agentkit_vision.training.stepping import Trainer, chance, share_of  # noqa: E402
from agentkit_vision.training.views import views  # noqa: E402
from agentkit_vision.world.parsing import attributes_of  # noqa: E402
from tests.plugins.vision.training_toys import drawn  # noqa: E402

TINY = ImageTowerConfig(stem=8, width=32, layers=1, dim=16)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Labelled:
    return read_labelled(drawn(tmp_path_factory.mktemp("world") / "data", 96), 48)


def contrast(data: Labelled, *, steps: int = 20, batch: int = 24, seed: int = 0) -> Contrast:
    words = Words.build(corpus(data, seed=0, count=300))
    torch.manual_seed(seed)
    images = ImageTower(TINY)
    texts = TextTower(TextTowerConfig(vocab=len(words), width=32, layers=1, dim=16))
    return Contrast(images, texts, words, data, batch=batch, steps=steps, seed=seed, half=False)


def test_views_keep_shape_and_range_and_are_a_function_of_seed_and_step(data: Labelled) -> None:
    pixels = data.pixels[:20]
    before = pixels.copy()
    one, again, later, other = (
        views(pixels, chance(seed, "towers", step)) for seed, step in ((0, 3), (0, 3), (0, 4), (1, 3))
    )
    assert one.shape == (20, 48, 48, 3)
    assert one.dtype == torch.float32
    assert float(one.min()) >= 0
    assert float(one.max()) <= 1
    assert torch.equal(one, again)
    assert not torch.equal(one, later)
    assert not torch.equal(one, other)
    assert np.array_equal(pixels, before)


def test_stages_have_chance_of_their_own() -> None:
    assert chance(0, "towers", 1).random() != chance(0, "connector", 1).random()


def test_a_view_is_of_its_own_picture(data: Labelled) -> None:
    """Whatever is done to a picture, it is nearer to itself than to most others."""
    seen = views(data.pixels[:40], chance(0, "towers", 0)).numpy().reshape(40, -1)
    plain = (data.pixels[:40] / 255).reshape(40, -1)
    seen, plain = (one - one.mean(1, keepdims=True) for one in (seen, plain))
    seen, plain = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in (seen, plain))
    fits = seen @ plain.T
    ranks = (fits > fits.diagonal()[:, None]).sum(1)
    assert np.median(ranks) <= 1


def test_grey_views_have_no_colour_before_the_light_falls_on_them() -> None:
    pixels = np.zeros((2, 48, 48, 3), np.uint8)
    pixels[..., 0] = np.arange(48)[None, :, None] * 5  # shades of red
    seen = views(pixels, chance(0, "towers", 0), grey=np.array([True, False])).numpy()
    spread = [float((one.max(-1) - one.min(-1)).mean()) for one in seen]
    assert spread[0] < 0.3 * spread[1]


@pytest.mark.parametrize("true", [None, "identity"])
def test_the_partial_loss_of_the_identity_is_clips(true: str | None) -> None:
    images, texts = torch.randn(9, 16), torch.randn(9, 16)
    told = None if true is None else torch.eye(9, dtype=torch.bool)
    torch.testing.assert_close(PartialClipLoss()(images, texts, told), ClipLoss()(images, texts))


def test_where_every_text_is_true_of_every_picture_nothing_is_wrong_and_nothing_is_learnt() -> None:
    images, texts = torch.randn(6, 16, requires_grad=True), torch.randn(6, 16)
    loss = PartialClipLoss()(images, texts, torch.ones(6, 6, dtype=torch.bool))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0, abs=1e-5)
    assert torch.isfinite(images.grad).all()
    assert float(images.grad.abs().max()) < 1e-5


def test_the_partial_loss_draws_to_what_is_true_and_pushes_from_what_is_not() -> None:
    """Text 1 is true of pictures 0 and 1; text 2 of its own alone."""
    true = torch.eye(3, dtype=torch.bool)
    true[0, 1] = True
    logits = torch.zeros(3, 3, requires_grad=True)
    loss = PartialClipLoss()
    loss._logits = lambda images, texts: logits  # type: ignore[method-assign]
    loss(torch.zeros(3, 3), torch.zeros(3, 3), true).backward()
    gradient = logits.grad
    assert (gradient.diagonal() < 0).all()  # a step goes against it
    assert float(gradient[0, 1]) < 0  # true though not its own: the text is drawn to it, the picture is not pushed
    assert float(gradient[0, 2]) > 0
    assert float(gradient[1, 0]) > 0


@given(st.integers(0, 10**6))
def test_the_partial_loss_is_never_below_zero(seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    true = torch.rand(7, 7, generator=rng) < 0.5
    true.fill_diagonal_(True)
    loss = PartialClipLoss()(torch.randn(7, 8, generator=rng), torch.randn(7, 8, generator=rng), true)
    assert torch.isfinite(loss)
    assert loss.item() >= -1e-5


def test_texts_are_true_of_their_pictures_and_say_what_they_name(data: Labelled) -> None:
    lessons = contrast(data)
    for step in (0, 19):
        for row in range(96):
            text, named = lessons._text(row, False, step, row)
            labels = data.examples[row].labels
            assert named.items() <= labels.items(), text
            said = attributes_of(text, data.vocabulary)
            for name in named.keys() & said.keys():
                assert said[name] == named[name], text


def test_grey_pictures_are_not_told_their_colour(data: Labelled) -> None:
    lessons = contrast(data)
    for row in range(96):
        text, named = lessons._text(row, True, 10, row)
        assert "colour" not in named
        assert data.examples[row].labels["colour"] not in text.split()


def test_which_texts_are_true_is_what_the_labels_say(data: Labelled) -> None:
    lessons, rows = contrast(data), np.arange(40)
    told = [lessons._text(int(row), False, 5, int(row))[1] for row in rows]
    true = lessons._true(rows, told).numpy()
    by_hand = np.array([[said.items() <= data.examples[row].labels.items() for said in told] for row in rows])
    assert np.array_equal(true, by_hand)
    assert true.diagonal().all()
    assert 0.02 < true.mean() < 0.8  # some texts are true of others, most are not


def test_a_loss_is_a_function_of_the_step(data: Labelled) -> None:
    one, other = contrast(data), contrast(data)
    assert one.loss(3).item() == other.loss(3).item()
    assert one.loss(3).item() != one.loss(4).item()


def test_the_towers_learn(data: Labelled) -> None:
    lessons = contrast(data, steps=40, batch=48)
    trainer = Trainer(lessons, lessons.loss, steps=40, rate=3e-3, name="towers")
    losses = [trainer.advance() for _ in range(40)]
    assert np.mean(losses[-8:]) < 0.9 * np.mean(losses[:8])
    found = zero_shot(lessons.images.eval(), lessons.texts.eval(), lessons._words, data)
    assert set(found) == {"category", "shape", "colour", "size", "count", "position", "texture", "background"}
    assert found["background"] > 0.6  # three values


def test_stopped_and_gone_on_with_gives_the_same_weights_to_the_bit(data: Labelled, tmp_path: Path) -> None:
    def trainer() -> Trainer:
        lessons = contrast(data)
        return Trainer(lessons, lessons.loss, steps=6, rate=1e-3, name="towers")

    whole = trainer()
    while not whole.is_done:
        whole.advance()
    first = trainer()
    assert not first.restore(tmp_path)
    for _ in range(3):
        first.advance()
    first.save(tmp_path)
    second = trainer()
    assert second.restore(tmp_path)
    assert second.step == 3
    while not second.is_done:
        second.advance()
    for name, weight in whole.module.state_dict().items():
        assert torch.equal(weight, second.module.state_dict()[name]), name
    assert not torch.equal(whole.module.images.project.weight, trainer().module.images.project.weight)


def test_a_loss_that_is_no_number_is_said_and_changes_nothing() -> None:
    layer = torch.nn.Linear(2, 1)
    before = layer.weight.detach().clone()
    trainer = Trainer(layer, lambda step: layer.weight.sum() * float("nan"), steps=5, rate=0.1, name="layer")
    with pytest.raises(JobError, match=r"layer, step 1: the loss is nan; a lower rate than 0\.1"):
        trainer.advance()
    assert torch.equal(layer.weight, before)
    assert trainer.step == 0


@given(st.integers(1, 3_000), st.floats(0, 1))
def test_the_rate_rises_stays_and_falls(steps: int, part: float) -> None:
    step = min(steps - 1, int(part * steps))
    assert 0 < share_of(step, steps) <= 1
    assert share_of(steps, steps) == 0


def test_what_is_held_out_is_not_learnt_from(tmp_path: Path) -> None:
    folder = drawn(tmp_path / "data", 90)
    kept, out = read_parts(folder, 48, 0.2, 0)
    assert not {one.path for one in kept.examples} & {one.path for one in out.examples}
    assert len(kept) + len(out) == 90
    assert kept.vocabulary == out.vocabulary
    whole = read_labelled(folder, 48)
    places = {one.path: n for n, one in enumerate(whole.examples)}
    for part in (kept, out):
        for n, one in enumerate(part.examples):
            assert np.array_equal(part.pixels[n], whole.pixels[places[one.path]])
    with pytest.raises(InvalidParams, match="at least 64 and 1"):
        read_parts(folder, 48, 0.5, 0)


def test_the_digest_changes_with_a_label(tmp_path: Path) -> None:
    folder = drawn(tmp_path / "data", 4)
    before = digest_of(folder)
    assert digest_of(folder) == before
    table = folder / "metadata.jsonl"
    table.write_text(table.read_text().replace('"count": "', '"count": "1'))
    assert digest_of(folder) != before


def test_the_table_is_the_labels(data: Labelled) -> None:
    for row, one in zip(data.table, data.examples, strict=True):
        named = dict(zip(data.vocabulary, row, strict=True))
        assert {name: data.vocabulary[name][place] for name, place in named.items()} == dict(one.labels)
