"""What a study means, and what is refused before anything runs."""

from __future__ import annotations

import pytest
from study_runs import Place
from trainings import toy

from regplug.config import RunConfig
from regplug.errors import RequestError
from regplug.registry import default_registry
from regplug.studies.design.axes import parse_axis
from regplug.studies.design.config import StudyConfig, load_study
from regplug.studies.design.points import points_of, settings_of
from regplug.studies.engine import Study


def study(**fields):
    return load_study(None, (), fields, kind="any")


def points(**fields):
    return points_of(study(**fields), default_registry())


def refused(**fields):
    with pytest.raises(RequestError) as caught:
        points(**fields)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_a_grid_is_a_product_and_a_zip_goes_together():
    labels = [s.label for s in settings_of(study(grid=("lr=0.1,0.2",), zip=("momentum=0,0.5", "batch_size=16,32")))]
    assert labels == [
        "lr=0.1, momentum=0, batch_size=16",
        "lr=0.1, momentum=0.5, batch_size=32",
        "lr=0.2, momentum=0, batch_size=16",
        "lr=0.2, momentum=0.5, batch_size=32",
    ]


def test_ranges_are_logarithmic_or_linear():
    assert parse_axis("reg.l2.strength=log(1e-4,1,5)").values == (0.0001, 0.001, 0.01, 0.1, 1.0)
    assert parse_axis("lr=linear(0,1,5)").values == (0, 0.25, 0.5, 0.75, 1)


def test_a_strength_implies_its_regularizer_and_a_plus_composes():
    assert points(grid=("reg.l2.strength=0.5",))[-1].config.reg[0].startswith("l2:strength=0.5")
    heads = [
        tuple(text.partition(":")[0] for text in p.config.reg) for p in points(grid=("reg=none,dropout,l2+dropout",))
    ]
    assert heads == [(), ("dropout",), ("l2", "dropout")]


OWN = """
from dataclasses import dataclass
from typing import Annotated
from regplug.api import Stackable
from regplug.regularizer import RegularizerFunctions

@dataclass(frozen=True)
class Off:
    gamma: Annotated[float, Stackable(off=0)] = 0.5

@dataclass(frozen=True)
class Plain:
    gamma: Annotated[float, Stackable()] = 0.5

class Pull(RegularizerFunctions):
    Params = Off

    def penalty(self, step, weights, outputs):
        return step.settings["gamma"] * sum((w ** 2).sum() for w in step.select(weights).values())

class Push(Pull):
    Params = Plain
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    path = tmp_path_factory.mktemp("own") / "own.py"
    path.write_text(OWN)
    return path


@pytest.mark.parametrize(
    ("reg", "key", "labels"),
    [
        ("Pull", "Pull", ["Pull.gamma=0", "Pull.gamma=0.1", "Pull.gamma=0.2"]),
        ("Pull@first", "first", ["first.gamma=0", "first.gamma=0.1", "first.gamma=0.2"]),
        ("Push@first", "first", ["none", "first.gamma=0.1", "first.gamma=0.2"]),
    ],
)
def test_an_axis_names_a_regularizer_of_the_run_by_its_key(own, reg, key, labels):
    found = points(reg=(f"{own}:{reg}",), grid=(f"reg.{key}.gamma=0.1,0.2",))
    assert [point.setting.label for point in found] == labels
    assert [point.setting.is_reference for point in found] == [True, False, False]
    last = f"{own}:{reg}:gamma"
    assert [point.config.reg for point in found[1:]] == [(f"{last}=0.1",), (f"{last}=0.2",)]


def test_the_best_strength_is_chosen_for_a_regularizer_of_the_users_own(own):
    found = points(reg=(f"{own}:Pull",), grid=("reg.Pull.gamma=0,0.1,0.2",), best_of="strength")
    assert [point.setting.group for point in found] == ["none", "Pull", "Pull"]


def test_two_regularizers_of_one_file_have_their_own_off_values(own):
    found = points(grid=(f"reg={own}:Pull:gamma=0.1,{own}:Push:gamma=0",))
    assert [point.setting.label.rpartition("/")[2] for point in found] == [
        "none",
        "own.py:Pull:gamma=0.1",
        "own.py:Push:gamma=0",
    ]


def test_an_axis_of_a_regularizer_that_the_run_does_not_have_says_how_to_choose_it():
    assert refused(grid=("reg.Pull.gamma=0.1",)) == (
        "The run has no reg Pull.\nChoose your own class first: --reg ./FILE.py:Pull"
    )


def test_initializers_are_alternatives_of_an_axis_and_one_has_axes_of_its_own():
    heads = [p.config.init for p in points(grid=("init=none,zeros+constant:at=output",))]
    assert [[text.partition(":")[0] for text in each] for each in heads] == [[], ["zeros", "constant"]]
    assert points(grid=("init.normal.std=0.5",))[0].config.init == ("normal:at=[],mean=0.0,std=0.5,bias=0.0",)


def test_values_that_six_digits_do_not_tell_apart_keep_different_labels():
    labels = [s.label for s in settings_of(study(grid=("lr=0.10000001,0.10000002",)))]
    assert labels == ["lr=0.10000001", "lr=0.10000002"]


def test_seeds_and_data_seeds_make_a_product_and_pairs_go_together():
    crossed = points(seeds=2, data_seeds=3, seed=5)
    assert [(p.config.seed, p.config.data_seed) for p in crossed] == [(5, 0), (6, 0), (5, 1), (6, 1), (5, 2), (6, 2)]
    paired = points(seeds=3, pair_seeds=True, seed=5, data_seed=1)
    assert [(p.config.seed, p.config.data_seed) for p in paired] == [(5, 1), (6, 2), (7, 3)]


def test_folds_and_repeats_are_runs_of_their_own():
    assert [p.fold for p in points(folds=2, repeats=2)] == [(0, 0), (1, 0), (0, 1), (1, 1)]
    assert len({p.key for p in points(folds=2, repeats=2, seeds=2, grid=("lr=0.1,0.2",))}) == 16


def test_a_study_is_read_from_a_file_and_flags_win(tmp_path):
    file = tmp_path / "study.toml"
    file.write_text('grid = ["lr=0.1,0.2"]\nseeds = 4\nmodel = "linear"\nepochs = 7\n[dataset]\nname = "digits"\n')
    read = load_study(file, ("momentum=0.5",), {"seeds": 2, "epochs": None})
    assert (read.grid, read.seeds, read.base.model, read.base.epochs) == (("lr=0.1,0.2",), 2, "linear", 7)
    assert read.base.momentum == 0.5


def test_a_study_reads_itself_back():
    asked = study(grid=("lr=0.1,0.2", "reg=none,l2"), seeds=3, model="linear", pair_seeds=True)
    assert StudyConfig.from_dict(asked.to_dict()) == asked


def test_a_file_with_an_unknown_key_is_refused_with_the_near_one(tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text("grids: [lr=0.1]\n")
    with pytest.raises(RequestError, match=r"grids is unknown(?s:.*)Did you mean grid"):
        load_study(file)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"grid": ("lrr=0.1",)}, ("lrr", "Did you mean lr")),
        ({"grid": ("reg.l2.strenght=0.1",)}, ("reg.l2.strenght", "Did you mean strength")),
        ({"grid": ("reg.dropuot.drop_probability=0.1",)}, ("dropuot", "dropout")),
        ({"grid": ("reg=none,dropuot",)}, ("dropuot", "Did you mean dropout")),
        ({"grid": ("loss.delta=1,2",)}, ("varies a parameter of the loss, but none is chosen", "--loss NAME")),
        ({"grid": ("loss.detla=1,2",), "loss": "huber"}, ("no parameter of huber", "Did you mean delta")),
        ({"grid": ("loss=mse,mae", "loss.delta=1,2")}, ("no parameter of mse or mae",)),
        ({"grid": ("loss=mse,huber", "loss.delta=1,2")}, ("delta is unknown: there are no parameters",)),
        ({"grid": ("activation.slope=1,2",)}, ("varies a parameter of the activation", "--activation NAME")),
        ({"grid": ("lr=",)}, ("product is empty",)),
        ({"grid": ("lr=0.1,,0.2",)}, ("product is empty",)),
        ({"grid": ("lr",)}, ("no name and values",)),
        ({"grid": ("lr=log(0,1,5)",)}, ("not a valid range",)),
        ({"grid": ("lr=linear(0,1,1)",)}, ("not a valid range",)),
        ({"grid": ("lr=0.1,0.1",)}, ("twice", "--seeds")),
        ({"grid": ("seed=1,2",)}, ("cannot vary seed", "--seeds")),
        ({"grid": ("name=a,b",)}, ("cannot vary name",)),
        ({"grid": ("lr=0.1", "lr=0.2")}, ("lr is given twice",)),
        ({"zip": ("lr=0.1,0.2", "momentum=0")}, ("different lengths", "lr has 2", "momentum has 1")),
        ({"metric": "test/accuracy"}, ("test split",)),
        ({"metric": "train/loss"}, ("train split",)),
        ({"metric": "norm/weight"}, ("something other than a validation metric",)),
        ({"grid": ("lr=linear(0,1,1000)",), "seeds": 101}, ("101,000 runs", "at most 100,000")),
        ({"folds": 1}, ("One fold",)),
        ({"seeds": 0}, ("seeds",)),
        ({"pair_seeds": True, "data_seeds": 2}, ("pair_seeds",)),
    ],
)
def test_a_wrong_study_is_one_message(fields, words):
    message = refused(**fields)
    assert [word for word in words if word not in message] == []


def test_each_value_out_of_bounds_is_told_once():
    message = refused(grid=("reg.dropout.drop_probability=0.5,1.5,2", "lr=-1,0.1"))
    told = [line.strip().partition(": ")[0] for line in message.splitlines()]
    assert sorted(told) == ["Nothing was run.", "dropout.drop_probability=1.5", "dropout.drop_probability=2", "lr=-1"]


def test_values_that_are_told_together_do_not_hide_a_component_that_is_not_there():
    message = refused(grid=("model=linear,mlpp", "lr=0.1,-2"))
    assert "lr=-2: " in message
    assert "model=mlpp, lr=0.1: No model is named 'mlpp'" in message


def test_a_sweep_has_no_folds():
    with pytest.raises(RequestError, match="regplug cv"):
        load_study(None, (), {"folds": 5})
    assert load_study(None, (), {}, kind="cv").folds == 5


def test_more_folds_than_rows_or_a_class_missing_in_a_fold_is_refused(tmp_path):
    with pytest.raises(RequestError, match="500 folds were requested"):
        Study(study(dataset="linear_regression", model="linear", folds=500, batch_size=5), kind="cv")
    place = Place(tmp_path)
    with pytest.raises(RequestError, match="a class would be missing in a fold"):
        place.cv(dataset=toy(train_rows=40), folds=60, batch_size=8)
    assert place.store.experiments() == {"0": "Default"}


def test_a_metric_that_is_not_measured_is_told_before_anything_runs():
    config = StudyConfig(base=RunConfig(model="linear", epochs=1), metric="valid/acuracy")
    with pytest.raises(RequestError, match="not measured") as caught:
        Study(config)
    assert "valid/accuracy" in caught.value.hint


def test_settings_with_different_losses_are_not_compared_by_their_loss():
    fields = {"dataset": "linear_regression", "model": "linear", "epochs": 1, "batch_size": 5}
    assert Study(study(**fields)).metric == "valid/loss"
    assert Study(study(**fields, grid=("loss=mse,mae",))).metric == "valid/rmse"
    assert Study(study(**fields, loss="huber", grid=("loss.delta=1,2",))).metric == "valid/rmse"
    with pytest.raises(RequestError, match="cannot be compared between the losses"):
        Study(study(**fields, grid=("loss=mse,mae",), metric="valid/loss"))


def test_a_component_is_chosen_before_its_parameter_in_whichever_order_the_axes_are():
    fields = {"dataset": "linear_regression", "model": "linear"}
    grid = ("loss.delta=1,2", "loss=huber")
    assert [p.config.loss for p in points(**fields, grid=grid)] == ["huber:delta=1.0", "huber:delta=2.0"]
    assert [p.config.loss for p in points(**fields, grid=grid[::-1])] == ["huber:delta=1.0", "huber:delta=2.0"]


@pytest.mark.parametrize(
    ("axis", "is_suited"), [("lr=0.1,0.2", False), ("optimizer=sgd,adam", False), ("seed=1,2", True)]
)
def test_settings_that_suit_a_dataset_are_left_out_where_a_study_varies_the_update(axis, is_suited):
    study = load_study(None, (), {"grid": axis}, suggest=lambda dataset: ("schedule=cosine",))
    assert (study.base.schedule == "cosine") is is_suited
