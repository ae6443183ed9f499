"""The garbage collector is paused while modules are imported, and is afterwards as it was."""

from __future__ import annotations

import gc
import sys
from types import ModuleType

import pytest

from regplug.registry.uncollected import uncollected


@pytest.mark.parametrize("is_on", [True, False])
def test_the_collector_is_as_it_was_also_after_an_error(is_on):
    was_on = gc.isenabled()
    (gc.enable if is_on else gc.disable)()
    try:
        with pytest.raises(AssertionError), uncollected():
            assert gc.isenabled()
        assert gc.isenabled() is is_on
    finally:
        (gc.enable if was_on else gc.disable)()


@pytest.fixture(autouse=True)
def asked_for_the_first_time(monkeypatch):
    monkeypatch.setattr("regplug.registry.uncollected._Process.has_frozen", False)


def imported_something(monkeypatch, name):
    with uncollected():
        monkeypatch.setitem(sys.modules, name, ModuleType(name))


@pytest.mark.parametrize("is_frozen", [True, False])
@pytest.mark.parametrize("is_imported", [True, False])
def test_objects_are_frozen_only_after_an_import_in_a_process_that_froze_others(monkeypatch, is_frozen, is_imported):
    froze = []
    monkeypatch.setattr(gc, "get_freeze_count", lambda: int(is_frozen))
    monkeypatch.setattr(gc, "freeze", lambda: froze.append(True))
    with uncollected():
        if is_imported:
            monkeypatch.setitem(sys.modules, "newly_imported", ModuleType("newly_imported"))
    assert bool(froze) is (is_frozen and is_imported)


def test_frozen_objects_are_not_counted_where_nothing_was_imported(monkeypatch):
    def count():
        raise AssertionError("counted")

    monkeypatch.setattr(gc, "get_freeze_count", count)
    with uncollected():
        pass


def test_frozen_objects_are_counted_once(monkeypatch):
    counts, froze = [], []
    monkeypatch.setattr(gc, "get_freeze_count", lambda: counts.append(1) or 7)
    monkeypatch.setattr(gc, "freeze", lambda: froze.append(True))
    imported_something(monkeypatch, "first_imported")
    imported_something(monkeypatch, "then_imported")
    assert (len(counts), len(froze)) == (1, 2)
