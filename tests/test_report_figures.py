"""The figures of a report: which there are, and that they show the numbers of the analysis."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from test_report import ACCURACY, STRENGTHS, study_of

from regplug.reports import curves, factors, figures, plots
from regplug.statistics import Question, analyse, answer

pytestmark = pytest.mark.usefixtures("figures_are_drawn")


@pytest.mark.parametrize("name", ["gap", "cost", "heatmap", "ranks", "differences"])
def test_each_figure_appears_where_the_runs_have_its_numbers(name):
    cells = {f"{a} {b}": {"lr": a, "model": b} for a in (0.3, 0.1) for b in ("linear", "mlp")}
    study = study_of(cells)
    runs = [
        replace(
            run,
            seconds=float(1 + study.labels.index(run.setting)),
            metrics={**run.metrics, "train/accuracy": 0.99},
            key=run.key._replace(dataset=str(run.key.seed)),
        )
        for run in study.runs
    ]
    whole = figures.drawings(replace(study, runs=tuple(runs)), analyse(replace(study, runs=tuple(runs)), ACCURACY), {})
    assert name in [drawing.name for drawing in whole]
    assert len(plots.svg(figures.find(whole, name).draw())) > 1000
    only = [
        drawing.name for drawing in figures.drawings(study_of({"a": {}}), analyse(study_of({"a": {}}), ACCURACY), {})
    ]
    assert only == ["settings"]


def test_the_best_strength_is_marked():
    study = study_of({f"l2={x}": {"reg.l2.strength": x} for x in STRENGTHS})
    drawn = figures.find(figures.drawings(study, analyse(study, ACCURACY), {}), "strength-reg.l2.strength").draw()
    ring = drawn.axes[0].lines[-1]
    assert (ring.get_marker(), list(ring.get_xdata())) == ("o", [0])
    assert [text.get_text() for text in drawn.axes[0].get_xticklabels()] == ["0", "0.01", "0.1", "1"]


def test_each_number_that_varies_has_a_response_with_a_line_for_the_rest():
    study = study_of({f"{r} {x}": {"reg": r, "lr": x} for r in ("none", "l2") for x in (0.1, 0.2, 0.3)})
    (response,) = factors.responses_of(study)
    assert response.factor == "lr"
    assert {name: [x for x, _ in points] for name, points in response.lines.items()} == {
        "reg=none": [0.1, 0.2, 0.3],
        "reg=l2": [0.1, 0.2, 0.3],
    }
    assert factors.responses_of(study_of({"a": {"reg": "none"}, "b": {"reg": "l2"}})) == []


def test_the_parameters_of_a_component_are_factors_of_their_own():
    texts = ("none", "l2:strength=0.1", "l2:strength=1", "dropout:drop_probability=0.2", "dropout:drop_probability=0.4")
    responses = factors.responses_of(study_of({text: {"reg": text} for text in texts}))
    assert [response.factor for response in responses] == ["reg.l2.strength", "reg.dropout.drop_probability"]
    assert [x for points in responses[0].lines.values() for x, _ in points] == [0.1, 1]


def test_two_factors_form_a_grid_only_if_every_cell_is_a_setting():
    cells = {f"{a} {b}": {"lr": a, "model": b} for a in (0.3, 0.1) for b in ("linear", "mlp")}
    grid = factors.grid_of(study_of(cells))
    assert sorted(grid.names) == ["lr", "model"]
    assert len(grid.cells) == 4
    del cells["0.1 mlp"]
    assert factors.grid_of(study_of(cells)) is None


def test_lists_of_widths_are_a_factor_of_a_grid():
    cells = {f"{w} {a}": {"model.hidden": w, "activation": a} for w in ([4], [4, 4]) for a in ("relu", "tanh")}
    grid = factors.grid_of(study_of(cells))
    assert dict(zip(grid.names, grid.values, strict=True)) == {
        "model.hidden": ["[4]", "[4,4]"], "activation": ["relu", "tanh"],
    }  # fmt: skip
    assert sorted(grid.cells.values()) == sorted(cells)


@pytest.mark.parametrize(
    ("xs", "is_log"),
    [
        ({0, 0.01, 0.1, 1}, True),
        ({1e-4, 1e-3, 1e-2}, True),
        ({1, 2, 3}, False),
        ({0, 1}, False),
        ({-10, 1, 5, 90}, False),
    ],
)
def test_strengths_spaced_by_factors_have_a_logarithmic_axis(xs, is_log):
    assert factors.is_log_spaced(xs) is is_log
    band = plots.Band(label="", xs=sorted(xs), mean=[0.5] * len(xs), low=[0.4] * len(xs), high=[0.6] * len(xs))
    scale = plots.bands_figure("x", "y", [band], is_log=is_log).axes[0].get_xscale()
    assert scale == (("symlog" if 0 in xs else "log") if is_log else "linear")


def panel_of(xs, **options):
    """Returns the axes of a panel with one line, after it was drawn."""
    line = plots.Band(label="", xs=xs, mean=[0.5] * len(xs), low=[0.4] * len(xs), high=[0.6] * len(xs))
    figure = plots.panels_figure([plots.Panel(y_name="y", lines=[line], **options)])
    figure.canvas.draw()
    return figure.axes[0]


def test_the_greatest_strength_beside_zero_is_inside_the_panel():
    axes = panel_of([0, 0.3, 1, 3, 10], x_name="strength", is_log_x=True, is_log_y=True)
    left, right = (axes.transData.transform((x, 0.5))[0] for x in (0, 10))
    assert left - axes.bbox.x0 == pytest.approx(axes.bbox.x1 - right)
    assert left - axes.bbox.x0 < 0.06 * axes.bbox.width


@pytest.mark.parametrize("epochs", [3, 100, 2000])
def test_labels_of_epochs_are_round_and_do_not_touch(epochs):
    axes = panel_of(list(range(1, epochs + 1)), x_name="epoch")
    boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
    assert all(left.x1 + 3 < right.x0 for left, right in pairwise(boxes))
    shown = [x for x in axes.get_xticks() if 0 < x <= epochs]
    assert len(shown) >= 3
    assert f"{shown[1] - shown[0]:g}".rstrip("0") in ("1", "2", "5")


def test_the_band_is_the_interval_of_the_table():
    study = study_of({f"l2={x}": {"reg.l2.strength": x} for x in STRENGTHS})
    analysis = analyse(study, ACCURACY)
    drawn = figures.find(figures.drawings(study, analysis, {}), "strength-reg.l2.strength").draw()
    axes = drawn.axes[0]
    low = min(vertex[1] for vertex in axes.collections[0].get_paths()[0].vertices)
    assert low == pytest.approx(min(summary.t_interval[0] for summary in analysis.summaries))


def test_a_stopped_run_keeps_its_last_value_in_the_mean_curve():
    band = curves.mean_curve("a", [[(1, 1.0), (2, 0.5)], [(1, 1.0), (2, 0.7), (3, 0.3)]])
    assert list(band.xs) == [1, 2, 3]
    assert band.mean == pytest.approx([1.0, 0.6, 0.4])
    assert band.high[2] - band.mean[2] == pytest.approx(np.std([0.5, 0.3], ddof=1))


def test_a_diverged_value_counts_for_nothing_in_the_mean_curve():
    band = curves.mean_curve("a", [[(1, 1.0), (2, math.nan)], [(1, 3.0), (2, math.inf)]])
    assert band.mean[0] == 2.0
    assert math.isnan(band.mean[1])


def test_the_chosen_setting_and_the_reference_are_shown_beside_the_leading_ones():
    study = study_of({label: {} for label in "abcdefgh"})
    analysis = analyse(study, ACCURACY, baseline="h")
    assert curves.leading(analysis, dict.fromkeys("abcdefgh")) == ["a", "b", "c", "d", "h"]
    assert curves.leading(analysis, {"b": 0}) == ["b"]


def test_figures_are_png_and_repeat():
    study = study_of({"_a": {}, "$b": {}})
    drawn = [figures.settings_png(study, analyse(study, ACCURACY)) for _ in range(2)]
    assert drawn[0].startswith(b"\x89PNG")
    assert drawn[0] == drawn[1]


def test_a_name_with_an_underscore_in_front_stands_in_the_legend():
    band = plots.Band(label="_a", xs=[1, 2], mean=[1, 2], low=[1, 2], high=[1, 2])
    assert ">_a</text>" in plots.svg(plots.bands_figure("x", "y", [band])).replace("> ", ">")


def test_groups_at_their_best_keep_the_response_of_each_strength():
    study = study_of({f"l2:strength={x}": {"reg": f"l2:strength={x}"} for x in STRENGTHS} | {"none": {"reg": "none"}})
    groups = {f"l2:strength={x}": "l2" for x in STRENGTHS}
    found = answer(
        study, Question(metric=ACCURACY, selected_by="valid/loss", best_of={**groups, "none": "none"}, reference="none")
    )
    names = [d.name for d in figures.drawings(found.study, found.analysis, {}, whole=study)]
    assert names == ["differences", "settings", "strength-reg.l2.strength"]


def test_a_factorial_shows_its_effects():
    study = study_of({name: {"reg": name} for name in ("none", "l2", "dropout", "l2+dropout")})
    analysis = analyse(study, ACCURACY, baseline="none")
    drawn = figures.find(figures.drawings(study, analysis, {}), "effects").draw()
    labels = [label.get_text() for label in drawn.axes[0].get_yticklabels()]
    assert labels == [effect.name for effect in analysis.effects]
