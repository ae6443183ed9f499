"""`regplug plot activations`: functions and derivatives as a picture."""

from io import BytesIO

import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.image import imread
from torch import nn

from regplug.errors import ModelError
from regplug.reports.activations import activations_png

pytestmark = pytest.mark.usefixtures("figures_are_drawn")


@pytest.fixture
def figures(monkeypatch):
    drawn, save = [], FigureCanvasAgg.print_png

    def spy(canvas, *args, **kwargs):
        drawn.append(canvas.figure)
        save(canvas, *args, **kwargs)

    monkeypatch.setattr(FigureCanvasAgg, "print_png", spy)
    return drawn


def lines(axes):
    return {line.get_label(): line.get_xydata() for line in axes.lines}


def test_each_function_stands_beside_its_derivative(figures):
    png = activations_png({"tanh": nn.Tanh(), "relu": nn.ReLU()})
    assert imread(BytesIO(png)).ndim == 3
    values, slopes = map(lines, figures[0].axes)
    x = torch.from_numpy(values["tanh"][:, 0])
    assert torch.allclose(torch.from_numpy(values["tanh"][:, 1]), x.tanh())
    assert torch.allclose(torch.from_numpy(slopes["tanh"][:, 1]), 1 - x.tanh().square())


def test_a_jump_of_the_derivative_is_a_gap_in_its_line(figures):
    activations_png({"relu": nn.ReLU()})
    slopes = lines(figures[0].axes[1])["relu"]
    gaps = slopes[torch.from_numpy(slopes[:, 1]).isnan().numpy(), 0]
    assert len(gaps) == 1
    assert abs(gaps[0]) < 0.01


def test_more_lines_than_colours_are_told_apart_by_dashes(figures):
    activations_png({str(number): nn.Tanh() for number in range(8)})
    styles = {(line.get_color(), line.get_linestyle()) for line in figures[0].axes[0].lines}
    assert len(styles) == 8


def test_a_module_that_is_no_function_is_named():
    with pytest.raises(ModelError, match="The activation broken raised"):
        activations_png({"broken": nn.Bilinear(2, 2, 2)})


def test_the_command_writes_the_picture_and_names_it(terminal, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ["relu", "tanh", "leaky_relu:negative_slope=0.3"]
    said = terminal("plot", "activations", *names, "--out", "acts.png", "--json")
    assert said.document == {"path": "acts.png", "activations": names}
    assert (tmp_path / "acts.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["rellu"], "Did you mean relu"),
        (["relu", "--out", "acts.jpg"], "Write --out acts.png"),
        (["relu", "--out", "nowhere/acts.png"], "folder that exists"),
        ([], "names"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_written(terminal, arguments, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = terminal("plot", "activations", *arguments)
    assert said.code == 2
    assert told in said.err
    assert not list(tmp_path.iterdir())
