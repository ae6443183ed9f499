"""The table of an analysis in the terminal: sorted by what decides, readable at 80 columns."""

from __future__ import annotations

import re

import pytest
from test_statistics import study_of

from regplug.cli.analysis_text import tell_analysis
from regplug.cli.output import table_lines
from regplug.statistics import PairKey, Question, Setting, Study, StudyRun, answer

LONG = "dropout:drop_probability=0.3333+label_smoothing:strength=0.15"
VALID = {"none": 0.70, LONG: 0.80, "l2:strength=0.0001": 0.90, "batchnorm": 0.75}
TEST = {"none": 0.71, LONG: 0.95, "l2:strength=0.0001": 0.85, "batchnorm": 0.72}


@pytest.fixture(scope="module")
def analysis():
    runs = [
        StudyRun(
            setting=label,
            key=PairKey(seed=seed),
            metrics={"valid/accuracy": VALID[label], "test/accuracy": TEST[label] + seed * (0.01 + 0.002 * at)},
        )
        for at, label in enumerate(VALID)
        for seed in range(4)
    ]
    study = Study(name="s", settings=tuple(Setting(label=label) for label in VALID), runs=tuple(runs))
    question = Question(metric="test/accuracy", selected_by="valid/accuracy", reference="none")
    return answer(study, question).analysis


def printed(analysis, capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    tell_analysis(analysis)
    return capsys.readouterr().out.splitlines()


def test_the_reference_comes_first_and_the_others_by_what_decides(analysis, capsys, monkeypatch):
    lines = printed(analysis, capsys, monkeypatch, 200)
    head = next(at for at, line in enumerate(lines) if line.startswith("setting"))
    assert lines[head].split()[:3] == ["setting", "valid", "test"]
    rows = [re.split(r"\s{2,}", line) for line in lines[head + 2 : head + 6]]
    assert [row[0] for row in rows] == ["none", "l2:strength=0.0001 *", LONG, "batchnorm"]
    assert [row[1] for row in rows] == ["0.7", "0.9", "0.8", "0.75"]
    assert "reference" in rows[0]
    assert "* best valid/accuracy" in lines


def test_no_word_is_broken_at_80_columns(analysis, capsys, monkeypatch):
    lines = printed(analysis, capsys, monkeypatch, 80)
    assert max(map(len, lines)) <= 80
    words = {word for piece in re.split(r"(?<=[:,=+])", LONG) for word in [piece]}
    cells = {re.split(r"\s{2,}", line.strip())[0] for line in lines}
    assert any(cell.startswith("dropout:") for cell in cells)
    for word in words:
        assert any(word in line for line in lines)


def test_a_long_word_makes_its_column_wider():
    (_, _, *rows) = table_lines(("name", ">n"), [("unbreakable_name_of_a_thing", "1")], folds="name", width=20)
    assert rows == ["unbreakable_name_of_a_thing  1"]


def test_without_a_choice_the_table_has_one_metric(capsys, monkeypatch):
    study = study_of({"a": [0.1, 0.2, 0.4], "b": [0.5, 0.6, 0.7]})
    lines = printed(answer(study, Question(metric="test/accuracy", reference="a")).analysis, capsys, monkeypatch, 80)
    assert lines[1].split() == ["setting", "test/accuracy", "difference", "p", "runs"]
