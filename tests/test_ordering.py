"""The order of regularizers, declared by themselves."""

from __future__ import annotations

import itertools

import pytest

from regplug.api import Regularizer, Task
from regplug.errors import CompositionError
from regplug.registry import default_registry
from regplug.regularization.ordering import Entry, check_composition, resolve_order

CLASSES = Task(kind="classification", num_outputs=3)
VALUES = Task(kind="regression", num_outputs=1)


def entry(key, name=None, **declared):
    return Entry(key=key, descriptor=Regularizer(name=name or key, target="a:b", summary="", **declared))


def keys(*entries):
    return [placed.key for placed in resolve_order(entries)]


def test_what_declares_nothing_is_sorted_by_name():
    assert keys(entry("c"), entry("a"), entry("b")) == ["a", "b", "c"]


def test_a_declaration_goes_before_the_alphabet():
    assert keys(entry("a", after=("b",)), entry("b")) == ["b", "a"]
    assert keys(entry("a"), entry("b", before=("a",))) == ["b", "a"]


def test_declarations_take_tags_as_well_as_names():
    assert keys(entry("a", after=("averaging",)), entry("z", tags=("averaging",))) == ["z", "a"]


def test_the_order_is_that_of_the_set_and_not_of_the_writing():
    entries = [entry("d"), entry("a", after=("c",)), entry("c", after=("d",)), entry("b")]
    assert {tuple(keys(*each)) for each in itertools.permutations(entries)} == {("b", "d", "c", "a")}


def test_two_of_one_regularizer_stand_side_by_side_under_their_aliases():
    assert keys(entry("first", "l2"), entry("second", "l2"), entry("a", after=("l2",))) == ["first", "second", "a"]


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ([entry("a", after=("b",)), entry("b")], ["no rule: alphabetical order", "must come after b"]),
        (
            [entry("a", after=("t",)), entry("b", tags=("t",))],
            ["no rule: alphabetical order", "must come after b (tag: t)"],
        ),
        ([entry("a"), entry("b", before=("a",))], ["no rule: alphabetical order", "must come after b"]),
        ([entry("a", tags=("t",)), entry("b", before=("t",))], [..., "must come after b (which precedes t)"]),
        ([entry("a", after=("b", "c")), entry("b"), entry("c")], [..., ..., "must come after b and c"]),
        ([entry("a", after=("b", "t")), entry("b", tags=("t",))], [..., "must come after b"]),
        (
            [entry("a", one_of="mix"), entry("b", one_of="mix")],
            [f"takes turns with {other}: for each batch, one of them is drawn at random" for other in "ba"],
        ),
    ],
)
def test_each_place_has_its_reason(entries, why):
    placed = resolve_order(entries)
    assert [told for one, told in zip((one.why for one in placed), why, strict=True) if told not in (..., one)] == []


def test_a_circle_is_refused_by_name():
    with pytest.raises(CompositionError, match=r"a.*b|b.*a"):
        resolve_order([entry("a", after=("b",)), entry("b", after=("a",))])


@pytest.mark.parametrize(
    ("entries", "task", "message"),
    [
        ([entry("a"), entry("a")], CLASSES, "a is given 2 times"),
        ([entry("a", conflicts=("mixing",)), entry("b", tags=("mixing",))], CLASSES, "a refuses mixing, and b is one"),
        ([entry("a", requires=("averaging",))], CLASSES, "a requires averaging"),
        ([entry("a", tasks=("classification",))], VALUES, "a is for classification, but the dataset is a regression"),
    ],
)
def test_contradictions_are_refused_with_both_names(entries, task, message):
    with pytest.raises(CompositionError, match=message):
        check_composition(entries, task)


def test_all_contradictions_are_told_at_once():
    with pytest.raises(CompositionError) as caught:
        check_composition([entry("a", requires=("x",)), entry("b", tasks=("classification",))], VALUES)
    assert "a requires x" in caught.value.message
    assert "b is for classification" in caught.value.message


def test_a_requirement_is_met_by_another_and_not_by_itself():
    check_composition([entry("a", requires=("x",)), entry("b", tags=("x",))], CLASSES)
    with pytest.raises(CompositionError, match="a requires x"):
        check_composition([entry("a", requires=("x",), tags=("x",))], CLASSES)


def test_the_first_party_regularizers_stand_in_their_order():
    registry = default_registry()
    entries = [
        Entry(key=one.name, descriptor=one.component)
        for one in registry.components("regularizer")
        if one.origin.is_first_party
    ]
    order = keys(*entries)
    for first, second in (("batchnorm", "dropout"), ("mixup", "label_smoothing"), ("swa", "early_stopping")):
        assert order.index(first) < order.index(second)
