"""Figures: they are pictures, of the numbers, and leave matplotlib's global state alone."""

import subprocess
import sys
from io import BytesIO

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.image import imread

from regplug.reports import plots

pytestmark = pytest.mark.usefixtures("figures_are_drawn")


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved."""
    figures = []
    print_png = FigureCanvasAgg.print_png

    def spy(canvas, *args, **kwargs):
        figures.append(canvas.figure)
        print_png(canvas, *args, **kwargs)

    monkeypatch.setattr(FigureCanvasAgg, "print_png", spy)
    return figures


def test_a_reliability_diagram_shows_the_accuracy_and_the_rows_of_each_bin(drawn):
    rows, confidence = np.array([0, 3, 1]), np.array([0.0, 0.5, 0.9])
    assert imread(BytesIO(plots.reliability_png(rows, confidence, np.array([0.0, 1 / 3, 1.0])))).size
    bars, counts = drawn[0].axes
    assert [bar.get_height() for bar in bars.patches] == pytest.approx([1 / 3, 1.0])
    assert [bar.get_height() for bar in counts.patches] == [0, 3, 1]
    assert bars.get_title() == "calibration error 0.150"


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_a_confusion_matrix_shows_counts_names_and_shares(drawn):
    png = plots.confusion_matrix_png(np.array([[50, 3], [0, 0]]), ("cat", "$5 to $9"))
    axes = drawn[0].axes[0]
    assert imread(BytesIO(png)).ndim == 3
    assert texts(axes) == ["50", "3"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat", "$5 to $9"]
    assert axes.images[0].get_array().tolist() == [[50 / 53, 3 / 53], [0, 0]]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")


def test_a_hundred_classes_have_no_numbers_and_few_names(drawn):
    plots.confusion_matrix_png(np.eye(100, dtype=np.int64))
    axes = drawn[0].axes[0]
    assert texts(axes) == []
    assert len(axes.get_xticks()) == 20


def test_a_long_class_name_is_cut(drawn):
    plots.confusion_matrix_png(np.eye(2, dtype=np.int64), ("a" * 100, "b"))
    assert drawn[0].axes[0].get_yticklabels()[0].get_text() == "a" * 23 + "…"


def test_curves_have_a_panel_for_each_quantity_and_a_line_for_each_split(drawn):
    history = {
        "train/loss": [(1, 2.0), (2, 0.01)],
        "train/running_loss": [(1, 2.5), (2, 0.5)],
        "valid/loss": [(2, 0.3)],
        "valid/accuracy": [(1, 0.5), (2, 0.9)],
        "norm/weight": [(1, 10.0), (2, 11.0)],
        "test/loss": [],
    }
    plots.curves_png(history)
    loss, accuracy, norm = drawn[0].axes
    assert [axes.get_title() for axes in drawn[0].axes] == ["loss", "accuracy", "norm/weight"]
    assert [line.get_label() for line in loss.lines] == ["train", "train (running)", "valid"]
    assert loss.lines[0].get_xydata().tolist() == [[1, 2], [2, 0.01]]
    assert loss.lines[0].get_color() == loss.lines[1].get_color() != loss.lines[2].get_color()
    assert loss.get_yscale() == "log"
    assert accuracy.get_yscale() == norm.get_yscale() == "linear"
    assert norm.get_legend() is None


def test_many_curves_stand_in_rows_and_what_was_measured_once_is_left_out(drawn):
    curves = {f"norm/{name}": [(1, 1.0), (2, 2.0)] for name in "abcde"}
    plots.curves_png({**curves, "gap/loss": [(2, 0.5)]})
    assert [axes.get_title() for axes in drawn[0].axes] == list(curves)
    width, height = drawn[0].get_size_inches()
    assert width < 3 * height


@pytest.mark.parametrize(
    "history",
    [{}, {"train/loss": []}, {"train/loss": [(0, float("nan"))]}, {"train/loss": [(0, float("inf")), (1, 1)]}],
)
def test_curves_without_a_finite_point_are_still_a_picture(history):
    assert imread(BytesIO(plots.curves_png(history))).ndim == 3


def test_the_same_numbers_give_the_same_bytes():
    matrix = np.arange(9).reshape(3, 3)
    assert plots.confusion_matrix_png(matrix) == plots.confusion_matrix_png(matrix)


def test_plots_never_touch_pyplot():
    draw = "import sys, regplug.reports.plots as plots; plots.curves_png({'train/loss': [(1, 2)]})"
    code = f"{draw}; print('matplotlib.pyplot' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
