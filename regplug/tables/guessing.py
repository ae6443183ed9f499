"""Guesses which column of a table is to be predicted. A guess is only ever shown; a run does not use it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from regplug.tables.kinds import Found

USUAL_NAMES = ("target", "label", "labels", "class", "y", "outcome", "response", "diagnosis")


@dataclass(frozen=True, kw_only=True)
class Guess:
    """Columns that may be the target.

    Args:
        names: The columns.
        reason: Why, as the end of a sentence such as "Likely target: y, ...".
        is_likely: Whether a name tells it; otherwise only the position does.
    """

    names: tuple[str, ...]
    reason: str
    is_likely: bool


def guess_target(found: Sequence[Found], file_stem: str) -> Guess:
    """Returns the column whose name tells that it is the target, else the first and the last column that may be one.

    Args:
        found: The columns, in the order of the table.
        file_stem: Name of the file without its ending; a file `churn.csv` often has a column `churn` to predict.
    """
    usable = [one.name for one in found if one.kind in ("number", "category") and not one.counts_rows]
    usual = [name for name in usable if _plain(name) in USUAL_NAMES]
    if len(usual) == 1:
        return Guess(names=(usual[0],), reason="by its name", is_likely=True)
    same = [name for name in usable if _plain(name) == _plain(file_stem)]
    if not usual and len(same) == 1:
        return Guess(names=(same[0],), reason="which has the name of the file", is_likely=True)
    if usual:
        return Guess(names=tuple(usual), reason="by their names", is_likely=False)
    ends = tuple(dict.fromkeys([*usable[-1:], *usable[:1]]))
    return Guess(names=ends, reason="as targets are often the last or the first column", is_likely=False)


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).lower()
