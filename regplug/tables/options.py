"""Options for a table of the user's own. Needs no numpy."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Lt

from regplug.api import Parameters

SUITED_SETTINGS = ("lr=0.1", "schedule=cosine")
"""Settings of a run that suit tables of many sizes. With a constant rate of 0.2 some regressions diverge."""


def split_targets(text: str, names: Collection[str]) -> tuple[str, ...]:
    """Returns the columns that `target` names: a name that exists, else the parts between commas.

    Args:
        text: The value of `target`; a name with a comma is in double quotes.
        names: The columns of the table.

    >>> split_targets("a, b", ["a", "b", "c"]), split_targets("a, b", ["a, b"])
    (('a', 'b'), ('a, b',))
    """
    if text in names:
        return (text,)
    return tuple(name.strip() for name in next(csv.reader([text], skipinitialspace=True), []))


def join_targets(names: Iterable[str]) -> str:
    """Returns the value of `target` that names several columns.

    >>> join_targets(["a", "b,c"])
    'a,"b,c"'
    """
    return ",".join(f'"{name}"' if set(name) & set(',"') else name for name in names)


class TableOptions(Parameters):
    """Options for a table, whether it was read from a file or is a data frame."""

    target: str = ""
    "Column to predict; empty for the last one. Several columns, a,b,c, are labels of 0 and 1, or several quantities."
    task: Literal["auto", "classification", "regression"] = "auto"
    "auto: classification if the target is text or has at most 20 different whole numbers, else regression."
    group: str = ""
    "Column of groups: rows with the same value stay in one split and in one fold. Not an input. Empty for none."
    order: str = ""
    "Column that orders the rows: the last rows are for testing, those before them for validation. Not an input."
    weight: str = ""
    "Column with the weight of each row in the training loss. Not an input. Empty for none."
    balance: bool = False
    "Whether all classes count equally: each training row gets the weight rows / (classes * rows of its class)."
    drop: tuple[str, ...] = ()
    "Columns to leave out."
    categories: tuple[str, ...] = ()
    "Columns of numbers to treat as categories, such as postal codes."
    rare: Annotated[int, Ge(0)] = 10
    "Categories with fewer training rows than this share one feature with categories not seen in training."
    impute: Literal["median", "mean", "zero"] = "median"
    "How missing numbers are filled, besides an indicator feature: a statistic of the training rows, or 0."
    normalize: Literal["auto", "standard", "quantile", "none"] = "auto"
    "standard: mean 0, standard deviation 1 over the training rows; auto: outliers are compressed too; quantile; none."
    scale_target: bool = True
    "Whether a regression trains on targets of mean 0 and standard deviation 1. Predictions keep your units."
    validation: Annotated[float, Ge(0), Lt(1)] = 0.2
    "Share of the rows for validation; 0 for none."
    test: Annotated[float, Gt(0), Lt(1)] = 0.2
    "Share of the rows for testing."
