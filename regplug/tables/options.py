"""What a user may say of a table of their own. Needs no numpy."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Lt

from regplug.api import Parameters


class TableOptions(Parameters):
    """What is done with a table, whatever it was read from."""

    target: str = ""
    "Column to predict; empty for the last one."
    task: Literal["auto", "classification", "regression"] = "auto"
    "auto: classes where the target has text or at most 20 different whole numbers, else regression."
    group: str = ""
    "Column whose rows with one value stay in one split and in one fold; it is no input. Empty for none."
    order: str = ""
    "Column by which rows are ordered: the last ones test, those before them validate; it is no input. Empty for none."
    weight: str = ""
    "Column that weights the loss of each training row; it is no input. Empty for none."
    balance: bool = False
    "Whether each training row weighs rows / (classes * rows of its class), so that rare classes count as much."
    drop: tuple[str, ...] = ()
    "Columns that are left out."
    categories: tuple[str, ...] = ()
    "Columns of numbers that are categories, such as a postal code."
    rare: Annotated[int, Ge(0)] = 10
    "Training rows below which a category shares the place of the categories that were never seen."
    impute: Literal["median", "mean", "zero"] = "median"
    "What stands in for a missing number, beside an indicator: a statistic of the training rows, or 0."
    normalize: Literal["standard", "quantile", "none"] = "standard"
    "Numbers to mean 0 and standard deviation 1, or to the quantiles of N(0, 1), over the training rows; none."
    scale_target: bool = True
    "Whether a regression learns targets of mean 0 and standard deviation 1; what it predicts has your units."
    validation: Annotated[float, Ge(0), Lt(1)] = 0.2
    "Share of the rows that validate; 0 for none."
    test: Annotated[float, Gt(0), Lt(1)] = 0.2
    "Share of the rows that test."
