"""`agentkit train`: what can be asked of this package on the command line.

Everything but click is imported when a command runs, so that its help is quick and needs no extra.
"""

from __future__ import annotations

import re
from pathlib import Path

import click

from agentkit.cli.output import json_option, say
from agentkit_training.export_command import export_gguf, merge_adapter
from agentkit_training.finetune.evaluate_command import evaluate
from agentkit_training.finetune.train_command import METHODS
from agentkit_training.quantize_command import quantize
from agentkit_training.scaling_sweep_command import double, sweep

__all__ = ["train"]

FORMS = ("chinchilla", "kaplan", "data_constrained")
UNITS = {"": 1.0, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}

_file = click.Path(dir_okay=False, path_type=Path)


class Count(click.ParamType[float]):
    """A number that may end in K, M, B or T, as in 70B."""

    name = "number"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number."""
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"([0-9.]+(?:e[+-]?[0-9]+)?)([KMBT]?)", str(value).strip(), re.IGNORECASE)
        try:
            return float(found[1]) * UNITS[found[2].upper()] if found else float(str(value))
        except ValueError:
            self.fail(f"{value!r} is not a number; write 70e9 or 70B", param, ctx)


law_option = click.option(
    "--law",
    default="epoch",
    show_default=True,
    metavar="LAW",
    help="A published law, or a file that `fit --out` wrote.",
)
unique_option = click.option(
    "--unique-tokens", type=Count(), metavar="N", help="Different tokens there are; needs a data_constrained law."
)


@click.group()
def train() -> None:
    """Plan the training of models, and make them smaller.

    \b
    agentkit train scaling allocate 5.76e23
    agentkit train quantize model-f16.gguf --to q4_k_m --text held-out.txt
    """


train.add_command(quantize)
train.add_command(evaluate)
train.add_command(export_gguf)
train.add_command(merge_adapter)
for method in METHODS:
    train.add_command(method)


@train.group()
def scaling() -> None:
    """Fit scaling laws, predict losses, allocate compute.

    N is parameters, D tokens, C = 6ND training FLOPs, and losses are nats per token. Numbers may be written as 70B or 1.4T.
    LAW is epoch, hoffmann, kaplan, muennighoff, or a file that `fit --out` wrote.

    \b
    agentkit train scaling fit runs.csv --out fit.json
    agentkit train scaling predict 70B 1.4T --law fit.json
    agentkit train scaling allocate 1e21 1e22 --law fit.json
    """


scaling.add_command(sweep)
scaling.add_command(double)


@scaling.command("fit")
@click.argument("runs", type=_file)
@click.option("--form", type=click.Choice(FORMS), default=FORMS[0], show_default=True, help="The law's form.")
@click.option(
    "--delta",
    type=float,
    metavar="X",
    default=1e-3,
    show_default=True,
    help="Error of ln loss from which on a run counts linearly.",
)
@click.option(
    "--drop-outliers",
    type=click.IntRange(min=0),
    metavar="N",
    default=0,
    show_default=True,
    help="Leave out the N highest losses.",
)
@click.option(
    "--bootstrap",
    type=click.IntRange(min=0),
    metavar="N",
    default=100,
    show_default=True,
    help="Samples; 0 for no intervals.",
)
@click.option("--seed", type=click.IntRange(min=0), metavar="N", default=0, show_default=True, help="Of the bootstrap.")
@click.option("--out", type=_file, metavar="FILE", help="Keep the fit there, for `predict` and `allocate`.")
@click.option("--plot", type=_file, metavar="FILE", help="Draw the fit and its residuals there, as PNG.")
@click.option("--isoflop", type=_file, metavar="FILE", help="Draw the loss along equal compute there, as PNG.")
@json_option
def fit_(
    runs: Path,
    form: str,
    delta: float,
    drop_outliers: int,
    bootstrap: int,
    seed: int,
    out: Path | None,
    plot: Path | None,
    isoflop: Path | None,
    as_json: bool,
) -> None:
    """Fit a law to RUNS, a CSV or JSON Lines file.

    Columns are params, loss, and tokens or flops; unique_tokens where tokens are repeated.

    \b
    agentkit train scaling fit runs.csv
    agentkit train scaling fit runs.csv --drop-outliers 5 --out fit.json --plot fit.png
    agentkit train scaling fit runs.jsonl --form data_constrained --json
    """
    from agentkit_training.scaling import fit, read_runs, save_fit
    from agentkit_training.scaling.plots import budgets_of, plot_fit, plot_isoflop
    from agentkit_training.scaling.report import show_fit

    found = fit(read_runs(runs), form=form, delta=delta, drop_outliers=drop_outliers, bootstrap=bootstrap, seed=seed)
    if out is not None:
        save_fit(found, out)
    if plot is not None:
        plot_fit(found, plot)
    if isoflop is not None:
        plot_isoflop(found, budgets_of(found.runs), isoflop)
    show_fit(found, as_json)
    _wrote(out, plot, isoflop)


@scaling.command("predict")
@click.argument("params", type=Count(), metavar="N")
@click.argument("tokens", type=Count(), metavar="D")
@unique_option
@law_option
@click.option("--plot", type=_file, metavar="FILE", help="Draw the loss along the same compute there, as PNG.")
@json_option
def predict_(
    params: float, tokens: float, unique_tokens: float | None, law: str, plot: Path | None, as_json: bool
) -> None:
    """Predict the loss of N parameters trained on D tokens.

    \b
    agentkit train scaling predict 70B 1.4T
    agentkit train scaling predict 6.34B 242B --unique-tokens 25B --law muennighoff
    agentkit train scaling predict 70B 1.4T --law fit.json --json
    """
    from agentkit_training.scaling.law import FLOPS_PER_PARAM_TOKEN
    from agentkit_training.scaling.plots import plot_isoflop
    from agentkit_training.scaling.report import found_law, show_prediction
    from agentkit_training.scaling.using import predict

    chosen = found_law(law)
    found = predict(chosen, params, tokens, unique_tokens)
    if plot is not None:
        budget = FLOPS_PER_PARAM_TOKEN * params * tokens
        plot_isoflop(chosen, [budget], plot, unique_tokens=unique_tokens, marked=(params, found.loss))
    asked = {"params": params, "tokens": tokens} | ({} if unique_tokens is None else {"unique_tokens": unique_tokens})
    show_prediction(asked, found, as_json)
    _wrote(plot)


@scaling.command("allocate")
@click.argument("flops", type=Count(), metavar="C...", nargs=-1, required=True)
@unique_option
@law_option
@click.option("--plot", type=_file, metavar="FILE", help="Draw the loss along each budget there, as PNG.")
@json_option
def allocate_(
    flops: tuple[float, ...], unique_tokens: float | None, law: str, plot: Path | None, as_json: bool
) -> None:
    """Say which N and D a budget of C training FLOPs is best spent on.

    \b
    agentkit train scaling allocate 5.76e23
    agentkit train scaling allocate 1e20 1e21 1e22 --law fit.json --plot isoflop.png
    agentkit train scaling allocate 1e22 --unique-tokens 25B --law muennighoff
    """
    from agentkit_training.scaling.plots import plot_isoflop
    from agentkit_training.scaling.report import found_law, show_allocations
    from agentkit_training.scaling.using import allocate

    chosen = found_law(law)
    found = [allocate(budget, law=chosen, unique_tokens=unique_tokens) for budget in flops]
    if plot is not None:
        plot_isoflop(chosen, flops, plot, unique_tokens=unique_tokens)
    show_allocations(found, as_json)
    _wrote(plot)


def _wrote(*paths: Path | None) -> None:
    for path in paths:
        if path is not None:
            say(f"wrote {path}")
