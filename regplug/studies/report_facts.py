"""The header of a report: what was trained, on which rows, and how often."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

_MOST_NAMED = 4


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a report says of one run.

    Args:
        dataset: The dataset as text.
        model: The model as text.
        epochs: Epochs of the run as text.
        seed: Its seed.
        data_seed: Its data seed.
        fold: Its fold and repeat; `None` without folds.
        sizes: Rows by split; empty if unknown.
    """

    dataset: str
    model: str
    epochs: str
    seed: int
    data_seed: int
    fold: tuple[int, int] | None
    sizes: Mapping[str, int]


def facts_of_runs(runs: Sequence[Trained]) -> dict[str, str]:
    """Returns the header of a report on these runs, by name."""
    seeds, draws = {run.seed for run in runs}, {run.data_seed for run in runs}
    folds = {run.fold for run in runs if run.fold is not None}
    repeats = len({repeat for _, repeat in folds})
    again = f", drawn {repeats} times" if repeats > 1 else ""
    told = {
        "Dataset": _texts(run.dataset for run in runs),
        "Rows": _rows([run.sizes for run in runs if run.sizes]),
        "Model": _texts(run.model for run in runs),
        "Epochs": _texts(run.epochs for run in runs),
        "Seeds": _numbers(seeds),
        "Splits": _numbers(draws) if len(draws) > 1 else "",
        "Folds": f"{len({fold for fold, _ in folds})}{again}" if folds else "",
    }
    return {name: text for name, text in told.items() if text}


def _texts(values: Iterable[str]) -> str:
    found = [value for value in dict.fromkeys(values) if value]
    return ", ".join(found) if len(found) <= _MOST_NAMED else f"{len(found)} different"


def _numbers(values: Iterable[int]) -> str:
    found = sorted(set(values))
    if len(found) == 1:
        return f"1 (seed {found[0]})"
    is_row = found == list(range(found[0], found[-1] + 1))
    return f"{len(found)} ({found[0]} to {found[-1]})" if is_row else str(len(found))


def _rows(sizes: Sequence[Mapping[str, int]]) -> str:
    splits = dict.fromkeys(split for each in sizes for split in each)
    spans = {split: sorted({each[split] for each in sizes if split in each}) for split in splits}
    return ", ".join(
        f"{split} {found[0]}" if len(found) == 1 else f"{split} {found[0]} to {found[-1]}"
        for split, found in spans.items()
    )
