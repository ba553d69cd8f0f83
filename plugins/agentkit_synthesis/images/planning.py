"""What the image jobs would do, resolved, and what it would cost; and where the models they train are kept."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agentkit import config
from agentkit.errors import InvalidParams
from agentkit.jobs import JobPlan, config_hash
from agentkit_synthesis.images.balance import cells, named, product_combinations
from agentkit_synthesis.images.costs import Costs, sampling_cost, training_cost
from agentkit_synthesis.images.diffusion.design import Design, design_for
from agentkit_synthesis.images.drawn import PREVIEWED, plan_drawn, world
from agentkit_synthesis.images.finishing import Order
from agentkit_synthesis.images.fitting import design_of, divided, images_of, precision_of, recipe_of
from agentkit_synthesis.images.made import FREE, asked
from agentkit_synthesis.images.modelling import ABOUT, about_model
from agentkit_synthesis.images.params import ImagesParams, SourceParams, TrainImagesParams
from agentkit_synthesis.images.pipelines import GUIDANCE, STEPS, find_pipeline
from agentkit_synthesis.images.worlds import WORLDS

__all__ = ["cached_folder", "is_drawn", "order_for", "plan_images", "plan_training", "threads_of"]

UNJUDGED = "nothing verifies labels without real images (source)"


def threads_of(params: SourceParams) -> int:
    """Return how many threads torch is to use."""
    return params.threads or os.cpu_count() or 1


def cached_folder(params: SourceParams) -> Path:
    """Return where the model of these params is kept once it is trained."""
    digest = config_hash("train-images", _training_config(params), params.seed)
    return config.data_dir() / "images" / "models" / digest[:24]


def is_drawn(params: ImagesParams) -> bool:
    """Whether the images are drawn: as asked for, or for a preview of products that no model has been trained for."""
    if params.method == "render":
        return True
    no_model = params.model is None and params.real in WORLDS
    return params.preview and no_model and not (cached_folder(params) / ABOUT).is_file()


def order_for(params: ImagesParams) -> Order:
    """Resolve what is asked for; reads the source where that is needed.

    Raises:
        InvalidParams, ModelFileError: it cannot be made.
    """
    count = PREVIEWED if params.preview else params.count
    own = Path(params.model).expanduser() if params.model else cached_folder(params)
    if params.model and not (own / ABOUT).is_file():
        return _pipeline_order(params, count)
    if (own / ABOUT).is_file():
        told = about_model(own)
        design = Design.from_json(told["design"])
        with np.load(own / "reference.npz") as kept:
            possible = kept["possible"]
        precision = told["about"]["recipe"]["precision"]
        provenance = {"model": told["sha256"]} if params.model else _training_config(params)
    else:
        images = images_of(params)
        _, labelled, _ = divided(params, images)
        design = design_of(params, images)
        drawn = WORLDS.get(params.real)
        possible = product_combinations(images.attributes, drawn) if drawn else np.unique(labelled.table, axis=0)
        precision, provenance = precision_of(params), _training_config(params)
    wanted, spare = cells(
        design.values, possible, count, params.where, without=params.without, only=params.only, seed=params.seed
    )
    return Order(
        method="diffusion", model=str(own), trained=(own / ABOUT).is_file(), values=design.values, size=design.size,
        channels=design.channels, precision=precision, provenance=provenance, at_once=params.at_once or (16 if params.preview else 64),
        wanted=wanted, spare=spare,
        steps=params.sampling_steps or (30 if params.sampler == "ddim" else 1000),
        guidance=1.5 if params.guidance is None else params.guidance,
    )  # fmt: skip


def plan_images(params: ImagesParams) -> JobPlan:
    """Return the plan of images to order."""
    if is_drawn(params):
        return plan_drawn(params)
    order, threads = order_for(params), threads_of(params)
    told = {**asked(params), "threads": threads, "provenance": dict(order.provenance)}
    count, costs = len(order.wanted), Costs()
    if order.method == "diffusion":
        design = design_for(order.size, order.channels, order.values)
        costs = sampling_cost(design, count, at_once=order.at_once, steps=order.steps, guidance=order.guidance, threads=threads, precision=order.precision)  # fmt: skip
        if not order.trained and not params.preview:
            costs += training_cost(design, recipe_of(params), params.judging, params.rendered, threads)
    if order.method == "pipeline":
        why = f"{count} images from {order.model}; " + ("labels are judged" if params.source else UNJUDGED)
    elif order.trained:
        why = f"{count} images from the model in {order.model}, kept where its judge confirms all labels"
    else:
        why = f"no model of {params.real} is here yet: one is trained first and kept in {order.model}"
    return JobPlan(
        config=told, flops=costs.flops, seconds=costs.seconds, memory_bytes=costs.memory_bytes,
        disk_bytes=costs.disk_bytes, backend=f"diffusers, {threads} threads", why=why,
    )  # fmt: skip


def plan_training(params: TrainImagesParams) -> JobPlan:
    """Return the plan of a training."""
    images, threads = images_of(params), threads_of(params)
    seen, labelled, held_out = divided(params, images)
    design, recipe = design_of(params, images), recipe_of(params)
    costs = training_cost(design, recipe, params.judging, len(images), threads)
    return JobPlan(
        config={**_training_config(params), "threads": threads, "images": len(seen), "labelled": len(labelled)},
        flops=costs.flops, seconds=costs.seconds, memory_bytes=costs.memory_bytes, disk_bytes=costs.disk_bytes,
        backend=f"diffusers, {threads} threads",
        why=f"{images.size} x {images.size} images of {images.source}: {len(seen)} to learn from, {len(labelled)} of them"
        f" labelled, {len(held_out)} held out; {recipe.steps} steps of {recipe.batch}",
    )  # fmt: skip


def _training_config(params: SourceParams) -> dict[str, Any]:
    """Return what a model depends on."""
    fields = {name: getattr(params, name) for name in SourceParams.model_fields if name not in FREE}
    digest = world(params.real) if params.real in WORLDS else images_of(params).digest
    return {
        **fields,
        "source": params.real,
        "precision": precision_of(params),
        "train_steps": params.steps,
        "judge_steps": params.judging,
        "digest": digest,
    }


def _pipeline_order(params: ImagesParams, count: int) -> Order:
    provenance = {"pipeline": find_pipeline(str(params.model))}
    if params.source is None:
        values = _told(params.where)
        possible = np.stack(np.meshgrid(*(np.arange(len(found)) for found in values.values()), indexing="ij"), -1)
        possible = possible.reshape(-1, len(values)).astype(np.int64)
    else:
        images = images_of(params)
        _, labelled, _ = divided(params, images)
        values, possible = dict(images.values), np.unique(labelled.table, axis=0)
        provenance["digest"] = images.digest
    wanted, spare = cells(
        values, possible, count, params.where, without=params.without, only=params.only, seed=params.seed
    )
    return Order(
        method="pipeline", model=str(params.model), values=values, wanted=wanted, spare=spare, size=0,
        provenance=provenance, at_once=params.at_once or 4, steps=params.sampling_steps or STEPS,
        guidance=GUIDANCE if params.guidance is None else params.guidance,
    )  # fmt: skip


def _told(where: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the values that conditions themselves name, where there are no real images to say which there are."""
    found: dict[str, tuple[str, ...]] = {}
    for n, condition in enumerate(where):
        name, equals, told = (part.strip() for part in condition.partition("="))
        if not equals or not told:
            raise InvalidParams(f"/where/{n}: {condition!r} is no condition; write attribute=value")
        found.setdefault(name, tuple(one.strip() for one in told.split("|")))
    if not found:
        raise InvalidParams(
            "/where: a pipeline without real images needs to be told what to draw: attribute=value|value"
        )
    named(where, found)
    return found
