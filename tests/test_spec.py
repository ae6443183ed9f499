"""The component mini-language."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regplug.config.literals import read_value, write_value
from regplug.config.spec import ComponentSpec, is_component_name
from regplug.errors import RequestError

NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
SCALARS = st.one_of(st.integers(), st.booleans(), st.floats(allow_nan=False), st.text(max_size=12))
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4), max_leaves=8)
HEADS = st.one_of(
    st.builds(dict, name=NAMES, distribution=st.none() | st.from_regex(r"[a-z][a-z0-9._-]{0,8}", fullmatch=True)),
    st.builds(
        lambda place, name: {"name": name, "code": f"{place}:{name}"},
        st.sampled_from(["./net.py", "/a/b-c/net.py", "nets/net.py", "mypkg.nets", "~/net.py"]),
        st.sampled_from(["Net", "make_net", "L0"]),
    ),
)
SPECS = st.builds(
    lambda head, alias, values: ComponentSpec(**head, alias=alias, values=values),
    HEADS,
    st.none() | NAMES,
    st.dictionaries(NAMES, VALUES, max_size=4),
)


@given(VALUES)
def test_a_written_value_reads_back(value):
    assert read_value(write_value(value)) == value


@given(SPECS)
def test_a_written_component_reads_back(spec):
    again = ComponentSpec.parse(str(spec))
    assert again == spec
    assert {k: type(v) for k, v in again.values.items()} == {k: type(v) for k, v in spec.values.items()}


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused_in_words(text):
    try:
        spec = ComponentSpec.parse(text)
    except RequestError:
        return
    assert ComponentSpec.parse(str(spec)) == spec


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mlp", ComponentSpec(name="mlp")),
        ("mlp:hidden=[256,256]", ComponentSpec(name="mlp", values={"hidden": [256, 256]})),
        ("l2:strength=1e-3", ComponentSpec(name="l2", values={"strength": 0.001})),
        (
            "dropout@late:drop_probability=0.3,at=flatten",
            ComponentSpec(name="dropout", alias="late", values={"drop_probability": 0.3, "at": "flatten"}),
        ),
        ("my-dist/l2", ComponentSpec(name="l2", distribution="my-dist")),
        ("my.dist/l2@b", ComponentSpec(name="l2", distribution="my.dist", alias="b")),
        ("torchvision:name=resnet18", ComponentSpec(name="torchvision", values={"name": "resnet18"})),
        ("mypkg.nets:Net", ComponentSpec(name="Net", code="mypkg.nets:Net")),
        ("./net.py:Net", ComponentSpec(name="Net", code="./net.py:Net")),
        ("./net.py:Net:width=64", ComponentSpec(name="Net", code="./net.py:Net", values={"width": 64})),
        ("net.py:Net", ComponentSpec(name="Net", code="net.py:Net")),
        ("sub/net.py:Net", ComponentSpec(name="Net", code="sub/net.py:Net")),
        ("csv:path='a, b.csv',header=true", ComponentSpec(name="csv", values={"path": "a, b.csv", "header": True})),
        ("cnn: a = 1 , b = two words ", ComponentSpec(name="cnn", values={"a": 1, "b": "two words"})),
    ],
)
def test_the_forms_of_the_manual_are_read(text, expected):
    assert ComponentSpec.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("1_000", 1000),
        ("1e3", 1000.0),
        ("-inf", float("-inf")),
        ("true", True),
        ("True", "True"),
        ("[]", []),
        ("[[1,2],[a]]", [[1, 2], ["a"]]),
        ("['a,b',\"c]\"]", ["a,b", "c]"]),
        ("layer[0,1]", "layer[0,1]"),
        ('"1"', "1"),
        ("it's", "it's"),
        ("", ""),
    ],
)
def test_values_are_numbers_truth_lists_or_text(text, value):
    assert read_value(text) == value
    assert type(read_value(text)) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Net",
        "9a",
        "a@",
        "a/b/c",
        "net:Net",
        "./net.py",
        "./net.py:",
        "a.b:1x",
        "a:b",
        "a:=1",
        "a:b=1,",
        "a:b=1,b=2",
    ],
)
@pytest.mark.parametrize("tail", ["", " "])
def test_what_is_no_component_is_refused_with_the_text(text, tail):
    with pytest.raises(RequestError) as caught:
        ComponentSpec.parse(text + tail)
    assert repr(text) in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("text", ["l2,dropout", "l2+dropout", "my-dist/l2, dropout@b:at=x"])
def test_several_at_once_are_told_to_be_several(text):
    with pytest.raises(RequestError, match="These are 2 components: repeat the option for each"):
        ComponentSpec.parse(text)


@pytest.mark.parametrize(
    "text", ["a:b=[1", "a:b=]", "a:b='x", "a:b='x'y", "a:b=[1,,2]", "a:b=[1,]", "a:b=[,1]", "a:b=[1]2", "a:b='\\x'"]
)
def test_what_breaks_the_grammar_is_refused_with_the_text(text):
    with pytest.raises(RequestError) as caught:
        ComponentSpec.parse(text)
    assert repr(text) in caught.value.message
    assert caught.value.hint


def test_the_key_is_the_alias_or_else_the_name():
    assert ComponentSpec.parse("l2@b").key == "b"
    assert ComponentSpec.parse("l2").key == "l2"
    assert ComponentSpec.parse("./net.py:Net").key == "Net"


def test_the_values_of_a_component_cannot_be_changed():
    with pytest.raises(TypeError):
        ComponentSpec.parse("l2:strength=1").values["strength"] = 2  # type: ignore[index]


def test_scalars_of_numpy_are_written_as_numbers():
    assert write_value([np.float64(0.1), np.float32(0.5), np.int64(3), np.False_]) == "[0.1,0.5,3,false]"


def test_what_no_value_can_be_is_refused():
    with pytest.raises(RequestError, match="cannot be written"):
        write_value({"a": 1})


@pytest.mark.parametrize(("name", "is_one"), [("l2", True), ("L2", False), ("2l", False), ("a-b", False), ("", False)])
def test_a_component_name_has_lower_case_letters_digits_and_underscores(name, is_one):
    assert is_component_name(name) is is_one
