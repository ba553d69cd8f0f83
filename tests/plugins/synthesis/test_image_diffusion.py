"""Reference values and identities of diffusion; nothing here is trained for longer than a moment."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from torch import Tensor

from agentkit.errors import InvalidParams, JobError
from agentkit_synthesis.images.diffusion.design import Design, design_for
from agentkit_synthesis.images.diffusion.network import Denoiser, dropped, nulled
from agentkit_synthesis.images.diffusion.sampling import guided, noise_for, run_sampler, sampler_for, scheduler_for
from agentkit_synthesis.images.diffusion.training import Recipe, Trainer, as_tensor, diffusion_loss, fit
from agentkit_synthesis.images.labelled import UNKNOWN, LabelledImages

VALUES = {"shape": ("a", "b", "c"), "colour": ("r", "g")}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tiny(**changes: Any) -> Design:
    return design_for(8, 1, VALUES, widths=(8, 16), **changes)


def some_images(count: int = 24) -> LabelledImages:
    rng = np.random.default_rng(0)
    labels = {"shape": rng.integers(0, 3, count), "colour": rng.integers(-1, 2, count)}
    pixels = rng.integers(0, 256, (count, 8, 8, 1), dtype=np.uint8)
    return LabelledImages(pixels=pixels, labels=labels, values=VALUES, names=("",) * count, source="test")


@pytest.mark.parametrize(
    ("schedule", "ends", "last", "middle"),
    [
        ("linear", (1e-4, 0.02), 4.0358e-5, 0.078587),
        ("scaled_linear", (1e-4, 0.02), 7.334e-4, None),
        ("scaled_linear", (0.00085, 0.012), 4.6601e-3, None),
    ],
)
def test_schedules_have_their_published_ends(
    schedule: str, ends: tuple[float, float], last: float, middle: float | None
) -> None:
    found = DDPMScheduler(1000, beta_start=ends[0], beta_end=ends[1], beta_schedule=schedule).alphas_cumprod
    assert float(found[-1]) == pytest.approx(last, rel=1e-4)
    assert middle is None or float(found[499]) == pytest.approx(middle, rel=1e-4)


def test_a_design_says_its_schedule() -> None:
    found = scheduler_for(tiny(schedule="linear"))
    assert float(found.alphas_cumprod[-1]) == pytest.approx(4.0358e-5, rel=1e-4)
    assert float(scheduler_for(tiny()).alphas_cumprod[-1]) < 1e-6  # the cosine ends in noise alone
    assert Design.from_json(tiny().to_json()) == tiny()


@pytest.mark.parametrize("size", [4, 12, 72])
def test_sizes_that_cannot_be_halved_are_refused(size: int) -> None:
    with pytest.raises(InvalidParams, match="multiple of 8"):
        design_for(size, 1, VALUES)


def test_noising_is_what_the_paper_has() -> None:
    scheduler = scheduler_for(tiny(schedule="linear"))
    clean, noise, timestep = torch.randn(5, 1, 8, 8), torch.randn(5, 1, 8, 8), torch.tensor([0, 10, 499, 900, 999])
    kept = scheduler.alphas_cumprod[timestep].view(-1, 1, 1, 1)
    expected = kept.sqrt() * clean + (1 - kept).sqrt() * noise
    torch.testing.assert_close(scheduler.add_noise(clean, noise, timestep), expected)
    velocity = kept.sqrt() * noise - (1 - kept).sqrt() * clean
    torch.testing.assert_close(scheduler.get_velocity(clean, noise, timestep), velocity)


def trained_a_little() -> Denoiser:
    """Return a network whose weights are not zero where they begin at zero."""
    torch.manual_seed(0)
    network = Denoiser(tiny())
    torch.nn.init.normal_(network.unet.conv_out.weight, std=0.1)
    return network.eval()


def test_guidance_at_one_is_conditional_and_at_zero_unconditional() -> None:
    network, noisy, timestep = trained_a_little(), torch.randn(3, 1, 8, 8), torch.tensor(400)
    labels, nulls = torch.tensor([[0, 1], [1, 0], [2, 1]]), tiny().nulls
    with torch.no_grad():
        conditional = network(noisy, timestep.expand(3), labels)
        unconditional = network(noisy, timestep.expand(3), torch.tensor([nulls] * 3))
        assert torch.equal(guided(network, labels, nulls, 1.0)(noisy, timestep), conditional)
        assert torch.equal(guided(network, labels, nulls, 0.0)(noisy, timestep), unconditional)
        assert not torch.allclose(conditional, unconditional)
        for scale in (0.5, 1.0 + 1e-9, 3.0):
            found = guided(network, labels, nulls, scale)(noisy, timestep)
            torch.testing.assert_close(found, unconditional + scale * (conditional - unconditional))


def test_the_sum_of_embeddings_is_what_conditions() -> None:
    network, noisy, timestep = trained_a_little(), torch.randn(2, 1, 8, 8), torch.tensor([3, 700])
    labels = torch.tensor([[2, 0], [1, 2]])
    with torch.no_grad():
        given = network.attributes[0].weight[labels[:, 0]] + network.attributes[1].weight[labels[:, 1]]
        expected = network.unet(noisy, timestep, class_labels=given).sample
        torch.testing.assert_close(network(noisy, timestep, labels), expected)


def test_patches_are_taken_apart_and_put_together() -> None:
    network = Denoiser(design_for(16, 3, VALUES, widths=(8, 16), patch=2))
    assert network.unet.config.in_channels == 12
    assert network.unet.config.sample_size == 8
    assert network(torch.randn(2, 3, 16, 16), torch.tensor([1, 2]), torch.zeros(2, 2, dtype=torch.int64)).shape == (
        2,
        3,
        16,
        16,
    )


def test_dropped_labels_are_nulls_at_the_rate() -> None:
    labels, nulls = torch.randint(0, 2, (20_000, 2)), (3, 2)
    found = dropped(labels, nulls, 0.2, generator=torch.Generator().manual_seed(0))
    gone = found == torch.tensor(nulls)
    assert float(gone.all(1).float().mean()) == pytest.approx(0.2 + 0.8 * 0.01, abs=0.01)
    assert float(gone[:, 0].float().mean()) == pytest.approx(0.2 + 0.8 * 0.1, abs=0.01)
    assert torch.equal(found[~gone], labels[~gone])
    one = dropped(labels[:, :1], nulls[:1], 0.2, generator=torch.Generator().manual_seed(0))
    assert float((one == 3).float().mean()) == pytest.approx(0.2, abs=0.01)
    assert nulled(torch.tensor([[UNKNOWN, 1], [0, UNKNOWN]]), nulls).tolist() == [[3, 1], [0, 2]]


def test_training_reaches_the_null_class() -> None:
    trainer = Trainer(some_images(), tiny(), Recipe(steps=6, batch=24, drop=0.3))
    before = [table.weight[-1].detach().clone() for table in trainer.network.attributes]
    for _ in range(6):
        trainer.advance()
    for table, old in zip(trainer.network.attributes, before, strict=True):
        assert not torch.equal(table.weight[-1], old)


def test_the_loss_of_an_untrained_model_is_one() -> None:
    design, clean = tiny(prediction="epsilon"), torch.rand(512, 1, 8, 8) * 2 - 1
    network, labels = Denoiser(design), torch.zeros(512, 2, dtype=torch.int64)
    chance = torch.Generator().manual_seed(0)
    loss = diffusion_loss(network, scheduler_for(design), clean, labels, generator=chance)
    assert float(loss.detach()) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_the_true_answer_has_no_loss_and_min_snr_weighs_it(prediction: Any) -> None:
    design, clean = tiny(prediction=prediction), torch.rand(64, 1, 8, 8)
    scheduler, labels = scheduler_for(design), torch.zeros(64, 2, dtype=torch.int64)

    def knowing(noisy: Tensor, timestep: Tensor, _: Tensor) -> Tensor:
        kept = scheduler.alphas_cumprod[timestep].view(-1, 1, 1, 1)
        noise = (noisy - kept.sqrt() * clean) / (1 - kept).sqrt()
        return {"epsilon": noise, "sample": clean}.get(prediction, kept.sqrt() * noise - (1 - kept).sqrt() * clean)

    def off_by_one(noisy: Tensor, timestep: Tensor, rows: Tensor) -> Tensor:
        return knowing(noisy, timestep, rows) + 1

    def loss(network: Any, min_snr: float | None = None) -> float:
        chance = torch.Generator().manual_seed(0)
        return float(diffusion_loss(network, scheduler, clean, labels, generator=chance, min_snr=min_snr))

    assert loss(knowing) < 1e-6
    assert loss(off_by_one) == pytest.approx(1.0, rel=1e-3)
    timestep = torch.randint(1000, (64,), generator=torch.Generator().manual_seed(0))
    snr = scheduler.alphas_cumprod[timestep] / (1 - scheduler.alphas_cumprod[timestep])
    over = {"epsilon": snr, "sample": torch.ones(64)}.get(prediction, snr + 1)
    assert loss(off_by_one, 5.0) == pytest.approx(float((snr.clamp(max=5.0) / over).mean()), rel=1e-3)


@pytest.mark.parametrize("kind", ["ddpm", "ddim"])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_samplers_return_the_gaussian_whose_score_is_known(kind: Any, prediction: Any) -> None:
    """Data N(0, I): the best prediction of the noise is sqrt(1 - abar) x, and that of the velocity is 0."""
    base = DDPMScheduler(1000, prediction_type=prediction, timestep_spacing="trailing", clip_sample=False)
    sampler = sampler_for(base, kind)

    def oracle(noisy: Tensor, timestep: Tensor) -> Tensor:
        kept = base.alphas_cumprod[timestep]
        return (1 - kept).sqrt() * noisy if prediction == "epsilon" else torch.zeros_like(noisy)

    noise, generators = noise_for(range(40), (1, 16, 16))
    found = run_sampler(oracle, sampler, noise, steps=1000, generators=generators if kind == "ddpm" else None)
    assert float(found.var()) == pytest.approx(1.0, abs=0.05)
    assert float(found.mean()) == pytest.approx(0.0, abs=0.05)


def test_few_steps_of_ddim_lose_the_variance_that_they_must() -> None:
    """With the oracle of N(0, I) a step is a turn: it multiplies by cos of the angle, tan of which is noise over signal."""
    base = DDPMScheduler(1000, timestep_spacing="trailing")
    sampler, noise = sampler_for(base, "ddim"), torch.randn(2, 1, 8, 8)
    found = run_sampler(lambda noisy, at: (1 - base.alphas_cumprod[at]).sqrt() * noisy, sampler, noise, steps=20)
    kept = base.alphas_cumprod[np.arange(999, 0, -50)]
    angles = torch.cat([torch.acos(kept.sqrt()), torch.zeros(1)])
    torch.testing.assert_close(found, noise * float(torch.cos(angles[:-1] - angles[1:]).prod()), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["ddpm", "ddim"])
def test_samplers_return_the_mixture_whose_score_is_known(kind: Any) -> None:
    """Data 0.3 N(-2, 0.1^2) + 0.7 N(1, 0.1^2) in every pixel: weights, means and widths come back without any training."""
    weights, means, width = torch.tensor([0.3, 0.7]), torch.tensor([-2.0, 1.0]), 0.1
    base = DDPMScheduler(1000, beta_schedule="squaredcos_cap_v2", timestep_spacing="trailing", clip_sample=False)

    def oracle(noisy: Tensor, timestep: Tensor) -> Tensor:
        kept = base.alphas_cumprod[timestep]
        spread = kept * width**2 + 1 - kept
        distance = noisy[..., None] - kept.sqrt() * means
        share = (weights.log() - distance.square() / (2 * spread)).softmax(-1)
        return (1 - kept).sqrt() * (share * distance).sum(-1) / spread  # minus the score, times its deviation

    noise, generators = noise_for(range(16), (1, 16, 16))
    found = run_sampler(
        oracle, sampler_for(base, kind), noise, steps=200, generators=generators if kind == "ddpm" else None
    )
    left, right = found[found < -0.5], found[found >= -0.5]
    assert len(left) / found.numel() == pytest.approx(0.3, abs=0.03)
    assert float(left.mean()) == pytest.approx(-2.0, abs=0.03)
    assert float(right.mean()) == pytest.approx(1.0, abs=0.03)
    assert float(right.std()) == pytest.approx(width, rel=0.25)


def test_ddim_keeps_noise_and_image_together() -> None:
    """diffusers clips the image of DDIM and leaves its noise, which sends guided samples astray; it must be off."""
    found = sampler_for(scheduler_for(tiny()), "ddim")
    assert isinstance(found, DDIMScheduler)
    assert found.config.clip_sample is False
    assert found.config.prediction_type == "v_prediction"
    assert found.config.beta_schedule == "squaredcos_cap_v2"


def test_noise_depends_on_its_own_seed_alone() -> None:
    one, _ = noise_for([3, 4, 5], (1, 8, 8))
    other, _ = noise_for([5], (1, 8, 8))
    assert torch.equal(one[2], other[0])


def test_the_average_is_that_of_the_weights() -> None:
    trainer = Trainer(some_images(), tiny(), Recipe(steps=8, batch=8, ema=0.9))
    average = [weight.detach().clone() for weight in trainer.network.parameters()]
    for step in range(1, 9):
        trainer.advance()
        decay = 0.0 if step == 1 else min(0.9, step / (9 + step))  # diffusers: (1 + n) / (10 + n) with n = step - 1
        average = [decay * old + (1 - decay) * new.detach() for old, new in zip(average, trainer.network.parameters(), strict=True)]  # fmt: skip
    for found, expected in zip(trainer.averaged().parameters(), average, strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_stopped_and_resumed_training_is_the_same_to_the_bit(tmp_path: Path, precision: Any) -> None:
    recipe = Recipe(steps=9, batch=10, save_every=4, precision=precision)

    def weights(*stops: int) -> bytes:
        folder = tmp_path / ("-".join(map(str, stops)) or "whole")
        folder.mkdir()
        for stop in (*stops, 99):
            trainer = Trainer(some_images(), tiny(), recipe)
            network = fit(trainer, folder, told=lambda step, loss: None, should_stop=lambda: trainer.step == stop)  # noqa: B023
        assert network is not None
        buffer = io.BytesIO()
        np.savez(buffer, *[one.numpy() for one in network.parameters()])
        return buffer.getvalue()

    assert weights(3, 5) == weights()


def test_a_rate_that_is_too_high_is_said_to_be() -> None:
    trainer = Trainer(some_images(), tiny(), Recipe(steps=50, batch=8))
    with torch.no_grad():
        trainer.network.unet.conv_in.weight.fill_(float("nan"))
    with pytest.raises(JobError, match="lower learning rate"):
        trainer.advance()


def test_every_image_is_seen_once_before_any_is_seen_twice() -> None:
    trainer = Trainer(some_images(24), tiny(), replace(Recipe(steps=6, batch=8)))
    seen = []
    for step in range(6):
        trainer.step = step
        seen += trainer._rows().tolist()
    assert sorted(seen[:24]) == sorted(seen[24:]) == list(range(24))
    assert seen[:24] != seen[24:]
    assert as_tensor(some_images().pixels).shape == (24, 1, 8, 8)
