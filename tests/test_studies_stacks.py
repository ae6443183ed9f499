"""A run of a study is the run that `regplug run` would make, however it was trained."""

from __future__ import annotations

import math

import pytest
from study_runs import Place, by_key, table
from torch import nn
from trainings import toy, trained

from regplug.studies.stacks import running

ALL_AT_ONCE = (
    "batchnorm",
    "dropout:drop_probability=0.3",
    "l2:strength=0.01",
    "label_smoothing",
    "clip_norm",
    "max_norm",
    "mixup",
)

STUDIES = {
    "strengths of a penalty": {"grid": ["reg.l2.strength=0,0.01,0.1"], "seeds": 2},
    "rates and learning rates": {"grid": ["reg.dropout.drop_probability=0.1,0.5", "lr=0.1,0.3"], "optimizer": "adam"},
    "many regularizers": {"reg": ALL_AT_ONCE, "grid": ["lr=0.05,0.1"], "seeds": 2, "momentum": 0.9},
    "averaged weights with batch norm": {"reg": ("batchnorm", "swa:start=0.5"), "seeds": 3},
    "early stopping": {"reg": ("early_stopping:patience=1",), "grid": ["lr=0.05,0.2,3"], "epochs": 8},
    "zipped strengths": {"zip": ["reg.l1.strength=0,0.001", "reg.sam.rho=0.01,0.05"], "seeds": 2},
    "deltas of a loss": {"dataset": toy("regression"), "loss": "huber", "grid": ["loss.delta=0.1,1,10"], "lr": 0.05},
    "data seeds": {"dataset": "digits", "model": "linear", "data_seeds": 2, "seeds": 2, "epochs": 2},
    "starts that see the data": {
        "dataset": "digits",
        "model": "linear",
        "init": ("lsuv",),
        "data_seeds": 2,
        "seeds": 2,
        "epochs": 2,
    },
    "seeds with data of their own": {
        "dataset": "digits",
        "model": "linear",
        "seeds": 3,
        "pair_seeds": True,
        "epochs": 2,
    },
}
STUDY_FIELDS = ("grid", "zip", "seeds", "data_seeds", "pair_seeds", "probe")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return Place(tmp_path_factory.mktemp("stacks"))


@pytest.fixture
def stacked(monkeypatch):
    """Stacks as large as can be, whatever the measurement says."""
    monkeypatch.setattr(running.GroupRunner, "_measure", lambda self, sizes: {size: 1.0 / size for size in sizes})


def final_metrics(**fields):
    """What a run alone measures at its end, without tracking."""
    alone, _ = trained(**fields)
    return {key: numbers[0] for split in ("train", "valid", "test") for key, numbers in alone.evaluate(split).items()}


def assert_close(first, second, tolerance):
    assert set(first) <= set(second)
    for name, value in first.items():
        assert math.isclose(value, second[name], rel_tol=tolerance, abs_tol=tolerance), name


@pytest.mark.parametrize("name", STUDIES)
def test_each_run_of_a_stack_ends_with_the_metrics_of_the_run_alone(place, stacked, name, tell):
    fields = {"dtype": "float64", "probe": ("weight_norm",), **STUDIES[name]}
    result = place.sweep(name=f"study of {name}", **fields)
    assert result.failed == ()
    assert max(size for group in result.started.stacked for size in group["sizes"]) > 1
    for each in result.results[:: max(1, len(result.results) // 3)]:
        config = each.point.config
        own = {field: getattr(config, field) for field in ("reg", "loss", "lr", "seed", "data_seed", "batch_size")}
        base = {key: fields[key] for key in fields if key not in STUDY_FIELDS}
        assert_close(final_metrics(**{**base, **own}), each.metrics, 1e-9)
    tell(f"{name}: {len(result.results)} runs stacked, metrics within 1e-9 of single runs in float64")


@pytest.mark.slow
def test_in_float32_the_metrics_are_those_of_the_run_alone_within_1e_5(place, stacked):
    fields = {"reg": ("input_noise", "l2:strength=0.01"), "model": "linear"}
    result = place.sweep(name="float32", seeds=4, **fields)
    for each in result.results:
        assert_close(each.metrics, place.run(seed=each.point.config.seed, **fields).metrics, 1e-5)


def test_little_memory_splits_groups_and_changes_nothing(place, stacked, monkeypatch):
    fields = {"grid": ["reg.l2.strength=0,0.01,0.1"], "seeds": 4, "dtype": "float64"}
    whole = place.sweep(name="whole", **fields)
    monkeypatch.setattr(running, "free_memory_bytes", lambda device: 1_000_000)
    split = place.sweep(name="split", **fields)
    (sizes,) = (group["sizes"] for group in split.started.stacked)
    assert len(sizes) > 1
    assert sum(sizes) == 12
    assert "fit into memory" in split.started.stacked[0]["why"]
    for key, each in by_key(split).items():
        assert_close(each.metrics, by_key(whole)[key].metrics, 1e-9)


def test_a_stack_has_memory_for_the_batches_of_each_run(place, stacked, monkeypatch):
    """Runs of other seeds take rows in other orders: 640 rows of 784 numbers are gathered for each of them."""
    monkeypatch.setattr(running, "free_memory_bytes", lambda device: 4 * 5 * 640 * 784 * 4)
    wide = {"dataset": toy(train_rows=640, features=784), "model": "linear", "epochs": 1}
    seeds = place.sweep(name="wide", seeds=8, **wide)
    assert [group["sizes"] for group in seeds.started.stacked] == [[4, 4]]
    shared = place.sweep(name="shared", grid=["lr=0.001,0.002,0.003,0.004,0.005,0.006,0.007,0.008"], **wide)
    assert [group["sizes"] for group in shared.started.stacked] == [[8]]


def test_a_run_that_diverges_fails_alone_and_says_at_which_step(place, stacked):
    result = place.sweep(name="diverging", grid=["lr=0.1,1e30"], seeds=2, model="linear", reg=("l2",))
    assert [each.status for each in result.results] == ["FINISHED", "FINISHED", "FAILED", "FAILED"]
    assert "at step" in result.failed[0].error
    calm = place.sweep(name="calm", grid=["lr=0.1"], seeds=2, model="linear", reg=("l2",))
    for each, alone in zip(result.results, calm.results, strict=False):
        assert_close(each.metrics, alone.metrics, 1e-5)
    assert result.best == "lr=0.1"
    failed = [child for child in place.children(result.study_id) if child.status == "FAILED"]
    assert len(failed) == 2
    assert "at step" in failed[0].tags["regplug.error"]
    row = next(row for row in result.document()["summary"] if row["label"] == "lr=1e+30")
    assert (row["runs"], row["failed"], row["mean"]) == (0, 2, None)


class Recurrent(nn.Module):
    """Cannot be lifted: vmap has no rule for a GRU."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(1, 4, batch_first=True)
        self.out = nn.Linear(4, 3)

    def forward(self, x):
        return self.out(self.gru(x[..., None])[0][:, -1])


def test_a_model_that_cannot_be_lifted_runs_one_by_one_with_the_reason(place):
    result = place.sweep(name="gru", model=Recurrent, seeds=2, epochs=1)
    assert result.failed == ()
    (group,) = result.started.stacked
    assert group["sizes"] == [1, 1]
    assert "cannot be stacked" in group["why"]


@pytest.mark.slow
def test_runs_without_epochs_are_evaluated_in_one_stack_without_a_measurement(place, monkeypatch):
    def never(self, sizes):
        raise AssertionError("measured")

    monkeypatch.setattr(running.GroupRunner, "_measure", never)
    result = place.sweep(name="untrained", seeds=3, epochs=0)
    assert [group["sizes"] for group in result.started.stacked] == [[3]]
    assert result.failed == ()
    for each in result.results:
        assert_close(each.metrics, place.run(seed=each.point.config.seed, epochs=0).metrics, 1e-5)
    single = place.sweep(name="untrained gru", model=Recurrent, seeds=2, epochs=0)
    assert (single.failed, len(single.results)) == ((), 2)


OWN = """
from dataclasses import dataclass
from regplug.regularizer import RegularizerFunctions

@dataclass(frozen=True, kw_only=True)
class Params:
    strength: float = 0.1

class Pull(RegularizerFunctions):
    def __init__(self, params):
        self.params = params

    def penalty(self, step, weights, outputs):
        return self.params.strength * sum((w ** 2).sum() for w in weights.values())

Pull.Params = Params
"""


def test_a_regularizer_of_the_users_own_runs_and_the_plan_says_how(place, tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    result = place.sweep(name="own", grid=[f"reg=none,{tmp_path}/own.py:Pull"], seeds=2, epochs=1)
    assert result.failed == ()
    assert len(result.started.stacked) == 2
    assert all(group["why"] for group in result.started.stacked)


class Moody(nn.Linear):
    """Breaks where it is trained on thirteen rows."""

    def __init__(self):
        super().__init__(8, 3)

    def forward(self, x):
        if self.training and len(x) == 13:
            raise ArithmeticError("not today")
        return super().forward(x)


def test_layers_that_act_in_evaluation_are_stacked(place):
    grid = ["reg.shake_drop.drop_probability=0.2,0.5"]
    result = place.sweep(name="shaken", model="residual_mlp:width=8", reg=["shake_drop"], grid=grid, epochs=1)
    assert result.failed == ()
    assert sum(sum(group["sizes"]) for group in result.started.stacked) == len(result.results)


def test_a_run_that_breaks_fails_and_the_study_goes_on(place):
    result = place.sweep(name="moody", model=Moody, grid=["batch_size=8,13,26"], epochs=1)
    (broken,) = result.failed
    assert broken.error.startswith("Your own code raised ArithmeticError")
    assert broken.point.config.batch_size == 13
    assert [each.status for each in result.results] == ["FINISHED", "FAILED", "FINISHED"]


def test_where_a_stack_breaks_its_runs_are_trained_one_by_one(place):
    result = place.sweep(name="moody seeds", model=Moody, batch_size=13, seeds=3, epochs=1)
    assert ["raised ArithmeticError" in each.error for each in result.results] == [True] * 3
    assert result.best is None
    assert result.document()["summary"] == []


def test_alternatives_that_are_equal_are_called_identical(place):
    result = place.sweep(name="same", grid=["reg=none,l2:strength=0"], seeds=3)
    assert "identical" in result.conclusion.analysis.verdict
    rows = list(table(result).values())
    assert rows[0] == rows[1]
