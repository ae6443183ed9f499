"""Modules whose inputs, outputs or axes cannot be named as asked are refused in words."""

from __future__ import annotations

import pytest
import torch
from named_kinds import IMAGES, META, SEQUENCES, Both, Of, Unit
from torch import nn

import regplug
from regplug.errors import RegplugError

LENGTH = {"dynamic": {1: "length"}}
TWO = {"outputs": ["a", "b"]}
REFUSED = {
    "linear layer on a flattened sequence": (
        nn.Sequential(nn.Flatten(), nn.Linear(24, 3)),
        LENGTH,
        ["fixes the size of the axis 'length'", "length = 6", "AdaptiveAvgPool2d"],
    ),
    "loop over the length": (
        Of(lambda self, x: sum(self.head(x[:, at]) for at in range(x.shape[1]))),
        LENGTH,
        ["fixes the size of the axis 'length'"],
    ),
    "positions beyond a table": (
        Of(lambda self, x: self.head(x + torch.ones(16, 4)[: x.shape[1]]).mean(1)),
        {"dynamic": {1: ("length", 1, 99)}},
        ["'length' (length is 1 to 99)", "<= 16"],
    ),
    "sizes that agree only for some lengths": (
        Of(lambda self, x: self.head(x + x.unflatten(1, (-1, 2)).flatten(1, 2)).mean(1)),
        LENGTH,
        ["'length'", "size=skip.shape[2:]"],
    ),
    "no name for a tuple": (Of(lambda self, x: (self.head(x), x)), LENGTH, ["a tuple of 2", "outputs=("]),
    "too few names": (Of(lambda self, x: (self.head(x), x)), {"outputs": ["a"]}, ["a tuple of 2", "1 names"]),
    "unknown name": (Of(lambda self, x: {"a": self.head(x)}), {"outputs": ["b"]}, ["a dict of a", "no b"]),
    "no tensor": (Of(lambda self, x: {"a": self.head(x), "b": 3}), TWO, ["'b' is a int"]),
    "classes": (Of(lambda self, x: (x, self.head(x).argmax(1))), TWO, ["'b'", "torch.int64"]),
    "no batch": (Of(lambda self, x: (x, self.head(x).mean())), TWO, ["'b' has shape ()", "batch"]),
    "rows that see each other": (Of(lambda self, x: (x, self.head(x - x.mean(0)))), TWO, ["depends on its batch"]),
    "axis of the batch": (Of(lambda self, x: x), {"dynamic": {0: "rows"}}, ["is the batch"]),
    "no such axis": (Of(lambda self, x: x), {"dynamic": {3: "length"}}, ["not one of 1 to 2"]),
    "no such input": (Of(lambda self, x: x), {"dynamic": {"y": {1: "length"}}}, ["'y' is not an input"]),
    "example out of range": (
        Of(lambda self, x: x),
        {"dynamic": {1: ("length", 7, 9)}},
        ["6 along the axis 'length', whose range is 7 to 9"],
    ),
    "empty range": (Of(lambda self, x: x), {"dynamic": {1: ("length", 7, 2)}}, ["range 7 to 2", "empty"]),
    "names used twice": (Of(lambda self, x: x), {"outputs": ["input"]}, ["'input' is used twice"]),
    "with probabilities": (Of(lambda self, x: x), {"outputs": ["a"], "probabilities": True}, ["probabilities needs"]),
    "with names of columns": (
        Of(lambda self, x: x),
        {"outputs": ["a"], "column_names": ["u"]},
        ["column_names cannot"],
    ),
    "other class names": (
        Of(lambda self, x: x),
        {"outputs": ["a"], "class_names": ["u", "v"]},
        ["2 class names", "'a'"],
    ),
}


CAPTURED = (
    "linear layer on a flattened sequence",
    "loop over the length",
    "positions beyond a table",
    "sizes that agree only for some lengths",
    "rows that see each other",
)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in CAPTURED else name for name in REFUSED]
)
def test_what_cannot_have_names_or_symbolic_axes_is_refused_in_words(name, tmp_path, capfd):
    network, asked, words = REFUSED[name]
    with pytest.raises(RegplugError) as caught:
        regplug.export(network, SEQUENCES, tmp_path / "b", **asked)
    message = str(caught.value)
    assert [word for word in words if word not in message] == [], message
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("example", "words"),
    [
        ({"image": IMAGES}, ["cannot take the inputs image", "meta is missing"]),
        ({"image": IMAGES, "rows": META}, ["no argument rows", "meta is missing"]),
        ({"image": IMAGES, "meta": META[:3]}, ["image has 12, meta has 3"]),
        ({"image": IMAGES, "meta": META[:, :2]}, ["image (12, 3, 8, 9), meta (12, 2)", "named_kinds.py:"]),
        ({"image": IMAGES, "meta": "rows.csv"}, ["must be numbers"]),
        ({}, ["no input"]),
    ],
)
def test_inputs_that_the_module_does_not_take_are_refused(example, words, tmp_path):
    with pytest.raises(RegplugError) as caught:
        regplug.export(
            Both(),
            example,
            tmp_path / "b",
            outputs=("logits", "embedding"),
            preprocess={"image": Unit()} if "image" in example else None,
        )
    assert [word for word in words if word not in str(caught.value)] == [], str(caught.value)
