"""Results in Python, as a notebook shows them: frames, figures, short texts; and the same from the command line."""

from __future__ import annotations

import csv
import json

import pytest
from cli_calls import terminal_in
from matplotlib.figure import Figure
from study_runs import Place

import regplug
from regplug.errors import RequestError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return Place(tmp_path_factory.mktemp("results") / "store")


@pytest.fixture(scope="module")
def swept(place):
    return place.sweep(grid=["reg.l2.strength=0,0.1"], seeds=3, name="swept")


@pytest.fixture(scope="module")
def compared(place, swept):
    return regplug.compare(swept.study_id, tracking_uri=place.uri)


@pytest.fixture
def terminal(capsys, monkeypatch, place):
    return terminal_in(place.folder, capsys, monkeypatch)


def test_a_run_has_its_curves_as_frame_and_figure(place):
    result = place.run()
    frame = result.to_pandas()
    assert list(frame.index)[-1] == result.config.epochs
    assert frame["test/accuracy"].iloc[-1] == result.metrics["test/accuracy"]
    assert isinstance(result.plot(), Figure)
    assert repr(result).startswith(f"RunResult({result.run_name!r}: FINISHED, test/accuracy ")
    assert len(repr(result)) < 200
    assert result.run_id in result._repr_html_()


def test_a_study_has_its_settings_and_runs_as_frames_and_its_figures(swept, compared, tmp_path):
    for result in (swept, compared):
        assert list(result.to_pandas()["setting"]) == [s.label for s in result.analyses()[0][1].summaries]
        assert len(result.to_pandas(by="run")) == 6
        assert isinstance(result.plot(), Figure)
        assert isinstance(result.plot("strength-reg.l2.strength"), Figure)
        assert "2 settings, 6 runs" in repr(result)
        assert "<table>" in result._repr_html_()
        assert result.table("latex").startswith(r"\begin{tabular}")
    names = [[drawing.name for drawing in result.drawings()] for result in (swept, compared)]
    assert names[0] == names[1]
    with pytest.raises(RequestError, match="There is no figure x"):
        swept.plot("x")
    assert {path.suffix for path in compared.save_figures(tmp_path, ["svg", "pdf"])} == {".svg", ".pdf"}


def test_compare_writes_its_table_to_stdout_or_a_file(terminal, compared, place):
    said = terminal("compare", "swept", "--to", "csv")
    rows = list(csv.DictReader(said.out.splitlines()))
    assert [float(row["mean"]) for row in rows] == [s.mean for s in compared.analysis.summaries]
    assert json.loads(terminal("compare", "swept", "--to", "json").out)[0]["metric"] == "test/accuracy"
    said = terminal(
        "compare", "swept", "--to", "latex", "--out", "table.tex", "--figures", "figs", "--figure-format", "svg"
    )
    assert said.out == "table    table.tex\n"
    assert (place.folder / "table.tex").read_text() == compared.table("latex")
    assert {path.suffix for path in (place.folder / "figs").iterdir()} == {".svg"}
    assert not list(place.folder.glob("report-*.html")), "a table was asked for instead"


def test_what_cannot_be_written_is_refused_before_anything_is_read(terminal):
    for options, said in (
        (("--to", "latx"), "cannot be written as latx"),
        (("--to", "csv", "--json"), "--json and --to both"),
        (("--figures", "f", "--figure-format", "jpg"), "cannot be written as jpg"),
    ):
        answer = terminal("compare", "nothing/here", *options)
        assert answer.code == 2
        assert said in answer.out + answer.err
