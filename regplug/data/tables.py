"""Makes a dataset of a user's table: finds its inputs and targets, splits its rows and plans their preparation.

Shape letters: B rows, C columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from regplug.api import Task
from regplug.data.arrays import check_weights
from regplug.data.drawing import distinct
from regplug.data.raw import Array, InputSpec, RawData, Split
from regplug.data.splits import split_groups, split_indices, split_ordered
from regplug.data.targets import (
    cells_of,
    check_varied,
    find_column,
    find_targets,
    places_of,
    refuse_cells,
    target_names,
)
from regplug.errors import DataError, some_of
from regplug.tables.blocks import codes_of_splits
from regplug.tables.fitting import TablePlan, fit_categories, has_outliers
from regplug.tables.kinds import Found, find_kinds
from regplug.tables.options import TableOptions
from regplug.tables.preparation import PROVING_ROWS, Column
from regplug.tables.reading import Table
from regplug.tables.threads import few_threads

Rows = NDArray[np.intp]


def raw_from_table(table: Table, options: TableOptions, *, seed: int, name: str) -> RawData:
    """Returns a table as a dataset, split by groups, in an order, or with the same share of each class.

    Args:
        table: The table.
        options: What to do with it.
        seed: The data's seed.
        name: The dataset's name.

    Raises:
        DataError: A column does not exist or cannot be used; the message names it.
    """
    found = find_kinds(table)
    targets = target_names(table, options.target)
    columns, notes = _inputs(table, found, targets, options)
    y, task = find_targets(table, [found[name] for name in targets], options.task)
    index = _split_rows(table, found, options, y, task, seed)
    if task.is_classification:
        _check_classes(table, targets[0], task, [y[rows] for rows in index])
    else:
        notes += check_varied(table, targets, y[index[0]], task)
    plan = _plan(columns, index, options)
    # A table of plain numbers enters the exported file as it is: its scales are in the graph.
    is_plain = _is_plain(plan, columns)
    codes = codes_of_splits(list(zip(columns.values(), plan.columns, strict=True)), index)
    train, valid, test = (Split(x=part, y=y[rows]) for part, rows in zip(codes, index, strict=True))
    groups = cells_of(found[options.group])[np.concatenate(index[:2])] if options.group else None
    return RawData(
        name=name,
        train=train,
        valid=valid if len(valid) else None,
        test=test,
        task=task,
        inputs=InputSpec(layout="row", shape=(len(columns),), dtype="float32", names=tuple(columns)),
        normalize="none" if options.normalize == "none" else "standard",
        source=f"{table.source}, target {', '.join(targets)}",
        groups=groups,
        weights=_weights(table, found, options, y, task, index),
        table=None if is_plain else plan,
        scale_targets=options.scale_target and task.kind == "regression",
        notes=tuple(notes),
    )


def _inputs(
    table: Table, found: Mapping[str, Found], targets: Sequence[str], options: TableOptions
) -> tuple[dict[str, Found], list[str]]:
    """Returns the columns that become inputs, and notes on the others and on the target."""
    aside = _aside(table, options, targets)
    for column in (*targets, options.group, options.order, options.weight):
        if column and found[column].kind == "other":
            refuse_cells(table, found[column])
    columns, notes = _usable(table, found, [one for one in table.names if one not in (*targets, *aside)], options)
    if not columns:
        beside = " and ".join(["the target " + ", ".join(targets), *aside])
        raise DataError(
            f"{table.source} has no column beside {beside}.", hint=" ".join(notes) or "Is the delimiter right?"
        )
    if not options.target:
        last = f"The target is {targets[0]}, the last column, as none is named."
        notes.append(f"{last} To predict another: target=NAME.")
    return columns, notes


def _aside(table: Table, options: TableOptions, targets: Sequence[str]) -> list[str]:
    """Returns the columns that are not inputs."""
    roles = [(options.group, "group"), (options.order, "order"), (options.weight, "weight")]
    roles += [(name, "drop") for name in options.drop]
    for name, role in [*roles, *((name, "categories") for name in options.categories)]:
        find_column(table, name, role)
        if name in targets:
            raise DataError(f"{role}={name}: that is the target.", hint="Name another column.")
    if options.group and options.order:
        raise DataError("Rows can be split by group= or by order=, but not by both.", hint="Leave one of them out.")
    return list(dict.fromkeys(name for name, _ in roles if name))


def _usable(
    table: Table, found: Mapping[str, Found], names: Sequence[str], options: TableOptions
) -> tuple[dict[str, Found], list[str]]:
    """Returns the columns that become inputs, and notes on the others."""
    columns: dict[str, Found] = {}
    notes = []
    for name in names:
        one = found[name].as_category() if name in options.categories else found[name]
        refuse_cells(table, one)
        if one.kind == "constant":
            notes.append(f"Column {name} is left out: its value is {one.text(0)} in every row.")
        elif one.kind == "id":
            notes.append(f"Column {name} is left out: every row has another text, as in a column of names or ids.")
        else:
            columns[name] = one
            if one.counts_rows:
                notes.append(f"Column {name} has row numbers. If it is an id, leave it out: drop=[{name}].")
    return columns, notes


def _split_rows(
    table: Table, found: Mapping[str, Found], options: TableOptions, y: Array, task: Task, seed: int
) -> tuple[Rows, Rows, Rows]:
    """Returns the rows of each split: those that the table declares; the others are drawn from its training rows."""
    ends = np.cumsum([0, *(rows for _, rows in table.splits)])
    own = {name: np.arange(start, end) for (name, _), start, end in zip(table.splits, ends, ends[1:], strict=False)}
    shares = {"valid": options.validation, "test": options.test}
    rows = own.get("train", np.arange(len(y)))
    drawn = _drawn(
        table, found, options, y, task, seed, rows, {part: share for part, share in shares.items() if part not in own}
    )
    train, valid, test = (rows[part] for part in drawn)
    return train, own.get("valid", valid), own.get("test", test)


def _drawn(
    table: Table,
    found: Mapping[str, Found],
    options: TableOptions,
    y: Array,
    task: Task,
    seed: int,
    rows: Rows,
    shares: Mapping[str, float],
) -> tuple[Rows, Rows, Rows]:
    """Splits some of the rows into training, validation and test rows, as indices into them."""
    valid, test = shares.get("valid", 0.0), shares.get("test", 0.0)
    if options.group:
        return split_groups(cells_of(found[options.group])[rows], valid=valid, test=test, seed=seed)
    if options.order:
        one = found[options.order]
        values = one.values
        return split_ordered((values if values is not None else places_of(one))[rows], valid=valid, test=test)
    labels = y[rows] if task.is_classification else None
    if labels is not None:
        target = target_names(table, options.target)[0]
        _check_class_sizes(table, target, task, labels, num_splits=1 + (valid > 0) + (test > 0))
    return split_indices(len(rows), valid=valid, test=test, seed=seed, labels=labels)


def _check_class_sizes(table: Table, target: str, task: Task, classes: Array, num_splits: int) -> None:
    known, _, sizes = distinct(classes)
    rarest = int(sizes.argmin())
    if sizes[rarest] < num_splits:
        raise DataError(
            f"{table.source}, column {target}: class {task.class_names[known[rarest]]} has {sizes[rarest]} row(s), "
            f"fewer than the {num_splits} splits; there are {len(sizes)} classes.",
            hint="Leave out or merge rare classes; for a quantity, ask for task=regression.",
        )


def _check_classes(table: Table, target: str, task: Task, parts: Sequence[Array]) -> None:
    """Groups, or an order, may leave a class out of the training rows."""
    learned, *others = (np.bincount(part, minlength=task.num_outputs) for part in parts)
    unlearned = np.flatnonzero((learned == 0) & (np.sum(others, axis=0) > 0))
    if len(unlearned):
        names = some_of(task.class_names[label] for label in unlearned)
        raise DataError(
            f"{table.source}, column {target}: no training row has the class {names}, which other splits have.",
            hint="Leave these rows out, or split the rows differently.",
        )


def _plan(columns: Mapping[str, Found], index: tuple[Rows, Rows, Rows], options: TableOptions) -> TablePlan:
    train, _, test = index
    return TablePlan(
        columns=tuple(_column(one, train, options.rare) for one in columns.values()),
        impute=options.impute,
        normalize=options.normalize,
        rows=tuple(tuple(one.text(row) for one in columns.values()) for row in test[:PROVING_ROWS]),
    )


def _column(one: Found, train: Rows, rare: int) -> Column:
    if one.places is not None:
        return fit_categories(one.name, one.places[train], one.labels, rare)
    values = one.values if one.gaps else None
    return Column(name=one.name, kind="number", has_gaps=values is not None and bool(np.isnan(values[train]).any()))


def _is_plain(plan: TablePlan, columns: Mapping[str, Found]) -> bool:
    """Whether the columns are numbers that only have to be scaled, in training as well as in all other rows."""
    if plan.normalize == "quantile" or any(one.gaps or one.places is not None for one in columns.values()):
        return False
    if plan.normalize != "auto":
        return True
    with few_threads() as threads:
        return not any(threads.map(lambda one: has_outliers(one.values), columns.values()))


def _weights(
    table: Table,
    found: Mapping[str, Found],
    options: TableOptions,
    y: Array,
    task: Task,
    index: tuple[Rows, Rows, Rows],
) -> Array | None:
    weights = None
    if options.weight:
        one = found[options.weight]
        values = cells_of(one) if one.values is None else one.values
        weights = check_weights(values, index, f"{table.source}, column {options.weight}")
    if options.balance:
        if not task.is_classification:
            what = "a row has several labels" if task.is_multilabel else "the target is a quantity"
            raise DataError(f"balance=true weights classes, but {what}.", hint="Leave it out.")
        sizes = np.bincount(y[index[0]], minlength=task.num_outputs)
        balanced = (len(index[0]) / (task.num_outputs * sizes))[y]
        weights = balanced if weights is None else weights * balanced
    return None if weights is None else weights[np.concatenate(index[:2])]
