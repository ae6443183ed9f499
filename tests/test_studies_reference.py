"""With which setting the others are compared: the base run without the regularizers that vary, or the one named."""

from __future__ import annotations

import pytest

from regplug.errors import RequestError
from regplug.registry import default_registry
from regplug.studies.design.config import load_study
from regplug.studies.design.points import points_of


def settings(**fields):
    """The settings of a study in order, the reference with a star."""
    found = {point.setting.label: point.setting for point in points(**fields)}
    return [f"{label}{' *' * setting.is_reference}" for label, setting in found.items()]


def points(**fields):
    return points_of(load_study(None, (), fields, kind="any"), default_registry())


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"grid": ["reg=dropout,l2"]}, ["none *", "dropout", "l2"]),
        ({"grid": ["reg=dropout,none"]}, ["dropout", "none *"]),
        ({"grid": ["reg.l2.strength=0.1,1"]}, ["l2.strength=0 *", "l2.strength=0.1", "l2.strength=1"]),
        ({"grid": ["reg.l2.strength=0.1,0"]}, ["l2.strength=0.1", "l2.strength=0 *"]),
        ({"grid": ["reg.l2.strength=0.1,1"], "reg": ["l2", "dropout"]}, ["l2.strength=0 *", *["l2.strength=%s"] * 2]),
        ({"grid": ["reg.batchnorm.momentum=0.1,0.5"]}, ["none *", "batchnorm.momentum=0.1", "batchnorm.momentum=0.5"]),
        ({"grid": ["lr=0.1,0.2,0.5"]}, ["lr=0.1", "lr=0.2 *", "lr=0.5"]),
        ({"grid": ["lr=0.1,0.5"]}, ["lr=0.1 *", "lr=0.5"]),
        (
            {"grid": ["reg=dropout", "lr=0.1,0.2"]},
            ["reg=none, lr=0.1", "reg=none, lr=0.2 *", "reg=dropout, lr=0.1", "reg=dropout, lr=0.2"],
        ),
        (
            {"grid": ["reg=none,dropout", "lr=0.1,0.5"]},
            ["reg=none, lr=0.1 *", "reg=none, lr=0.5", "reg=dropout, lr=0.1", "reg=dropout, lr=0.5"],
        ),
        (
            {"grid": ["reg.l2.strength=0.1", "reg.l1.strength=0.1"]},
            ["l2.strength=0, l1.strength=0 *", "l2.strength=0.1, l1.strength=0.1"],
        ),
        (
            {"zip": ["reg.l2.strength=0.1,1", "lr=0.1,0.2"]},
            [f"l2.strength={values}" for values in ("0, lr=0.1", "0, lr=0.2 *", "0.1, lr=0.1", "1, lr=0.2")],
        ),
        ({"grid": ["reg=dropout,l2"], "baseline": "l2"}, ["dropout", "l2 *"]),
        ({"grid": ["reg=dropout,l2"], "baseline": "none"}, ["none *", "dropout", "l2"]),
        ({"grid": ["reg=dropout,l2"], "all_pairs": True}, ["dropout", "l2"]),
        ({"seeds": 2}, ["base *"]),
    ],
)  # fmt: skip
def test_the_reference_is_the_base_run_without_what_varies_or_the_setting_named(fields, expected):
    values = iter(("0.1", "1"))
    assert settings(**fields) == [each % next(values) if "%s" in each else each for each in expected]


def test_a_reference_that_is_added_keeps_the_regularizers_that_do_not_vary():
    kept = {p.setting.label: [text.partition(":")[0] for text in p.config.reg] for p in points(
        grid=["reg.batchnorm.momentum=0.1"], reg=["dropout", "batchnorm"]
    )}  # fmt: skip
    assert kept == {"none": ["dropout"], "batchnorm.momentum=0.1": ["dropout", "batchnorm"]}


def test_a_baseline_that_is_no_setting_is_refused_with_the_near_one():
    with pytest.raises(RequestError, match="'dropuot' is not a setting of this study") as caught:
        points(grid=["reg=none,dropout"], baseline="dropuot")
    assert "Did you mean dropout" in caught.value.hint
    with pytest.raises(RequestError, match="With all pairs no setting is the baseline"):
        points(grid=["reg=none,dropout"], baseline="none", all_pairs=True)


def test_a_direction_that_contradicts_the_metric_or_has_none_is_refused():
    with pytest.raises(RequestError, match="--minimize contradicts the metric 'valid/accuracy'"):
        points(metric="valid/accuracy", minimize=True)
    with pytest.raises(RequestError, match="--maximize needs a metric"):
        points(minimize=False)
    assert points(metric="valid/macro_f1", minimize=False)
