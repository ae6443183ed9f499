"""Parameters of components: described, checked, written."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import pytest
from annotated_types import Ge, Gt, Interval, Len, Lt, MinLen

from regplug.api import Activation, NoParams, Parameters, Search, Stackable
from regplug.config.params import check_fields, describe_params, make_params, params_to_dict, stackable_fields
from regplug.errors import ParameterError, PluginError
from regplug.registry import default_registry

Rate = Annotated[float, Ge(0), Lt(1)]


@dataclass(frozen=True)
class Inner:
    depth: int = 1


@dataclass(frozen=True)
class Params:
    """Parameters of a fake."""

    rate: Annotated[Rate | tuple[Rate, ...], Stackable(), Search(low=0.1, high=0.9)] = 0.1
    "Chance that an entry is dropped, one for all sites\n    or one for each."
    width: Annotated[int, Gt(0)] = 8
    "Width."
    hidden: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)] = (4,)
    normalize: Literal["none", "unit"] = "unit"
    path: str = ""
    flag: bool = False
    limit: Annotated[float, Ge(0)] | None = None
    momentum: Annotated[float, Interval(ge=0, le=1)] = 0.5


@dataclass(frozen=True)
class Derived(Params):
    extra: Annotated[tuple[float, ...], Len(1, 3)] = (1.0,)
    "Only here."


@dataclass(frozen=True)
class Picky:
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low must not be above high")


class Shared(Parameters):
    """Parameters without a decorator."""

    rate: Annotated[Rate, Stackable()] = 0.1
    "Chance."
    names: list = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        if self.rate == 0.5:
            raise ValueError("rate must not be a half")


class SharedMore(Shared):
    width: int = 8
    "Width."


class SharedNeeded(Parameters):
    size: int


FAKE = Activation(name="fake", target="a:b", summary="", params=Params)


def test_defaults_are_taken_where_nothing_is_given():
    assert make_params(FAKE, {}) == Params()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"rate": 0}, Params(rate=0.0)),
        ({"rate": [0.2, 0.5]}, Params(rate=(0.2, 0.5))),
        ({"hidden": [1, 2]}, Params(hidden=(1, 2))),
        ({"normalize": "none"}, Params(normalize="none")),
        ({"limit": "none"}, Params(limit=None)),
        ({"limit": 3}, Params(limit=3.0)),
        ({"path": "none"}, Params(path="none")),
        ({"flag": True}, Params(flag=True)),
    ],
)
def test_allowed_values_are_taken(values, expected):
    made = make_params(FAKE, values)
    assert made == expected
    assert all(type(getattr(made, name)) is type(getattr(expected, name)) for name in values)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"rate": 1.0}, "rate=1.0 is not allowed: float or list of float, at least 0 and less than 1"),
        ({"rate": [0.2, 1.5]}, "rate=[0.2, 1.5] is not allowed"),
        ({"rate": float("nan")}, "rate=nan is not allowed"),
        ({"rate": True}, "rate=True is not allowed"),
        ({"rate": "0.5"}, "rate='0.5' is not allowed"),
        ({"width": 2.0}, "width=2.0 is not allowed: int, greater than 0"),
        ({"width": 0}, "width=0 is not allowed"),
        ({"hidden": []}, "hidden=[] is not allowed: list of int, at least 1 of them, each at least 1"),
        ({"hidden": [0]}, "hidden=[0] is not allowed"),
        ({"hidden": 4}, "hidden=4 is not allowed"),
        ({"normalize": "unti"}, "normalize='unti' is not allowed: one of none, unit"),
        ({"path": 5}, 'path=5 is not allowed: text. A number is text in quotes: "5".'),
        ({"flag": 1}, "flag=1 is not allowed: true or false"),
        ({"limit": "nothing"}, "limit='nothing' is not allowed: float or none, at least 0"),
        ({"momentum": 1.1}, "momentum=1.1 is not allowed: float, between 0 and 1"),
        ({"raet": 0.1}, "raet is unknown. Did you mean rate?"),
    ],
)
def test_what_is_not_allowed_is_refused_with_what_is(values, told):
    with pytest.raises(ParameterError) as caught:
        make_params(FAKE, values, origin="fake-dist")
    assert caught.value.message.startswith("activation fake (fake-dist): ")
    assert told in caught.value.message
    assert caught.value.hint == "`regplug plugins show fake` lists the parameters."


def test_scalars_of_numpy_are_numbers():
    made = make_params(FAKE, {"width": np.int64(3), "rate": [np.float64(0.2)], "flag": np.True_})
    assert made == Params(width=3, rate=(0.2,), flag=True)
    assert (type(made.width), type(made.rate[0])) == (int, float)


def test_all_problems_are_told_at_once():
    with pytest.raises(ParameterError) as caught:
        make_params(FAKE, {"rate": 2, "wdith": 3, "width": -1})
    assert all(word in caught.value.message for word in ("rate=2", "wdith is unknown", "width=-1"))


def test_a_component_without_parameters_says_so():
    with pytest.raises(ParameterError, match="slope is unknown: there are no parameters"):
        make_params(Activation(name="relu", target="a:b", summary=""), {"slope": 1})
    assert make_params(Activation(name="relu", target="a:b", summary=""), {}) == NoParams()


def test_what_the_class_itself_refuses_is_a_parameter_error():
    with pytest.raises(ParameterError, match="low must not be above high"):
        make_params(Activation(name="picky", target="a:b", summary="", params=Picky), {"low": 2})


def test_a_field_says_all_of_itself():
    rate, width, *_ = describe_params(Params)
    assert (rate.name, rate.type, rate.default, rate.bounds) == (
        "rate",
        "float or list of float",
        0.1,
        "at least 0 and less than 1",
    )
    assert rate.doc == "Chance that an entry is dropped, one for all sites or one for each."
    assert rate.stackable
    assert rate.search == Search(low=0.1, high=0.9)
    assert (width.allowed, width.doc, width.stackable, width.search) == ("int, greater than 0", "Width.", False, None)


def test_only_the_marked_fields_may_differ_in_a_stack():
    assert stackable_fields(Params) == ("rate",)
    assert stackable_fields(NoParams) == ()


def test_a_derived_class_has_the_texts_of_its_bases():
    docs = {info.name: info.doc for info in describe_params(Derived)}
    assert (docs["width"], docs["extra"], docs["path"]) == ("Width.", "Only here.", "")
    assert describe_params(Derived)[-1].bounds == "at least 1 of them, at most 3 of them"


def test_a_class_without_source_has_no_texts():
    made = dataclass(frozen=True)(type("Made", (), {"__annotations__": {"a": int}, "a": 1}))
    assert [info.doc for info in describe_params(made)] == [""]


def test_parameters_become_what_json_knows():
    @dataclass(frozen=True)
    class Outer:
        inner: Inner
        rates: tuple[float, ...]

    assert params_to_dict(Outer(Inner(), (0.1, 0.2))) == {"inner": {"depth": 1}, "rates": [0.1, 0.2]}


def test_parameters_written_and_read_again_are_the_same():
    params = Params(rate=(0.2, 0.5), limit=1.0)
    assert Params(**check_fields(Params, params_to_dict(params), subject="again")) == params


def test_annotations_that_cannot_be_read_are_the_plugins_fault():
    @dataclass(frozen=True)
    class Local:
        width: Nowhere = 1  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(PluginError, match="Nowhere"):
        describe_params(Local)


def test_a_class_derived_from_parameters_is_a_frozen_dataclass_of_keyword_arguments():
    made = SharedMore(width=3)
    assert [(field.name, field.kw_only) for field in dataclasses.fields(made)] == [
        ("rate", True),
        ("names", True),
        ("width", True),
    ]
    assert dataclasses.asdict(made) == {"rate": 0.1, "names": [], "width": 3}
    assert dataclasses.replace(made, rate=0.2) == SharedMore(width=3, rate=0.2) != made
    assert repr(made) == "SharedMore(rate=0.1, names=[], width=3)"
    assert made.names is not SharedMore().names
    assert made != Shared()
    assert copy.deepcopy(made) == made
    assert hash(EmptyShared()) == hash(EmptyShared())
    for change in (lambda: setattr(made, "width", 4), lambda: delattr(made, "width")):
        with pytest.raises(dataclasses.FrozenInstanceError, match="width"):
            change()


class EmptyShared(Parameters):
    pass


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Shared(rat=0.1), "Shared has no parameter rat"),
        (lambda: Shared(0.1), "positional"),
        (SharedNeeded, "SharedNeeded needs size"),
    ],
)
def test_wrong_arguments_of_such_a_class_are_type_errors_like_those_of_a_dataclass(make, message):
    with pytest.raises(TypeError, match=message):
        make()


def test_such_a_class_is_described_and_checked_like_a_dataclass():
    assert [(info.name, info.doc) for info in describe_params(SharedMore)] == [
        ("rate", "Chance."),
        ("names", ""),
        ("width", "Width."),
    ]
    component = Activation(name="fake", target="a:b", summary="", params=Shared)
    assert make_params(component, {"rate": 0}) == Shared(rate=0.0)
    with pytest.raises(ParameterError, match="a half"):
        make_params(component, {"rate": 0.5})


def test_every_parameter_that_a_descriptor_writes_down_is_a_field():
    """A class of parameters that derives from a dataclass and lacks the decorator would lose its own."""
    for one in default_registry().components():
        cls = one.component.params
        written = {name for base in cls.__mro__ for name in vars(base).get("__annotations__", {})}
        assert written == {field.name for field in dataclasses.fields(cls)}, one.full_name
