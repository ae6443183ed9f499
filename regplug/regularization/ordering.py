"""The order of composed regularizers, from their declarations: a topological sort with reasons."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from regplug.api import Layout, Regularizer, Task
from regplug.errors import CompositionError


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One regularizer in a composition.

    Args:
        key: Alias or name.
        descriptor: Its descriptor.
        source: Distribution or file that it comes from, for messages.
    """

    key: str
    descriptor: Regularizer
    source: str = ""

    @property
    def words(self) -> frozenset[str]:
        """What `before`, `after`, `conflicts` and `requires` of others may call it."""
        return frozenset((self.descriptor.name, *self.descriptor.tags))


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A regularizer at its position in the order.

    Args:
        key: Alias or name.
        why: The reason for its position.
    """

    key: str
    why: str


def resolve_order(entries: Sequence[Entry]) -> list[Placed]:
    """Sorts regularizers so that every declared `before` and `after` holds; the rest is alphabetical.

    The order does not depend on how the user wrote them, so the same set is always the same run.

    Raises:
        CompositionError: If the declarations form a cycle.
    """
    by_key = {entry.key: entry for entry in entries}
    firsts: dict[str, dict[str, str]] = {entry.key: {} for entry in entries}
    graph: dict[str, set[str]] = {key: set() for key in sorted(by_key)}
    for first, second, called in _declared(entries):
        graph[second].add(first)
        firsts[second].setdefault(first, called)
    sorter = TopologicalSorter(graph)
    try:
        sorter.prepare()
    except CycleError as circle:
        raise CompositionError(
            f"The regularizers {' -> '.join(circle.args[1])} each declare that they come before the next.",
            hint="Leave one of them out; their descriptors' before and after contradict each other.",
        ) from None
    order: list[str] = []
    while sorter.is_active():
        # One at a time: what becomes ready is compared by name with what is ready already.
        ready = sorted({*sorter.get_ready(), *_waiting(graph, order)} - set(order))
        order.append(ready[0])
        sorter.done(ready[0])
    turns = taking_turns(entries)
    return [Placed(key=key, why=_why(list(firsts[key].values()), turns.get(key, ()))) for key in order]


def _why(firsts: Sequence[str], partners: Sequence[str]) -> str:
    reasons = [f"must come after {' and '.join(firsts)}"] if firsts else []
    if partners:
        reasons.append(f"takes turns with {' and '.join(partners)}: for each batch, one of them is drawn at random")
    return "; ".join(reasons) or "no rule: alphabetical order"


def taking_turns(entries: Sequence[Entry]) -> dict[str, list[str]]:
    """Returns, for each regularizer that shares its `one_of`, the sorted keys of the others."""
    groups: dict[str, list[str]] = {}
    for entry in entries:
        if entry.descriptor.one_of:
            groups.setdefault(entry.descriptor.one_of, []).append(entry.key)
    return {key: sorted(set(keys) - {key}) for keys in groups.values() for key in keys if len(keys) > 1}


def _waiting(graph: dict[str, set[str]], done: Sequence[str]) -> set[str]:
    return {key for key, before in graph.items() if key not in done and before <= set(done)}


def _declared(entries: Sequence[Entry]) -> Iterator[tuple[str, str, str]]:
    """Yields pairs of keys, the first of which comes first, and how the reason names the first."""
    for entry in entries:
        for other in entries:
            if other.key == entry.key:
                continue
            for word in sorted(other.words.intersection(entry.descriptor.after)):
                is_name = word == other.descriptor.name
                yield other.key, entry.key, other.key if is_name else f"{other.key} (tag: {word})"
            for word in sorted(other.words.intersection(entry.descriptor.before)):
                is_name = word == other.descriptor.name
                yield entry.key, other.key, entry.key if is_name else f"{entry.key} (which precedes {word})"


def check_composition(entries: Sequence[Entry], task: Task | None = None, layout: Layout | None = None) -> None:
    """Refuses contradictions between descriptors; reports all of them at once.

    Args:
        entries: The regularizers.
        task: What is learned; `None` before the data are read.
        layout: Layout of one input; `None` before the data are read.

    Raises:
        CompositionError: A duplicate key, a conflict, an unmet requirement, or an unsupported task or input layout.
    """
    problems = [*_twice(entries), *_conflicts(entries), *_unmet(entries), *(_wrong_task(entries, task) if task else ())]
    problems += _wrong_inputs(entries, layout) if layout else ()
    if problems:
        raise CompositionError("\n  ".join(problems), hint="Leave one out, or give the second an alias: name@alias:...")


def _twice(entries: Sequence[Entry]) -> Iterator[str]:
    keys = [entry.key for entry in entries]
    for key in sorted({key for key in keys if keys.count(key) > 1}):
        yield f"{key} is given {keys.count(key)} times."


def _conflicts(entries: Sequence[Entry]) -> Iterator[str]:
    for entry in entries:
        for other in entries:
            words = other.words.intersection(entry.descriptor.conflicts)
            if other is not entry and words:
                yield f"{entry.key} refuses {', '.join(sorted(words))}, and {other.key} is one."


def _unmet(entries: Sequence[Entry]) -> Iterator[str]:
    for entry in entries:
        for word in entry.descriptor.requires:
            if not any(word in other.words for other in entries if other is not entry):
                yield f"{entry.key} requires {word}, and no regularizer here is one."


def _wrong_inputs(entries: Sequence[Entry], layout: Layout) -> Iterator[str]:
    for entry in entries:
        if layout not in entry.descriptor.inputs:
            yield f"{entry.key} is for {' and '.join(entry.descriptor.inputs)} inputs, but the dataset has {layout}s."


def _wrong_task(entries: Sequence[Entry], task: Task) -> Iterator[str]:
    for entry in entries:
        if task.kind not in entry.descriptor.tasks:
            yield f"{entry.key} is for {' and '.join(entry.descriptor.tasks)}, but the dataset is a {task.words}."
