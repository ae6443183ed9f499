"""The textbook's weight decay as a stacked study: FACTS.md rows A1 to A4, eight seeds with data of their own."""

from __future__ import annotations

import statistics

import pytest
from study_runs import Place
from test_facts_linear import COMMAND, ROWS, TEST_LOSS, outside

BY_LOSS = {"half_squared_error": ("A1", "A2"), "mse": ("A3", "A4")}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return Place(tmp_path_factory.mktemp("facts") / "store")


@pytest.mark.parametrize("loss", BY_LOSS)
def test_a_stacked_study_lands_where_the_reference_does_and_where_single_runs_do(place, tell, loss):
    study = {**COMMAND, "loss": loss, "probe": ("weight_norm",), "dataset": "linear_regression"}
    result = place.sweep(**study, name=loss, grid=["reg.l2.strength=0,3"], seeds=8, pair_seeds=True)
    assert result.conclusion.analysis.units.kind == "data seed"
    for row, label in zip(BY_LOSS[loss], ("l2.strength=0", "l2.strength=3"), strict=True):
        runs = [each.metrics for each in result.results if each.point.setting.label == label]
        norms, losses = [run["norm/weight"] for run in runs], [run["test/loss"] for run in runs]
        assert len(outside(norms, *ROWS[row][1])) <= 1
        assert len(outside(losses, *TEST_LOSS[row])) <= 1
        tell(
            f"FACTS {row}, stacked, 8 seeds: norm {statistics.mean(norms):.4g}, test loss {statistics.mean(losses):.4g}"
        )
    last = result.results[-1]
    alone = place.run(**study, reg=last.point.config.reg, seed=7, data_seed=7)
    assert alone.metrics["norm/weight"] == pytest.approx(last.metrics["norm/weight"], rel=1e-5)
    assert alone.metrics["test/loss"] == pytest.approx(last.metrics["test/loss"], rel=1e-5)
