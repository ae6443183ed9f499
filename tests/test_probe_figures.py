"""Runs and studies with probes: what is logged, drawn, printed and refused."""

from __future__ import annotations

import json

import pytest
from matplotlib.image import imread
from study_runs import Place
from torch import nn
from trainings import toy

from regplug.cli.summary import summarize
from regplug.errors import CompositionError
from regplug.measuring.probing import is_of_layer
from regplug.testing import check_probe

PROBES = ["gradients", "dead_units", "weight_statistics"]
ALL = [
    *PROBES,
    "update_ratio",
    "effective_rank",
    "activation_statistics",
    "gradient_noise_scale",
    "sharpness",
    "calibration",
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return Place(tmp_path_factory.mktemp("probes"))


@pytest.fixture(scope="module")
def probed(place):
    return place.run(probe=PROBES, epochs=3)


@pytest.mark.slow
def test_a_run_logs_measurements_of_layers_as_metrics_and_draws_them(place, figures_are_drawn):
    probed = place.run(probe=PROBES, epochs=3)
    logged = place.store.find_run(probed.run_id).metrics
    assert {"gradient/norm", "gradient/mean_abs/hidden1", "dead/unit_fraction/activation2"} <= set(logged)
    for name in ("gradient_by_layer", "dead_by_layer", "weights_by_layer", "weights_histograms"):
        picture = imread(place.store.read_artifact(probed.run_id, f"probes/{name}.png"))
        assert picture[..., :3].std() > 0.01


@pytest.mark.slow
def test_the_end_of_a_run_says_what_its_probes_cost(probed):
    told = dict(summarize(probed))["probes"]
    assert all(f"{name} " in told for name in PROBES)
    assert told.endswith("of the training's time")
    assert set(probed.document()["probe_seconds"]) == set(PROBES)


@pytest.mark.slow
def test_a_run_with_all_probes_ends_with_the_same_weights_and_says_nothing_of_the_usual_one(place):
    plain = place.run(reg=["dropout", "batchnorm"])
    seen = place.run(reg=["dropout", "batchnorm"], probe=ALL)
    assert plain.state_sha256 == seen.state_sha256
    usual = {name: value for name, value in plain.metrics.items() if not name.startswith("time/")}
    assert {name: seen.metrics[name] for name in usual} == usual


@pytest.mark.slow
def test_children_of_a_study_log_summaries_and_the_study_keeps_the_layers_curves(place):
    study = place.sweep(probe=PROBES, grid=["lr=0.1,0.2"], epochs=4)
    for child in place.children(study.study_id):
        assert "gradient/norm" in child.metrics
        assert not [name for name in child.metrics if is_of_layer(name)]
    curves = json.loads(place.store.read_artifact(study.study_id, "curves.json").read_text())
    assert all(len(curve["gradient/mean_abs/hidden1"]) == 4 for curve in curves.values())


@pytest.mark.slow
@pytest.mark.parametrize("probe", ["weight_norm", *ALL])
def test_the_kit_accepts_the_probes(probe):
    report = check_probe(probe)
    assert report.passed, "\n".join(report.lines())


def test_a_probe_that_does_not_fit_is_refused_before_anything_is_tracked(place):
    linear, values = nn.Linear(8, 3), toy("regression")
    before = len(place.store.experiments())
    with pytest.raises(CompositionError, match=r"dead_units found no activation function .* Its modules: none"):
        place.run(model=linear, probe=["dead_units"], experiment="refused")
    with pytest.raises(CompositionError, match="calibration needs the probabilities of a classification"):
        place.run(dataset=values, probe=["calibration"], experiment="refused")
    with pytest.raises(CompositionError, match="activation_statistics found no activation function"):
        place.sweep(model=linear, probe=["activation_statistics"], grid=["lr=0.1,0.2"], experiment="refused")
    assert len(place.store.experiments()) == before


@pytest.mark.slow
def test_a_run_measures_its_probes_where_it_is_evaluated(place):
    result = place.run(probe=["weight_norm"], epochs=4, evaluate_every=2)
    assert [epoch for epoch, _ in result.history["norm/weight"]] == [2, 4]
