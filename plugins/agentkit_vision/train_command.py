"""`agentkit see train`: an encoder of pictures and a resampler, trained from scratch."""

from __future__ import annotations

from agentkit.cli.job_command import JobCommand

__all__ = ["train"]

train = JobCommand(
    "train",
    job="agentkit_vision.training.jobs:TRAIN",
    params="agentkit_vision.training.params:TrainVisionParams",
    needs=("torch", "transformers", "safetensors", "PIL"),
    extra="vision",
    help="""Train a model that sees: an image encoder, and a resampler whose rows a language model reads.

    The language model stays as it is. The encoder learns from the pictures and their attributes which belong together; the
    resampler learns questions and captions that are made of the attributes. Ctrl-C ends it after a checkpoint; the same command
    goes on from there.

    \\b
    agentkit see train eyes --data shop-images --language-model ./sprout-hf --gguf ./sprout.gguf
    agentkit see train eyes --data shop-images --language-model ./sprout-hf --plan
    """,
)
