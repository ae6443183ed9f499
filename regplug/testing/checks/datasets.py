"""Datasets: raw arrays in disjoint splits."""

from __future__ import annotations

import pickle
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from regplug.api import DataContext, Dataset
from regplug.data import Array, RawData, Split, digest, prepare
from regplug.errors import PluginError, RegplugError
from regplug.testing.checking import CouldNotRun, NotApplicable, attempting, expect
from regplug.testing.generators import expect_generators, seeded_globally, state_of_generators
from regplug.testing.subject import Subject

_CHANCE = 0.01
_EXACT = 1e-6


def _raw(subject: Subject, seed: int = 0) -> RawData:
    """Returns the data, read once for each seed; reports a dataset that is not available."""
    key = f"raw {seed}"
    if key not in subject.cache:
        subject.cache[key] = _read(subject, seed)
    raw: RawData = subject.cache[key]
    return raw


def _read(subject: Subject, seed: int) -> RawData:
    if "absent" in subject.cache:  # asking an unreachable server again for each check would take minutes
        raise subject.cache["absent"]
    try:
        raw = subject.make(DataContext(data_seed=seed))
    except RegplugError as error:
        if isinstance(error, PluginError) and not isinstance(error.__cause__, OSError):
            expect(False, f"reading it: {error.message}")
        told = "" if isinstance(error, PluginError) else error.hint
        hint = told or (subject.how_to_give(subject.fields[:1]) if subject.fields else "")
        absent = CouldNotRun(f"the data cannot be read here: {error.message}", hint=hint)
        subject.cache["absent"] = absent
        raise absent from error
    expect(isinstance(raw, RawData), f"it is a {type(raw).__name__}, but must be a regplug.data.RawData")
    return raw  # type: ignore[no-any-return] # looked at above


def fits_what_it_declares(subject: Subject) -> None:
    """Classes out of range, shapes, dtypes or a task other than declared, numbers that are not finite."""
    raw = _raw(subject)
    with attempting("preparing the data as a run does"):
        prepared = prepare(raw)
    for name, split in raw.splits():
        expect(len(split.x) == len(split.y), f"{name} has {len(split.x)} rows but {len(split.y)} targets")
    declared = subject.descriptor(Dataset).task
    if not subject.values:
        expect(prepared.task.kind == declared, f"it declares a {declared} but is a {prepared.task.kind}")
    names = raw.task.class_names
    expect(len(names) in (0, raw.task.num_outputs), f"{len(names)} names for {raw.task.num_outputs} classes")


def splits_are_disjoint(subject: Subject) -> None:
    """Rows in both training and test split, which make every result too optimistic. Compares contents.

    Tables with few different values repeat rows by chance: one row, and up to twice the share of repetitions within the
    training split plus one in a hundred, may be repeated.
    """
    splits = dict(_raw(subject).splits())
    train = Counter(_rows(splits["train"]))
    repeated = sum(number for number in train.values() if number > 1) / max(1, train.total())
    for name in ("valid", "test"):
        if name in splits:
            rows = _rows(splits[name])
            shared = sum(row in train for row in rows)
            share = shared / max(1, len(rows))
            is_chance = shared <= 1 or share <= _CHANCE + 2 * repeated
            expect(is_chance, f"{share:.1%} of the {name} rows are also in the training split")


def _rows(split: Split) -> list[bytes]:
    x, y = np.ascontiguousarray(split.x), np.ascontiguousarray(split.y)
    return [row.tobytes() + target.tobytes() for row, target in zip(x, y, strict=True)]


def seed_decides_the_split(subject: Subject) -> None:
    """A split from a global generator: the same configuration would give different experiments."""
    digests = []
    for global_seed in (1, 2):
        with seeded_globally(global_seed):
            before = state_of_generators()
            digests.append(digest(_read(subject, 5)))
            expect_generators(before, "reading the data")
    expect(digests[0] == digests[1], "one data seed gives different splits, depending on a global generator")


def is_offline_once_cached(subject: Subject) -> None:
    """A dataset that needs the network each time, and so fails on a cluster, offline, or if the server is down."""
    _raw(subject)
    with _without_network(), attempting("reading it a second time without a network"):
        subject.make(DataContext(data_seed=0))


@contextmanager
def _without_network() -> Iterator[None]:
    def refuse(*_: Any, **__: Any) -> Any:
        raise CouldNotConnectError("the kit has disabled the network")

    saved = socket.socket.connect, socket.create_connection, socket.getaddrinfo
    try:
        socket.socket.connect, socket.create_connection, socket.getaddrinfo = refuse, refuse, refuse  # type: ignore[method-assign]
        yield
    finally:
        socket.socket.connect, socket.create_connection, socket.getaddrinfo = saved  # type: ignore[method-assign]


class CouldNotConnectError(ConnectionError):
    """Raised when a dataset uses the disabled network."""


def can_be_pickled(subject: Subject) -> None:
    """Data that cannot be sent to another process."""
    raw = _raw(subject)
    with attempting("pickling the data"):
        again = pickle.loads(pickle.dumps(raw))  # noqa: S301 - what we have just written
    expect(digest(again) == digest(raw), "pickling changes the data")


def statistics_are_those_of_training(subject: Subject) -> None:
    """Rows scaled by a mean that includes the test rows, which leaks information about them."""
    raw = _raw(subject)
    train, everything = np.asarray(raw.train.x), np.concatenate([split.x for _, split in raw.splits()])
    if raw.fixed is not None:
        mean = float(train.mean(dtype=np.float64))
        is_train, is_all = (_near(raw.fixed[0], each) for each in (mean, float(everything.mean(dtype=np.float64))))
        expect(is_train or not is_all, "the fixed mean is that of all splits together")
    if train.dtype.kind != "f":
        if raw.fixed is None:
            raise NotApplicable("its rows are raw bytes without constants: the host scales them by the training split")
        return
    for what, of in (("mean", np.mean), ("deviation", np.std)):
        target = 0.0 if what == "mean" else 1.0
        together, alone = (_off(of, part, target) for part in (everything, train))
        # float32 rows standardised together have a mean of zero to a few roundings, which no sample has by chance.
        expect(
            not together < 1e-4 or alone < 1e-4,
            f"the {what} of all splits together is {target:g} and not that of train",
        )


def _off(of: Any, part: Array, target: float) -> float:
    axes = (0,) if part.ndim == 2 else (0, *range(2, part.ndim))
    return float(np.abs(of(part.astype(np.float64), axis=axes) - target).max())


def _near(one: float, other: float) -> bool:
    return abs(one - other) <= _EXACT * max(abs(one), abs(other), _EXACT)


CHECKS = (
    fits_what_it_declares,
    splits_are_disjoint,
    seed_decides_the_split,
    is_offline_once_cached,
    can_be_pickled,
    statistics_are_those_of_training,
)
