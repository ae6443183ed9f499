"""The flags of a study, in addition to those of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from regplug.cli.config_options import suggesting
from regplug.config import RunConfig
from regplug.config.params import describe_params
from regplug.errors import RequestError

if TYPE_CHECKING:
    from regplug.studies.design.config import StudyConfig

StudyFile = Annotated[
    str | None,
    typer.Argument(metavar="[STUDY]", help="A TOML or YAML file with fields of the study and of its runs."),
]
Grid = Annotated[
    list[str] | None,
    typer.Option(
        "--grid",
        metavar="<axis>",
        help="Vary an axis: AXIS=v1,v2, AXIS=log(1e-4,1,16) or AXIS=linear(0,1,5), such as lr=0.1,0.2 or "
        "reg=none,dropout,l2+dropout; repeats: runs the product of all axes.",
        show_default=False,
    ),
]
Zip = Annotated[
    list[str] | None,
    typer.Option("--zip", metavar="<axis>", help="Vary this axis together with the others of --zip; repeats."),
]
Seeds = Annotated[
    int | None,
    typer.Option(
        "--seeds", help="Number of runs of each setting, with consecutive seeds from --seed.", show_default=False
    ),
]
DataSeeds = Annotated[
    int | None,
    typer.Option(
        "--data-seeds", help="Number of splits, or of generated datasets, of each setting.", show_default=False
    ),
]
PairSeeds = Annotated[
    bool | None,
    typer.Option("--pair-seeds", help="Give each seed its own data seed.", show_default=False),
]
Metric = Annotated[
    str | None,
    typer.Option(
        "--metric",
        help="Metric that chooses the best setting; never test/...  [default: valid/accuracy or valid/loss]",
        show_default=False,
    ),
]
BestOf = Annotated[
    str | None,
    typer.Option(
        "--best-of",
        metavar="<what>",
        help="Compare each setting at its best, chosen on validation: strength chooses the numbers of the "
        'regularizers, as in --grid "reg=l2:strength=0|1e-2"; 3 also tries three strengths of each regularizer that is '
        "written without any; the name of an axis chooses its value.",
        show_default=False,
    ),
]
Tune = Annotated[
    list[str] | None,
    typer.Option(
        "--tune",
        metavar="<axis>",
        help="Choose the value of this axis for every setting alike, on validation, such as lr=0.05,0.1,0.2; repeats.",
        show_default=False,
    ),
]
Factorial = Annotated[
    str | None,
    typer.Option(
        "--factorial",
        metavar="<regs>",
        help="Run every combination of these regularizers on and off, such as dropout,l2:strength=1e-3, and test main "
        "effects and interactions.",
        show_default=False,
    ),
]
Minimize = Annotated[
    bool | None,
    typer.Option(
        "--minimize/--maximize",
        help="Whether lower or higher values of the metric are better.  [default: the metric's name decides]",
        show_default=False,
    ),
]
Baseline = Annotated[
    str | None,
    typer.Option(
        "--baseline",
        metavar="<setting>",
        help="Setting with which the others are compared.  [default: the base run, without the regularizers that "
        "vary; it is added to the grid if it is not there]",
        show_default=False,
    ),
]
AllPairs = Annotated[
    bool | None,
    typer.Option("--all-pairs", help="Compare every setting with every other.", show_default=False),
]
FinalSeeds = Annotated[
    int | None,
    typer.Option(
        "--final-seeds",
        help="Train the best setting again with this many seeds; the best of these runs is exported.  [default: 1]",
        show_default=False,
        min=1,
    ),
]
Folds = Annotated[
    int | None, typer.Option("--folds", help="Number of folds; each is the validation split once.", min=2)
]
Repeats = Annotated[int | None, typer.Option("--repeats", help="Number of times that new folds are drawn.")]
Group = Annotated[
    str | None, typer.Option("--group", help="Column of a csv; rows with the same value in it stay in one fold.")
]


def read_study(kind: str, given: Mapping[str, Any], file: str | None, own: Mapping[str, Any]) -> StudyConfig:
    """Returns the study given by the flags.

    Args:
        kind: `sweep` or `cv`.
        given: The flags of a run.
        file: The study file; `--config` may name it as well.
        own: Flags of the study by field; `None` if not given.

    Raises:
        RequestError: A value is not allowed, or a file cannot be read.
    """
    from regplug.studies.design.config import load_study

    config = given["config"]
    if file is not None and config is not None:
        raise RequestError(f"Two files are given, {file} and {config}.", hint="Name one.")
    flags = {info.name: given[info.name] for info in describe_params(RunConfig)}
    studied = {name: tuple(value) if isinstance(value, list) else value for name, value in own.items()}
    return load_study(
        Path(file) if file else config, given["set_"] or (), {**flags, **studied}, kind=kind, suggest=suggesting(given)
    )
