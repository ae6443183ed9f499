"""Finds the tracked runs that can be ranked together: those with the same data, splits and metric."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from regplug.runs.data_facts import DataFacts, overlap_ratio
from regplug.tracking import RunInfo

DATASET = "dataset"


@dataclass(frozen=True, kw_only=True)
class Group:
    """Runs that can be ranked together.

    Args:
        name: A description that distinguishes the group from the others.
        runs: The runs.
        loss: The loss, if their metric is the loss; else empty.
    """

    name: str
    runs: tuple[RunInfo, ...]
    loss: str = ""

    @cached_property
    def facts(self) -> list[tuple[RunInfo, DataFacts]]:
        """The runs with stored facts about their data, with these facts."""
        found = ((run, DataFacts.from_tags(run.tags)) for run in self.runs)
        return [(run, facts) for run, facts in found if facts is not None]

    @cached_property
    def rows(self) -> frozenset[str]:
        """The digests of the runs' rows."""
        return frozenset(facts.rows_digest for _, facts in self.facts)

    def shares_rows(self, other: Group) -> bool:
        """Whether both groups use one dataset with different splits or metrics."""
        if self.rows and other.rows:
            return bool(self.rows & other.rows)
        return _dataset(self.runs[0], set()) == _dataset(other.runs[0], set())


def group_by_data(
    runs: Sequence[RunInfo], text: Callable[[RunInfo], str], varied: Iterable[str] = ()
) -> tuple[Group, ...]:
    """Returns the runs in groups of the same data, in the order of first appearance.

    Runs belong together if their data are equal, or differ only in the data seed: one dataset split or generated again.
    If a file was changed, its rows distinguish the versions.

    Args:
        runs: The runs.
        text: Returns a run's dataset as text.
        varied: Fields that define settings, such as `dataset.train_rows`; the data may differ in these.
    """
    free = {field for field in varied if field.partition(".")[0] == DATASET}
    if DATASET in free:
        return (Group(name="all datasets", runs=tuple(runs)),)
    joined = _Joined()
    for run, nodes in zip(runs, _nodes(runs, free), strict=True):
        for node in nodes:
            joined.join(node, run.run_id)
    groups: dict[Hashable, list[RunInfo]] = defaultdict(list)
    for run in runs:
        groups[joined.root(run.run_id)].append(run)
    members = [tuple(each) for each in groups.values()]
    return tuple(Group(name=n, runs=m) for n, m in zip(_names(members, text), members, strict=True))


def group_by_loss(group: Group) -> tuple[Group, ...]:
    """Splits a group by the loss of its runs, for a metric that is the loss."""
    by_loss: dict[str, list[RunInfo]] = defaultdict(list)
    for run in group.runs:
        by_loss[run.params.get("loss", "")].append(run)
    if len(by_loss) == 1:
        return (group,)
    return tuple(
        Group(name=f"{group.name}, loss {loss}", runs=tuple(runs), loss=loss) for loss, runs in by_loss.items()
    )


def overlap_of(group: Group, metric: str) -> float | None:
    """Returns the ratio of evaluation rows to training rows, as in a study; `None` if no rows are shared.

    Args:
        group: The runs.
        metric: Such as `test/accuracy`; if its split is not held out, the rows on which the runs are evaluated count.
    """
    split = metric.partition("/")[0]
    known = group.facts
    if split not in ("valid", "test"):
        split = "valid" if any(facts.folds for _, facts in known) else "test"
    return overlap_ratio(((int(run.params["data_seed"]), facts) for run, facts in known), split)


def are_judged_alike(group: Group) -> bool:
    """Returns whether runs with the same data seed and fold are evaluated on the same rows."""
    judged: dict[Hashable, set[str]] = defaultdict(set)
    for run, facts in group.facts:
        judged[_place(run)].add(facts.judged_digest)
    return all(len(digests) == 1 for digests in judged.values())


def is_loss_metric(metric: str) -> bool:
    """Returns whether a metric is the loss, which cannot be compared between different losses.

    >>> is_loss_metric("test/loss"), is_loss_metric("train/running_loss"), is_loss_metric("test/rmse")
    (True, True, False)
    """
    return bool({"loss", "objective"} & set(metric.rpartition("/")[2].split("_")))


def why_apart(groups: Sequence[Group], metric: str) -> list[str]:
    """Returns the reasons why runs were not ranked together, one sentence each; none for one group.

    Args:
        groups: The groups.
        metric: The compared metric.
    """
    if len(groups) < 2:
        return []
    pairs = [(one, other) for at, one in enumerate(groups) for other in groups[:at]]
    sentences = []
    if any(not one.shares_rows(other) for one, other in pairs):
        sentences.append("Metrics on different datasets cannot be ranked together: each dataset has its own table.")
    if any(one.shares_rows(other) and one.loss == other.loss for one, other in pairs):
        sentences.append(
            "A dataset has several splits: runs that are evaluated on different rows have separate tables."
        )
    if any(group.loss for group in groups):
        split, _, name = metric.rpartition("/")
        has_accuracy = all(f"{split}/accuracy" in run.metrics for group in groups for run in group.runs)
        common = f"{split}/{'accuracy' if has_accuracy else 'rmse'}"
        sentences.append(
            f"{split}/{name} cannot be compared between different losses: each loss has its own table. "
            f"--metric {common} ranks them together."
        )
    return sentences


def _place(run: RunInfo) -> tuple[str, ...]:
    return tuple(run.params.get(name, "") for name in ("data_seed", "fold", "repeat"))


class _Joined:
    """Sets that grow together (union-find)."""

    def __init__(self) -> None:
        self._parent: dict[Hashable, Hashable] = {}

    def root(self, node: Hashable) -> Hashable:
        while (parent := self._parent.setdefault(node, node)) != node:
            # Halving the path keeps it short, however many runs there are.
            self._parent[node] = self._parent[parent]
            node = parent
        return node

    def join(self, first: Hashable, second: Hashable) -> None:
        self._parent[self.root(second)] = self.root(first)


def _nodes(runs: Sequence[RunInfo], free: set[str]) -> list[list[Hashable]]:
    """Returns for each run what it shares with its group: its dataset as requested, and its actual data."""
    asked = [_asked(run, free) for run in runs]
    facts = [DataFacts.from_tags(run.tags) for run in runs]
    digests: dict[tuple[Hashable, tuple[str, ...]], set[str]] = defaultdict(set)
    for run, base, known in zip(runs, asked, facts, strict=True):
        if known is not None and not free:
            digests[base, _place(run)].add(known.digest)
    changed = {place[0] for place, found in digests.items() if len(found) > 1}
    nodes: list[list[Hashable]] = []
    for base, known in zip(asked, facts, strict=True):
        if known is None:
            nodes.append([("asked", base)])
        elif base in changed:
            nodes.append([("rows", base, known.rows_digest), ("data", known.digest)])
        else:
            nodes.append([("asked", base), ("data", known.digest)])
    return nodes


def _asked(run: RunInfo, free: set[str]) -> Hashable:
    facts = DataFacts.from_tags(run.tags)
    folds = facts.folds if facts else "some" if "fold" in run.params else 0
    return _dataset(run, free), folds


def _dataset(run: RunInfo, free: set[str]) -> tuple[tuple[str, str], ...]:
    return tuple(
        (name, value)
        for name, value in sorted(run.params.items())
        if name == DATASET or (name.startswith(f"{DATASET}.") and name not in free)
    )


def _names(groups: Sequence[tuple[RunInfo, ...]], text: Callable[[RunInfo], str]) -> list[str]:
    """Returns short names that distinguish the groups: the dataset, then further facts where needed."""
    names = [_own_name(group, text) for group in groups]
    for detail in (_folds, _sizes, _digest):
        details = [detail(group) for group in groups]
        alike = [{told for other, told in zip(names, details, strict=True) if other == name} for name in names]
        names = [f"{n}, {told}" if len(a) > 1 else n for n, told, a in zip(names, details, alike, strict=True)]
    return names


def _own_name(group: Sequence[RunInfo], text: Callable[[RunInfo], str]) -> str:
    texts = {text(run) for run in group}
    return texts.pop() if len(texts) == 1 else group[0].params[DATASET]


def _folds(group: Sequence[RunInfo]) -> str:
    facts = DataFacts.from_tags(group[0].tags)
    if facts is None:
        return "folds" if "fold" in group[0].params else "no folds"
    return f"{facts.folds} folds" if facts.folds else "no folds"


def _sizes(group: Sequence[RunInfo]) -> str:
    facts = DataFacts.from_tags(group[0].tags)
    return "rows " + " ".join(f"{split} {rows}" for split, rows in facts.sizes.items()) if facts else "unknown split"


def _digest(group: Sequence[RunInfo]) -> str:
    facts = DataFacts.from_tags(group[0].tags)
    return f"data {facts.digest[:8]}" if facts else "unknown data"
