"""Tables at the command line: six real ones from training to predictions, and one message for each that is wrong."""

import json
import os
from pathlib import Path

import pytest
from runs import standing_in
from tracking_stores import copied_store

TABLES = Path(os.environ.get("REGPLUG_DATA_DIR", "none")) / "tables"
NAMES = ("attrition", "concrete", "credit_data", "olive", "saratoga", "spam7")


@pytest.mark.full
@pytest.mark.skipif(not TABLES.is_dir(), reason="REGPLUG_DATA_DIR has no folder of tables")
@pytest.mark.parametrize("name", NAMES)
def test_a_real_table_trains_exports_verifies_and_predicts_at_default_settings(name, terminal, tmp_path):
    about = json.loads((TABLES / "index.json").read_text())[name]
    file = TABLES / f"{name}.csv"
    with standing_in(tmp_path):
        copied_store(tmp_path)
        said = terminal("run", "--dataset", file, "--target", about["target"], "--json")
        assert (said.code, said.document["verification"]["passed"]) == (0, True)
        bundle = said.document["bundle"]["path"]
        assert terminal("verify", bundle, "--json").document["passed"]
        rows = terminal("predict", bundle, file, "--json").document["predictions"]
        assert len(rows) == about["rows"]
    metrics = said.document["metrics"]
    assert metrics.get("test/accuracy", 1) > 0.7
    assert metrics.get("test/r2", 1) > 0.3


def rows(count, line):
    return "\n".join(line(number) for number in range(count)) + "\n"


GOOD = rows(60, lambda i: f"{i * 7 % 13},{'ab'[i % 2]},{'xy'[i % 2]}")
WRONG = {
    "ragged rows": ("u,v,y\n" + GOOD + "1,a\n", "y", "line 62: 2 cells under 3 column names"),
    "a wrong separator": ("u,v,y\n" + GOOD.replace(",", "^"), "y", "1 cell under 3 column names"),
    "no header": (GOOD.replace("a", "1").replace("b", "2").replace("x", "3").replace("y", "4"), "", "only numbers"),
    "duplicate names": ("u,u,y\n" + GOOD, "y", "column 2 has the same name 'u' as another one"),
    "an empty column": ("u,v,w,y\n" + rows(60, lambda i: f"{i},a,,{'xy'[i % 2]}"), "y", "column w is empty"),
    "one class only": ("u,v,y\n" + rows(60, lambda i: f"{i},a,x"), "y", "every row has the class x"),
    "a target that is not there": ("u,v,kind\n" + GOOD, "kinds", "Did you mean kind"),
    "a class with one row": ("u,v,y\n" + GOOD + "1,a,z\n", "y", "class z has 1 row"),
    "infinities": (
        "u,v,y\n" + GOOD + "inf,a,x\n-inf,a,x\n",
        "y",
        "the number is infinite; the column has 2 such numbers",
    ),
    "a constant target": ("u,v,y\n" + rows(60, lambda i: f"{i * 7 % 13},{i},2.5"), "y", "the target is 2.5"),
    "a batch larger than the rows": ("u,v,y\n" + rows(20, lambda i: f"{i},{i},{'xy'[i % 2]}"), "y", "batch_size=32"),
    "dates": ("u,v,y\n" + rows(60, lambda i: f"2024-01-{1 + i % 28:02d},{i},{'xy'[i % 2]}"), "y", "has dates"),
    "no rows": ("u,v,y\n", "y", "has no rows"),
    "a header without an end": ("u,v,y", "y", "has no rows"),
    "one row": ("u,v,y\n1,a,x\n", "y", "its value is 1 in every row"),
    "numbers with a comma": ("u;v;y\n" + rows(60, lambda i: f"{i},5;a;{'xy'[i % 2]}"), "y", "are written as '0,5'"),
    "a target of another case": ("u,v,y\n" + GOOD, "Y", "has no column 'Y'"),
    "text in UTF-16 without a mark": (("u,v,y\n" + GOOD).replace("", "\0")[1:], "y", "has NUL characters"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_table_that_is_wrong_is_one_message_and_exit_code_two(case, terminal, tmp_path):
    text, target, words = WRONG[case]
    (tmp_path / "mine.csv").write_text(text)
    with standing_in(tmp_path):
        more = ["--target", target] if target else []
        said = terminal("run", "--dataset", "mine.csv", *more, "--model", "linear", "--epochs", "1", "--no-export")
    assert (said.code, said.out, words in said.err, "Traceback" in said.err) == (2, "", True, False), said.err
    assert not (tmp_path / "mlruns").exists()


def test_a_missing_table_and_a_byte_order_mark(terminal, tmp_path):
    (tmp_path / "mine.csv").write_text("\ufeffu,v,y\n" + GOOD, encoding="utf-8")
    with standing_in(tmp_path):
        said = terminal("run", "--dataset", "min.csv")
        assert (said.code, "No file min.csv" in said.err, "mine.csv" in said.err) == (2, True, True)
        assert terminal("data", "show", "mine.csv", "--json").document["columns"][0]["name"] == "u"


def test_a_run_on_a_table_tells_the_settings_that_are_used_for_it(terminal, tmp_path):
    (tmp_path / "mine.csv").write_text("u,v,y\n" + GOOD)
    with standing_in(tmp_path):
        said = terminal("plan", "--dataset", "mine.csv", "--json")
        assert said.document["config"]["lr"] == 0.1
        assert said.document["config"]["schedule"].startswith("cosine")
        assert "lr=0.1 schedule=cosine is used for mine.csv" in said.err
        said = terminal("plan", "--dataset", "mine.csv", "--lr", "0.3", "--json")
        assert said.document["config"]["lr"] == 0.3
        assert said.document["config"]["schedule"].startswith("constant")
        assert "is used for" not in said.err


@pytest.mark.parametrize(("name", "sign"), [("mine.tsv", "\t"), ("mine.csv", ";"), ("mine.csv", "|")])
def test_delimiters_are_found(name, sign, terminal, tmp_path):
    (tmp_path / name).write_text(("u,v,y\n" + GOOD).replace(",", sign))
    columns = terminal("data", "show", tmp_path / name, "--json").document["columns"]
    assert [(one["name"], one["kind"]) for one in columns] == [("u", "number"), ("v", "category"), ("y", "category")]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("mine.parquet", b"no parquet", "cannot be read as Parquet"),
        ("mine.csv", "u,v,y\n\xe9,1,2\n".encode("latin-1"), "Save it as CSV in UTF-8"),
        ("mine.csv", b"", "has no rows"),
        ("mine.csv", b"u,,y\n1,2,3\n", "column 2 has no name"),
    ],
)
def test_a_file_that_is_no_table_is_one_message(name, content, words, terminal, tmp_path):
    (tmp_path / name).write_bytes(content)
    said = terminal("plan", "--dataset", tmp_path / name)
    assert (said.code, said.out, words in said.err, "Traceback" in said.err) == (2, "", True, False), said.err
