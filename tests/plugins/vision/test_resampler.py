"""The Perceiver resampler: what Flamingo's figure and transformers' copy of it say, exactly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from agentkit.errors import ModelFileError, ModelNotFound, UsageError  # noqa: E402
from agentkit_vision.nn import saving  # noqa: E402
from agentkit_vision.nn.resampler import PerceiverResampler, ResamplerConfig, multiply_adds  # noqa: E402
from agentkit_vision.nn.towers import ImageTower, ImageTowerConfig  # noqa: E402

CONFIG = ResamplerConfig(
    input_width=12, width=16, latents=5, layers=2, heads=2, head_width=8, frames=3, output_width=24
)
CLOSE = {"rtol": 0, "atol": 1e-6}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


def made(config: ResamplerConfig = CONFIG) -> PerceiverResampler:
    return PerceiverResampler(config).eval()


@pytest.mark.parametrize("tokens", [1, 7, 64])
@pytest.mark.parametrize("frames", [1, 3])
def test_the_shape_does_not_depend_on_the_number_of_tokens(tokens: int, frames: int) -> None:
    assert made()(torch.randn(2, frames, tokens, 12)).shape == (2, frames, 5, 24)
    together = made(replace(CONFIG, per_frame=False))
    assert together(torch.randn(2, frames, tokens, 12)).shape == (2, 1, 5, 24)


def test_without_an_output_width_latents_leave_as_they_are() -> None:
    assert made(replace(CONFIG, output_width=None))(torch.randn(2, 3, 7, 12)).shape == (2, 3, 5, 16)


def test_the_order_of_tokens_does_not_matter() -> None:
    module, x = made(), torch.randn(2, 3, 9, 12)
    shuffled = x[:, :, torch.randperm(9)]
    torch.testing.assert_close(module(shuffled), module(x), **CLOSE)
    assert not torch.allclose(module(x.roll(1, -1)), module(x), **CLOSE)  # what tokens hold does


@pytest.mark.parametrize("per_frame", [True, False])
def test_masked_tokens_are_as_if_they_were_not_there(per_frame: bool) -> None:
    module, x = made(replace(CONFIG, per_frame=per_frame)), torch.randn(2, 3, 6, 12)
    padded = torch.cat((x, torch.full((2, 3, 4, 12), torch.nan)), dim=2)
    padded[:, :, 7:] = 1e4
    mask = torch.arange(10).expand(2, 3, 10) < 6
    torch.testing.assert_close(module(padded, mask), module(x), **CLOSE)
    assert not torch.allclose(module(padded.nan_to_num()), module(x), **CLOSE)


def test_a_picture_without_any_token_is_finite_and_learns_nothing_from_padding() -> None:
    module, x = made(), torch.randn(2, 1, 6, 12, requires_grad=True)
    mask = torch.tensor([True, False])[:, None, None].expand(2, 1, 6)
    out = module(x, mask)
    assert out.isfinite().all()
    out.square().sum().backward()
    assert x.grad[1].eq(0).all()
    assert x.grad[0].ne(0).any()
    assert all(weight.grad.isfinite().all() for weight in module.parameters() if weight.grad is not None)


def test_pictures_of_a_batch_do_not_see_each_other() -> None:
    module, x = made(), torch.randn(4, 2, 6, 12)
    whole = module(x)
    torch.testing.assert_close(torch.cat([module(one[None]) for one in x]), whole, **CLOSE)
    changed = x.clone()
    changed[3] = torch.randn(2, 6, 12)
    torch.testing.assert_close(module(changed)[:3], whole[:3], **CLOSE)
    assert not torch.allclose(module(changed)[3], whole[3], **CLOSE)


def test_one_picture_is_a_video_of_one_frame() -> None:
    module, x = made(), torch.randn(2, 6, 12)
    mask = torch.rand(2, 6) < 0.5
    assert torch.equal(module(x), module(x[:, None]))
    assert torch.equal(module(x, mask), module(x[:, None], mask[:, None]))


def test_frames_are_told_apart_by_their_time() -> None:
    x = torch.randn(1, 1, 6, 12).expand(1, 3, 6, 12)
    for per_frame in (True, False):
        module = made(replace(CONFIG, per_frame=per_frame))
        torch.nn.init.normal_(module.time)
        ordered = torch.randn(1, 3, 6, 12)
        assert not torch.allclose(module(ordered).sum(1), module(ordered.flip(1)).sum(1), **CLOSE)
        with torch.no_grad():
            module.time.zero_()  # and by nothing else
        torch.testing.assert_close(module(ordered).sum(1), module(ordered.flip(1)).sum(1), rtol=0, atol=1e-5)
    module = made()
    out = module(x)
    assert not torch.allclose(out[:, 0], out[:, 1], **CLOSE)
    assert made(replace(CONFIG, frames=1)).time is None


def test_it_is_the_resampler_of_idefics_on_its_weights() -> None:
    idefics = pytest.importorskip("transformers.models.idefics.perceiver")
    from transformers import IdeficsConfig

    width, heads, head_width, latents, depth = 32, 4, 8, 6, 3
    config = IdeficsConfig(vision_config={"embed_dim": width}, perceiver_config={"qk_layer_norms_perceiver": False})
    theirs = idefics.IdeficsPerceiverResampler(config, width, depth, heads, head_width, latents).eval()
    for weight in theirs.parameters():  # norms too: ones and zeros would hide a mix-up
        torch.nn.init.normal_(weight, mean=0.3 if weight.ndim == 1 else 0.0, std=0.3)
    ours = made(
        ResamplerConfig(
            input_width=width, width=width, latents=latents, layers=depth, heads=heads, head_width=head_width,
            feed=4, activation="relu",
        )
    )  # fmt: skip
    names = {
        "0.context_layer_norm": "norm_x", "0.latents_layer_norm": "norm_latents", "0.q_proj": "attention.q",
        "0.k_proj": "attention.k", "0.v_proj": "attention.v", "0.output_proj": "attention.out",
        "1.ln": "feed.norm", "1.fc": "feed.up", "1.c_proj": "feed.down",
    }  # fmt: skip
    weights = {}
    for name, weight in theirs.state_dict().items():
        if name.startswith("blocks."):
            _, layer, rest = name.split(".", 2)
            part, kind = rest.rsplit(".", 1)
            weights[f"layers.{layer}.{names[part]}.{kind}"] = weight
        else:
            weights[name.replace("layer_norm.", "norm.")] = weight
    ours.load_state_dict(weights)  # strict: every weight of both has its counterpart
    x = torch.randn(3, 11, width)
    torch.testing.assert_close(ours(x)[:, 0], theirs(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("per_frame", [True, False])
def test_gradients_reach_every_weight_and_every_latent(per_frame: bool) -> None:
    module = made(replace(CONFIG, per_frame=per_frame)).train()
    out = module(torch.randn(4, 3, 9, 12))
    (out * torch.randn_like(out)).sum().backward()
    for name, weight in module.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.ne(0).any(), name
    assert module.latents.grad.ne(0).any(1).all()
    assert module.time.grad.ne(0).any(1).all()


def test_a_frozen_encoder_stays_as_it_was() -> None:
    encoder = saving.freeze(ImageTower(ImageTowerConfig(size=16, stem=8, width=16)))
    resampler = PerceiverResampler(replace(CONFIG, input_width=16, frames=1))
    before, start = saving.weights_hash(encoder), saving.weights_hash(resampler)
    optimizer = torch.optim.AdamW([*encoder.parameters(), *resampler.parameters()], lr=0.1, weight_decay=0.1)
    tokens, _ = encoder(torch.randint(0, 256, (2, 16, 16, 3), dtype=torch.uint8))
    resampler(tokens).square().mean().backward()
    optimizer.step()
    assert all(weight.grad is None for weight in encoder.parameters())
    assert saving.weights_hash(encoder) == before
    assert saving.weights_hash(resampler) != start


def test_no_matrix_has_a_bias() -> None:
    linear = [module for module in made().modules() if isinstance(module, torch.nn.Linear)]
    assert len(linear) == 2 * 6 + 2
    assert all(module.bias is None for module in linear)


def test_projected_latents_have_the_size_of_the_models_embeddings() -> None:
    wide = ResamplerConfig(input_width=12, width=256, latents=32, output_width=512, output_rms=0.05)
    rms = made(wide)(torch.randn(4, 9, 12)).square().mean().sqrt()
    assert rms.item() == pytest.approx(0.05, rel=0.05)


def test_attention_is_what_the_latents_read() -> None:
    module, x = made(), torch.randn(2, 3, 6, 12)
    mask = torch.ones(2, 3, 6, dtype=torch.bool)
    mask[:, :, 4:] = False
    weights = module.attention(x, mask)
    assert weights.shape == (2, 3, 5, 6)
    assert weights[..., 4:].eq(0).all()
    assert ((weights.sum(-1) > 0) & (weights.sum(-1) < 1)).all()
    with torch.no_grad():  # queries of zeros read all alike, six tokens and five latents
        module.layers[-1].attention.q.weight.mul_(0)
    torch.testing.assert_close(module.attention(x), torch.full((2, 3, 5, 6), 1 / 11), rtol=0, atol=1e-6)
    assert made(replace(CONFIG, per_frame=False)).attention(x).shape == (2, 1, 5, 18)


@pytest.mark.parametrize("per_frame", [True, False])
def test_multiply_adds_are_those_that_torch_counts(per_frame: bool) -> None:
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    config = replace(CONFIG, per_frame=per_frame)
    module, x = made(config), torch.randn(1, 3, 40, 12)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):  # it does not count in the fused one
        saving.freeze(module)(x)
    assert 2 * multiply_adds(config, 40, frames=3) == counter.get_total_flops()


def test_saved_and_loaded_it_says_the_same(tmp_path: Path) -> None:
    module = made()
    module.save(tmp_path / "new")
    again = PerceiverResampler.load(tmp_path / "new")
    assert again.config == module.config
    assert not again.training
    x = torch.randn(2, 2, 6, 12)
    torch.testing.assert_close(again(x), module.half().float()(x), rtol=0, atol=0)
    size = sum(weight.numel() for weight in module.parameters())
    assert (tmp_path / "new" / "resampler.safetensors").stat().st_size < 2 * size + 8192


def test_what_cannot_be_loaded_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"resampler\.json: there is no such file"):
        PerceiverResampler.load(tmp_path)
    made().save(tmp_path)
    weights, config = tmp_path / "resampler.safetensors", tmp_path / "resampler.json"
    told, held = config.read_text(), weights.read_bytes()
    config.write_text(told.replace('"latents": 5', '"latents": 6'))
    with pytest.raises(ModelFileError, match=r"does not hold the weights that resampler\.json describes"):
        PerceiverResampler.load(tmp_path)
    config.write_text(told.replace('"latents"', '"lattents"'))
    with pytest.raises(ModelFileError, match="not the configuration of a resampler"):
        PerceiverResampler.load(tmp_path)
    config.write_text("{")
    with pytest.raises(ModelFileError, match="not JSON"):
        PerceiverResampler.load(tmp_path)
    config.write_text(told)
    weights.write_bytes(held[:100])
    with pytest.raises(ModelFileError, match=r"resampler\.safetensors"):
        PerceiverResampler.load(tmp_path)
    weights.unlink()
    with pytest.raises(ModelNotFound, match=r"resampler\.safetensors"):
        PerceiverResampler.load(tmp_path)


def test_weights_that_are_no_halves_are_refused(tmp_path: Path) -> None:
    module = made()
    with torch.no_grad():
        module.latents[0, 0] = 1e6
    with pytest.raises(ModelFileError, match="latents is not finite in half precision"):
        module.save(tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("x", "mask", "complaint"),
    [
        ((2, 6, 13), None, r"tokens are \(B, T, N, 12\)"),
        ((2, 12), None, r"not \(2, 12\)"),
        ((2, 4, 6, 12), None, "1 to 3 frames, not 4"),
        ((2, 3, 6, 12), (2, 6), r"the mask is bool \(2, 3, 6\)"),
    ],
)
def test_other_shapes_are_refused(x: tuple[int, ...], mask: tuple[int, ...] | None, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        made()(torch.zeros(x), None if mask is None else torch.ones(mask, dtype=torch.bool))


def test_a_mask_of_numbers_is_refused() -> None:
    with pytest.raises(UsageError, match=r"not torch\.float32"):
        made()(torch.zeros(2, 6, 12), torch.ones(2, 6))


def test_sizes_that_make_no_network_are_refused() -> None:
    with pytest.raises(UsageError, match="latents is 0"):
        ResamplerConfig(latents=0)
    with pytest.raises(UsageError, match="'swish' is none of"):
        made(replace(CONFIG, activation="swish"))  # type: ignore[arg-type]
