"""`sweep`, `cv`, `compare` and `plan` of studies, as they are typed."""

from __future__ import annotations

import re

import pytest
from cli_calls import terminal_in
from study_runs import Place

import regplug
from regplug.cli.live_study import LiveStudy

pytestmark = pytest.mark.slow

SMALL = ("--model", "linear", "--epochs", "2", "--lr", "0.1")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return Place(tmp_path_factory.mktemp("typed") / "store")


@pytest.fixture
def terminal(capsys, monkeypatch, place):
    return terminal_in(place.folder, capsys, monkeypatch)


@pytest.fixture(scope="module")
def swept(place):
    """A study of two strengths and three seeds."""
    result = regplug.sweep(
        model="linear",
        epochs=2,
        lr=0.1,
        grid=["reg.l2.strength=0,1"],
        seeds=3,
        name="swept",
        tracking_uri=place.uri,
        export=False,
    )
    return result.study_id


def test_a_sweep_tells_table_verdict_best_and_what_is_next(terminal, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")  # on a slow machine longer seconds fold the labels
    said = terminal("sweep", *SMALL, "--no-export", "--grid", "reg.l2.strength=0,1", "--seeds", "3")
    assert (said.code, said.err) == (0, "")
    rows = [line for line in said.out.splitlines() if line.startswith("l2.strength=")]
    assert [row.split()[0] for row in rows[:2]] == ["l2.strength=0", "l2.strength=1"]
    assert "l2.strength=0 has the best valid/accuracy." in said.out
    assert "6 runs in" in said.out
    assert "regplug compare" in said.out


def test_a_sweep_as_json_is_one_document_with_runs_and_summary(terminal):
    said = terminal(
        "sweep",
        *SMALL,
        "--no-export",
        "--zip",
        "lr=0.1,0.2",
        "--zip",
        "momentum=0,0.5",
        "--pair-seeds",
        "--seeds",
        "2",
        "--json",
    )
    document = said.document
    assert said.code == 0
    assert [(r["seed"], r["data_seed"]) for r in document["runs"]] == [(0, 0), (1, 1)] * 2
    assert {row["label"] for row in document["summary"]} == {"lr=0.1, momentum=0", "lr=0.2, momentum=0.5"}
    assert all(len(run["run_id"]) == 32 and run["status"] == "FINISHED" for run in document["runs"])
    assert document["selected_by"] == "valid/accuracy"


def test_a_study_file_is_read_and_flags_win(terminal, tmp_path):
    file = tmp_path / "study.toml"
    file.write_text('grid = ["lr=0.1,0.2"]\nseeds = 2\nmodel = "linear"\nepochs = 5\n')
    document = terminal("sweep", file, "--epochs", "1", "--no-export", "--json").document
    assert len(document["runs"]) == 4
    assert {run["epochs"] for run in document["runs"]} == {1}


def test_cv_trains_and_exports_the_winner(terminal, tmp_path):
    out = tmp_path / "best"
    said = terminal("cv", *SMALL, "--grid", "reg=none,l2", "--folds", "3", "--out", out, "--format", "onnx", "--json")
    assert said.code == 0
    document = said.document
    assert [run["fold"] for run in document["runs"]] == [[0, 0], [1, 0], [2, 0]] * 2
    assert document["winner"]["bundle"]["path"] == str(out)
    assert (out / "model.onnx").exists()
    assert document["metric"] == "valid/accuracy"


def test_one_run_that_fails_is_told_and_ends_with_one(terminal):
    said = terminal("sweep", *SMALL, "--no-export", "--reg", "l2", "--grid", "lr=0.1,1e30")
    assert said.code == 1
    assert "FAILED  lr=1e+30 | seed 0 data 0: The run diverged" in said.err
    assert "1 of 2 runs failed" in said.err
    assert "lr=0.1" in said.out


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("sweep", "--grid", "reg.l2.strenght=1"), ("Did you mean strength",)),
        (("sweep", "--grid", "reg.dropout.drop_probability=2,3"), ("drop_probability=2", "drop_probability=3")),
        (("sweep", "--grid", "lr="), ("product is empty",)),
        (("sweep", "--grid", "threads=1,2"), ("cannot vary threads",)),
        (("sweep", "--metric", "test/loss"), ("test split",)),
        (("sweep", "--seeds", "0"), ("seeds",)),
        (("sweep", "no.toml"), ("no.toml cannot be read",)),
        (("sweep", "a.toml", "--config", "b.toml"), ("Two files",)),
        (("cv", "--folds", "5000"), ("5000 folds were requested",)),
        (("cv", "--group", "patient"), ("has no groups",)),
        (("cv", "--repeats", "0"), ("repeats",)),
        (("compare", "nothing/here"), ("no experiment or study nothing/here",)),
    ],
)
def test_a_wrong_request_is_one_message_and_exit_code_two(terminal, args, words):
    said = terminal(*args, "--json")
    assert said.code == 2
    message = f"{said.document['error']['message']} {said.document['error']['hint']}"
    assert [word for word in words if word not in message] == []


def test_plan_tells_which_runs_stack_and_why(terminal):
    document = terminal("plan", *SMALL, "--grid", "reg=none,l2", "--seeds", "4", "--json").document
    assert [group["runs"] for group in document["stacked"]] == [4, 4]
    duration = document["duration"]
    assert duration["seconds"] == pytest.approx(sum(duration[f"{part}_s"] for part in ("training", "final", "other")))
    assert min(duration["training_s"], duration["final_s"]) > 0
    assert all("by stack size" in group["why"] for group in document["stacked"])
    said = terminal("plan", *SMALL, "--grid", "lr=0.1,0.2", "--folds", "3")
    assert "cv of 2 settings, 6 runs" in said.out
    assert re.search(r"duration: about \d.* to train the best setting again and export it \(an estimate", said.out)
    assert "trimmed" in said.out


def test_compare_ranks_a_study_and_writes_its_report(terminal, swept, place, figures_are_drawn):
    said = terminal("compare", "swept", "--baseline", "l2.strength=1")
    assert said.code == 0
    assert "report   report-swept.html" in said.out
    assert "/#/compare-runs?runs=" in said.out
    page = (place.folder / "report-swept.html").read_text()
    assert "<svg" in page
    assert "<path" in page
    assert "l2.strength=1" in page
    assert "report.html" in place.store.artifact_names(swept)
    assert place.store.find_run(swept).status == "FINISHED"
    document = terminal("compare", swept[:8], "--metric", "valid/loss", "--json").document
    assert (document["metric"], len(document["runs"])) == ("valid/loss", 6)


def test_compare_by_reg_groups_the_plain_runs_of_an_experiment(terminal, place):
    for reg, seed in (((), 0), ((), 1), (("l2:strength=0.1",), 0), (("l2:strength=1",), 0)):
        place.run(dataset="digits", model="linear", epochs=1, reg=reg, seed=seed, experiment="plain")
    found = regplug.compare("plain", by="reg", tracking_uri=place.uri)
    assert {summary.label for summary in found.analysis.summaries} == {"none", "l2:strength=0.1", "l2:strength=1.0"}
    assert regplug.compare("plain", tracking_uri=place.uri).study.labels == found.study.labels
    place.run(dataset="digits", model="linear", epochs=1, seed=0, lr=0.3, experiment="plain")
    said = terminal("compare", "plain", "--by", "reg")
    assert said.code == 2
    assert "differ in lr" in said.err
    assert "--by reg,lr" in said.err


def test_studies_over_several_datasets_are_ranked_by_dataset(place):
    fields = {
        "model": "linear",
        "epochs": 1,
        "seeds": 2,
        "tracking_uri": place.uri,
        "export": False,
        "grid": ["reg=none,l2:strength=3"],
    }
    for size in (100, 200, 300):
        regplug.sweep(**fields, dataset=f"linear_regression:train_rows={size}", name=f"rows {size}", lr=0.003)
    found = regplug.compare("rows 100", "rows 200", "rows 300", tracking_uri=place.uri)
    assert len(found.parts) == 3
    assert {part.analysis.units.kind for part in found.parts} == {"seed"}
    assert found.ranks.n == 3
    assert found.ranks.critical_difference is not None


def test_the_parent_keeps_report_figure_curves_and_the_best(place, swept):
    assert {"analysis.json", "curves.json", "plan.json", "report.html", "settings.png", "study.json"} <= set(
        place.store.artifact_names(swept)
    )
    parent = place.store.find_run(swept)
    assert parent.tags["regplug.study.best"].startswith("l2.strength=")
    assert parent.metrics["best/valid/accuracy"] > 0.5
    child = place.children(swept)[0]
    assert {"reg.l2.strength", "seed", "lr", "setting"} <= set(child.params)


def test_the_live_table_counts_and_leads(place, swept):
    seen = []

    class Watch(LiveStudy):
        def runs_finished(self, results):
            super().runs_finished(results)
            seen.append((self._standing.done, self._standing.leading(False), self._standing.seconds_left()))

    with Watch(is_quiet=True) as live:
        regplug.sweep(
            model="linear",
            epochs=2,
            lr=0.1,
            grid=["lr=0.1,0.2"],
            seeds=2,
            observers=[live],
            tracking_uri=place.uri,
            export=False,
        )
    done, leading, left = seen[-1]
    assert (done, left) == (4, 0)
    assert [runs for _, _, runs in leading] == [2, 2]
    assert leading[0][1] >= leading[1][1]


def test_a_table_is_studied_by_its_path(terminal, tmp_path):
    rows = [f"{at % 7},{at % 5},{'yes' if at % 7 > 3 else 'no'}" for at in range(60)]
    (tmp_path / "rows.csv").write_text("\n".join(["a,b,ill", *rows]) + "\n")
    said = terminal("plan", "--dataset", tmp_path / "rows.csv", "--target", "ill", "--grid", "reg=none,l2", "--json")
    assert (said.code, len(said.document["stacked"])) == (0, 2)
