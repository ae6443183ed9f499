"""What is chosen on validation before settings are compared: strengths, learning rates; and factorials."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from study_runs import Place

import regplug
from regplug.api import Search
from regplug.config.spec import ComponentSpec
from regplug.errors import RequestError
from regplug.registry import default_registry
from regplug.statistics import PairKey, Question, Study, StudyRun, answer
from regplug.statistics import Setting as StudySetting
from regplug.studies.design.axes import on_and_off, parse_axis
from regplug.studies.design.config import load_study
from regplug.studies.design.following import factorial_of_best
from regplug.studies.design.points import points_of
from regplug.studies.design.settings import Setting
from regplug.studies.design.strengths import strength_of


def groups(**fields):
    """The settings of a study by group, the group of the reference with a star."""
    study = load_study(None, (), fields, kind="any")
    settings = {point.setting.label: point.setting for point in points_of(study, default_registry())}
    found, reference = {}, next(s.group for s in settings.values() if s.is_reference)
    for label, setting in settings.items():
        found.setdefault(setting.group + " *" * (setting.group == reference), []).append(label)
    return found


def test_values_between_bars_are_one_setting_each():
    axis = parse_axis(
        "reg=none,dropout:drop_probability=0.1|0.3,l2:strength=1e-3|1e-2+dropout:drop_probability=0.1|0.5"
    )
    assert axis.values[1:3] == ("dropout:drop_probability=0.1", "dropout:drop_probability=0.3")
    assert axis.values[3:] == (
        *(f"l2:strength={a}+dropout:drop_probability={b}" for a in (0.001, 0.01) for b in (0.1, 0.5)),
    )


def test_a_regularizer_is_compared_at_its_best_strength():
    found = groups(grid=["reg=dropout:drop_probability=0.1|0.3,l2:strength=1e-3|1e-2,batchnorm"], best_of="strength")
    assert {group: len(own) for group, own in found.items()} == {"none *": 1, "dropout": 2, "l2": 2, "batchnorm": 1}
    found = groups(grid=["reg.l2.strength=0,0.1,1"], best_of="strength")
    assert {group: len(own) for group, own in found.items()} == {"none *": 1, "l2": 2}


def test_three_strengths_are_the_middles_of_the_declared_range_and_what_has_none_stays():
    found = groups(grid=["reg=l2,batchnorm,dropout:drop_probability=0.3"], best_of="3")
    assert found["l2"] == [f"l2:strength={x:g}" for x in (6.8e-06, 0.00032, 0.015)] or len(found["l2"]) == 3
    assert found["batchnorm"] == ["batchnorm"]
    assert found["dropout"] == ["dropout:drop_probability=0.3"]
    assert strength_of(ComponentSpec.parse("l2"), default_registry()) == (
        "strength",
        Search(low=1e-6, high=1e-1, log=True),
    )


def test_a_tuned_rate_is_tried_for_every_setting_and_for_the_reference():
    found = groups(grid=["reg=dropout,l2"], tune=["lr=0.05,0.1,0.5"])
    assert {group: len(own) for group, own in found.items()} == {"none *": 3, "dropout": 3, "l2": 3}
    assert found == groups(grid=["reg=dropout,l2", "lr=0.05,0.1,0.5"], best_of="lr")
    both = groups(grid=["reg=dropout:drop_probability=0.1|0.3"], tune=["lr=0.05,0.1"], best_of="strength")
    assert {group: len(own) for group, own in both.items()} == {"none *": 2, "dropout": 4}


def test_a_baseline_may_be_a_group():
    assert "l2 *" in groups(grid=["reg=none,l2:strength=0.1|1"], best_of="strength", baseline="l2")


def test_a_factorial_is_every_combination_on_and_off():
    assert on_and_off("a,b,c").values == ("none", "a", "b", "c", "a+b", "a+c", "b+c", "a+b+c")
    found = groups(factorial="dropout,l2:strength=1e-3|1e-2", best_of="strength")
    assert {group: len(own) for group, own in found.items()} == {"none *": 1, "dropout": 1, "l2": 2, "dropout+l2": 2}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"grid": ["reg=none,l2"], "best_of": "strenght"}, "Did you mean strength"),
        ({"grid": ["lr=0.1,0.2"], "best_of": "lr"}, "nothing to compare"),
        ({"grid": ["lr=0.1,0.2"], "best_of": "strength", "tune": ["momentum=0,0.5"]}, ""),
        ({"grid": ["reg=none,l2"], "best_of": "0"}, "no number of strengths"),
        ({"tune": ["lr=0.1,0.2"]}, "nothing to compare"),
        ({"factorial": "dropout"}, "2 to 6 regularizers"),
        ({"grid": ["reg=none,l2"], "tune": ["lrr=1,2"]}, "Did you mean lr"),
        ({"grid": ["reg=none,l2:strenght=1|2"], "best_of": "strength"}, "strenght"),
    ],
)
def test_a_choice_that_cannot_be_made_is_one_message(fields, words):
    if not words:
        assert groups(**fields)
        return
    with pytest.raises(RequestError) as caught:
        groups(**fields)
    assert words in f"{caught.value}"


@pytest.mark.parametrize(
    ("valid", "factorial"),
    [
        ({"none": 0.5, "l2:strength=0.1": 0.6, "l2:strength=1": 0.7, "mixup:alpha=0.2,p=1": 0.9, "dropout": 0.4}, ""),
        ({"none": 0.8, "l2:strength=0.1": 0.6, "l2:strength=1": 0.7, "dropout": 0.9}, None),
    ],
)
def test_the_question_that_follows_is_whether_the_two_best_add_up(valid, factorial):
    runs = tuple(
        StudyRun(setting=label, key=PairKey(seed=seed), metrics={"valid/accuracy": v, "test/accuracy": v + seed / 99})
        for label, v in valid.items()
        for seed in range(3)
    )
    groups = {label: label.partition(":")[0] for label in valid}
    study = Study(name="s", settings=tuple(StudySetting(label=label) for label in valid), runs=runs)
    question = Question(metric="test/accuracy", selected_by="valid/accuracy", reference="none", best_of=groups)
    points = [SimpleNamespace(setting=Setting(label=x, values={"reg": x}, group=groups[x])) for x in valid]
    result = SimpleNamespace(
        config=load_study(None, (), {"grid": ["reg=dropout,l2"], "best_of": "3"}),
        conclusion=SimpleNamespace(analysis=answer(study, question).analysis),
        results=[SimpleNamespace(point=point) for point in points],
    )
    found = factorial_of_best(result)
    if factorial is None:
        assert found is None
        return
    assert (found.factorial, found.grid, found.best_of) == ("'mixup:alpha=0.2,p=1',l2:strength=1", (), "")
    assert found.crossed[0].values[-1] == "mixup:alpha=0.2,p=1+l2:strength=1"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return Place(tmp_path_factory.mktemp("strengths") / "store")


@pytest.mark.slow
def test_a_comparison_says_of_groups_what_their_study_says(place):
    study = place.sweep(
        grid=["reg=l2:strength=1e-3|0.5,dropout"], best_of="strength", seeds=3, epochs=2, name="strengths"
    )
    analysis = study.conclusion.analysis
    assert {summary.label for summary in analysis.summaries} == {"none", "l2", "dropout"}
    assert (analysis.reference, {c.second for c in analysis.comparisons}) == ("none", {"none"})
    assert max(c.family for c in analysis.comparisons) <= 2
    assert study.best in {result.point.setting.label for result in study.results}
    assert study.best_point() is not None
    found = regplug.compare("strengths", tracking_uri=place.uri)
    ours, theirs = found.analysis.document(), analysis.document()
    assert [(c["first"], c["p_value"]) for c in ours["comparisons"]] == [
        (c["first"], c["p_value"] and pytest.approx(c["p_value"])) for c in theirs["comparisons"]
    ]
    assert ours["choices"] == theirs["choices"]


@pytest.mark.slow
def test_a_factorial_reports_its_effects(place):
    study = place.sweep(factorial="dropout,l2:strength=1e-3", seeds=3, epochs=2)
    effects = study.document()["analysis"]["effects"]
    assert [effect["factors"] for effect in effects] == [
        ["dropout"],
        ["l2:strength=1e-3"],
        ["dropout", "l2:strength=1e-3"],
    ]
