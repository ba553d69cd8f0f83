"""`agentkit synth images`, `train-images` and `image`: labelled images to order, models of them, and one of them again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agentkit.cli.job_command import JobCommand
from agentkit.cli.output import pairs, say

if TYPE_CHECKING:
    from agentkit.jobs import JobResult

__all__ = ["image", "images", "train_images"]

NEEDS = ("torch", "diffusers", "safetensors", "sklearn", "PIL")


class ImageCommand(JobCommand):
    """A job's command that also says what was left out, and where to look."""

    def show(self, done: JobResult, params: Mapping[str, Any], folder: Path) -> None:
        """Print the figures; shares of attributes one a line."""
        told: dict[str, Any] = {}
        for name, value in done.metrics.items():
            nested = value.items() if isinstance(value, Mapping) else [("", value)]
            told |= {f"{name}: {key}" if key else name: one for key, one in nested}
        pairs({name: f"{value:.5g}" if isinstance(value, float) else value for name, value in told.items()})
        self.show_warnings(done)
        sheet = Path(str(params["out"])) / "contact.png"
        if sheet.exists():
            say(f"look at {sheet}")


images = ImageCommand(
    "images",
    job="agentkit_synthesis.images.jobs:IMAGES",
    params="agentkit_synthesis.images.params:ImagesParams",
    needs=NEEDS,
    extra="synth",
    help="""Make labelled images in OUT: sampled from a diffusion model, and kept where a judge confirms every label.

    The judge is a classifier that is trained on real images only. A model that is not here yet is trained first, minutes on two
    cores, and kept for the next call. With --method render products are drawn instead, with exact labels and boxes.

    \b
    agentkit synth images digits --count 1000
    agentkit synth images red --source products --count 200 --where shape=circle --where colour=red
    agentkit synth images more --source ./my-photos --count 500 --plan
    agentkit synth images drawn --method render --count 5000
    agentkit synth images shop --method render --source shop --size 48 --count 30000 --without category=shoe,colour=blue
    agentkit synth images look --source products --preview
    agentkit synth images cats --model ./stable-diffusion --where 'animal=cat|dog' --count 20
    """,
)

train_images = ImageCommand(
    "train-images",
    job="agentkit_synthesis.images.jobs:TRAIN_IMAGES",
    params="agentkit_synthesis.images.params:TrainImagesParams",
    needs=NEEDS,
    extra="synth",
    help="""Train a diffusion model of labelled images, and the judge of its labels, into the folder OUT.

    A folder of images says its labels by folders (class/image.png), by a CSV (file,colour,shape), or by metadata.jsonl.

    \b
    agentkit synth train-images digits-model
    agentkit synth train-images shapes --source products --attributes shape --attributes colour
    agentkit synth train-images mine --source ./my-photos --size 32 --skip-bad
    """,
)


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.argument("id")
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
def image(folder: Path, id: str, out: Path) -> None:
    """Make one image of the data set in FOLDER again, from its ID, into the PNG file OUT.

    \b
    agentkit synth image digits images-0-17 seventeen.png
    """
    from agentkit.extensions import Plugin

    Plugin(name="image", needs=NEEDS, extra="synth").require()
    from agentkit_synthesis.images.files import png, put
    from agentkit_synthesis.images.remaking import remake

    put(out, png(remake(folder, id)))
    say(f"wrote {out}")
