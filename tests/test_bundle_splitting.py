"""A file that takes only so many rows in one call: the host splits larger batches, and checks the largest one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regplug.bundles.cases import REAL, VARIED, Reference
from regplug.bundles.formats import Array, Captured, Format, NamedRun, Run, RunAll
from regplug.bundles.numbers import check_file
from regplug.bundles.report import Check
from regplug.bundles.splitting import open_named_split, open_outputs_split, open_split

LARGEST = 5


class Small(Format):
    """Doubles at most so many rows."""

    def __init__(self, most: int | None = LARGEST, fault: Callable[[int], bool] = lambda size: False) -> None:
        self.most, self.fault = most, fault
        self.sizes: list[int] = []

    def largest_batch(self, path: Path) -> int | None:
        return self.most

    def open(self, path: Path, *, optimised: bool) -> Run:
        def run(rows: Array) -> Array:
            assert self.most is None or len(rows) <= self.most
            self.sizes.append(len(rows))
            return rows * (3 if self.fault(len(rows)) else 2)

        return run

    def open_outputs(self, path: Path, *, optimised: bool) -> RunAll:
        run = self.open(path, optimised=optimised)
        return lambda rows: [run(rows), rows > 3]

    def open_named(
        self, path: Path, manifest: Mapping[str, Any], *, optimised: bool, seed: int | None = None
    ) -> NamedRun:
        run = self.open(path, optimised=optimised)
        return lambda arrays: {"twice": run(arrays["a"]), "sum": arrays["a"] + arrays["b"]}

    def write(self, captured: Captured, path: Path, manifest: Mapping[str, Any]) -> None: ...

    def manifest(self, path: Path) -> Mapping[str, Any]:
        return {}

    def inspect(self, path: Path, manifest: Mapping[str, Any]) -> Sequence[Check]:
        return []


def known() -> list[Reference]:
    rows = np.random.default_rng(0).normal(size=(97, 3)).astype(np.float32)
    return [
        Reference(case=case, inputs=part, outputs=part * 2, tolerance=1e-6)
        for case, part in ((REAL, rows[:64]), (VARIED, rows[64:]))
    ]


@pytest.mark.parametrize("count", [0, 1, 5, 6, 13])
def test_any_number_of_rows_is_run_in_parts(count: int) -> None:
    rows, form = np.arange(count * 2.0).reshape(count, 2), Small()
    assert np.array_equal(open_split(form, Path(), optimised=True)(rows), rows * 2)
    assert max(form.sizes) <= LARGEST
    twice, large = open_outputs_split(form, Path(), optimised=True)(rows)
    assert np.array_equal(twice, rows * 2)
    assert np.array_equal(large, rows > 3)
    outputs = open_named_split(form, Path(), {}, optimised=True)({"a": rows, "b": rows})
    assert {name: part.tolist() for name, part in outputs.items()} == dict.fromkeys(
        ("twice", "sum"), (rows * 2).tolist()
    )


def test_a_format_without_a_limit_is_run_as_it_is() -> None:
    form = Small(None)
    open_split(form, Path(), optimised=True)(np.zeros((99, 2)))
    assert form.sizes == [99]


def test_every_check_is_made_and_one_at_the_largest_batch() -> None:
    form = Small()
    checks = check_file(form, Path(), known(), decision=None)
    assert [check for check in checks if not check.passed] == []
    assert {"largest_batch.all", "largest_batch.disabled", "mixed_batches.all"} <= {check.name for check in checks}
    assert not any("largest" in check.name for check in check_file(Small(None), Path(), known(), decision=None))


def test_a_fault_that_shows_only_at_the_largest_batch_is_found() -> None:
    checks = check_file(Small(2000, lambda size: size == 2000), Path(), known(), decision=None)
    assert {check.name for check in checks if not check.passed} == {"largest_batch.all", "largest_batch.disabled"}
