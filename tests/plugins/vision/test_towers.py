"""The encoder towers: shapes, padding, sizes, and what they are on disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from agentkit.errors import ModelFileError, UsageError  # noqa: E402
from agentkit_vision.nn.contrastive import ClipLoss  # noqa: E402
from agentkit_vision.nn.saving import freeze, weights_hash  # noqa: E402
from agentkit_vision.nn.towers import ImageTower, ImageTowerConfig, TextTower, TextTowerConfig  # noqa: E402

TEXT = TextTowerConfig(vocab=50, length=12)
CLOSE = {"rtol": 0, "atol": 1e-5}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


def pictures(n: int = 3, size: int = 48) -> torch.Tensor:
    return torch.randint(0, 256, (n, size, size, 3), dtype=torch.uint8)


def test_a_picture_is_36_tokens_and_a_vector_of_length_one() -> None:
    tokens, vectors = ImageTower()(pictures())
    assert tokens.shape == (3, 36, 128)
    assert vectors.shape == (3, 128)
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(3), **CLOSE)
    tokens, vectors = ImageTower(ImageTowerConfig(size=64, stem=16, width=64, layers=2, dim=32))(pictures(2, 64))
    assert tokens.shape == (2, 64, 64)
    assert vectors.shape == (2, 32)


def test_a_vector_is_of_the_mean_token() -> None:
    tower = ImageTower().eval()
    tokens, vectors = tower(pictures())
    torch.testing.assert_close(vectors, torch.nn.functional.normalize(tower.project(tokens.mean(1)), dim=-1))


def test_the_image_tower_has_half_a_million_to_800_000_weights() -> None:
    assert 500_000 <= sum(weight.numel() for weight in ImageTower().parameters()) <= 800_000


def test_bytes_and_floats_are_one_picture() -> None:
    tower, shown = ImageTower().eval(), pictures()
    for one, other in zip(tower(shown), tower(shown.float() / 255), strict=True):
        assert torch.equal(one, other)


def test_pictures_of_a_batch_do_not_see_each_other() -> None:
    tower, shown = ImageTower().eval(), pictures()
    for whole, alone in zip(tower(shown), tower(shown[1:2]), strict=True):
        torch.testing.assert_close(whole[1:2], alone, **CLOSE)


def test_tokens_go_row_by_row() -> None:
    tower, shown = (
        ImageTower(ImageTowerConfig(layers=0)).eval(),
        torch.rand(1, 48, 48, 3),
    )  # convolutions see what is near
    for place, (row, column) in {0: (0, 0), 5: (0, 40), 30: (40, 0), 35: (40, 40)}.items():
        changed = shown.clone()
        changed[0, row : row + 8, column : column + 8] = torch.rand(8, 8, 3).round()
        moved = (tower(changed)[0] - tower(shown)[0]).abs().sum(-1)[0]
        far = [
            n for n in range(36) if max(abs(n // 6 - place // 6), abs(n % 6 - place % 6)) > 4
        ]  # 63 pixels decide a token
        assert moved[place] > 0
        assert moved[far].eq(0).all()


def test_other_sizes_are_refused() -> None:
    with pytest.raises(UsageError, match=r"\(batch, 48, 48, 3\), not \(1, 64, 64, 3\)"):
        ImageTower()(pictures(1, 64))
    with pytest.raises(UsageError, match="size is 50; it is a multiple of 8"):
        ImageTowerConfig(size=50)
    with pytest.raises(UsageError, match="width 30 is not a multiple of heads"):
        ImageTowerConfig(width=30)
    with pytest.raises(UsageError, match="not a multiple of heads"):
        TextTowerConfig(vocab=5, width=30)


def test_padding_does_not_matter() -> None:
    tower, ids = TextTower(TEXT).eval(), torch.randint(1, 50, (2, 5))
    padded = torch.cat((ids, torch.zeros(2, 4, dtype=torch.int64)), dim=1)
    tokens, vectors = tower(padded)
    assert tokens.shape == (2, 9, 128)
    assert tokens[:, 5:].eq(0).all()
    torch.testing.assert_close(tokens[:, :5], tower(ids)[0], **CLOSE)
    torch.testing.assert_close(vectors, tower(ids)[1], **CLOSE)
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(2), **CLOSE)


def test_the_order_of_words_matters() -> None:
    tower = TextTower(TEXT).eval()
    ids = torch.tensor([[3, 4, 5], [5, 4, 3]])
    one, other = tower(ids)[1]
    assert not torch.allclose(one, other, **CLOSE)


def test_a_text_without_words_is_a_vector_of_zeros() -> None:
    tower = TextTower(TEXT)
    tokens, vectors = tower(torch.tensor([[0, 0, 0], [1, 2, 0]]))
    assert tokens[0].eq(0).all()
    assert vectors[0].eq(0).all()
    assert vectors[1].norm().item() == pytest.approx(1, abs=1e-5)
    vectors.sum().backward()
    assert all(weight.grad.isfinite().all() for weight in tower.parameters())


def test_texts_that_are_too_long_are_refused() -> None:
    with pytest.raises(UsageError, match="at most 12"):
        TextTower(TEXT)(torch.ones(1, 13, dtype=torch.int64))


def test_the_towers_learn_which_text_belongs_to_which_picture() -> None:
    images = ImageTower(ImageTowerConfig(size=16, stem=8, width=16, dim=16))
    texts, loss = TextTower(TextTowerConfig(vocab=10, width=16, heads=2, dim=16)), ClipLoss()
    weights = [weight for module in (images, texts, loss) for weight in module.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=3e-3)
    shown, ids = pictures(6, 16), torch.arange(2, 8)[:, None]
    first = last = 0.0
    for step in range(60):
        optimizer.zero_grad()
        value = loss(images(shown)[1], texts(ids)[1])
        value.backward()
        assert step or all(weight.grad is not None and weight.grad.isfinite().all() for weight in weights)
        optimizer.step()
        first, last = first or value.item(), value.item()
    assert last < 0.2 < 1 < first
    assert (images(shown)[1] @ texts(ids)[1].T).argmax(1).tolist() == [0, 1, 2, 3, 4, 5]


def test_saved_and_loaded_they_say_the_same(tmp_path: Path) -> None:
    images, texts = ImageTower(ImageTowerConfig(size=16, stem=8, width=16)), TextTower(TEXT)
    images.save(tmp_path)
    texts.save(tmp_path)  # one folder holds both
    shown, ids = pictures(2, 16), torch.randint(1, 50, (2, 5))
    for module, again, given in (
        (images, ImageTower.load(tmp_path), shown),
        (texts, TextTower.load(tmp_path), ids),
    ):
        assert again.config == module.config
        rounded = module.half().float().eval()
        assert weights_hash(again) == weights_hash(rounded)
        for one, other in zip(again(given), rounded(given), strict=True):
            assert torch.equal(one, other)
    (tmp_path / "image_tower.json").replace(tmp_path / "text_tower.json")
    with pytest.raises(ModelFileError, match="not the configuration of a text_tower"):
        TextTower.load(tmp_path)


def test_a_hash_tells_weights_apart() -> None:
    tower = ImageTower(ImageTowerConfig(size=16, stem=8, width=16))
    before = weights_hash(tower)
    assert before == weights_hash(tower)
    with torch.no_grad():
        tower.places[0, 0] += 1e-6
    assert weights_hash(tower) != before


def test_a_frozen_tower_gets_no_gradient() -> None:
    tower = freeze(ImageTower(ImageTowerConfig(size=16, stem=8, width=16)))
    tokens, vectors = tower(pictures(1, 16))
    assert not tokens.requires_grad
    assert not vectors.requires_grad
    assert not tower.training
