"""Which tracked runs can be ranked together: told from what they keep of their data and their loss."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from regplug.runs.data_facts import DataFacts, facts_of, overlap_ratio, rows_digest
from regplug.studies.comparison.comparable import are_judged_alike, group_by_data, group_by_loss, overlap_of, why_apart
from regplug.tracking import RunInfo

SIZES = {"train": 60, "valid": 20, "test": 20}


def facts(rows="rows", part="a", *, folds=0, sizes=SIZES, judged=""):
    return DataFacts(
        digest=f"{rows}/{part}", judged_digest=judged or f"{rows}/{part}", rows_digest=rows, sizes=sizes, folds=folds
    )


def run(known, *, data_seed=0, loss="mse", dataset="csv", metrics=None, **params):
    """A tracked run of these facts; `dataset__path` is the parameter `dataset.path`."""
    named = {name.replace("__", "."): str(value) for name, value in params.items()}
    run.count += 1
    return RunInfo(
        run_id=f"{run.count:032}",
        name="",
        experiment="e",
        experiment_id="1",
        status="FINISHED",
        is_stale=False,
        started=datetime.now(UTC),
        ended=None,
        params={"dataset": dataset, "data_seed": str(data_seed), "seed": "0", "loss": loss, **named},
        tags=known.tags() if known else {},
        metrics=metrics or {},
        artifact_uri="",
    )


run.count = 0


def grouped(*runs, varied=()):
    """Which runs are together, by their numbers in the order given, and what the groups are called."""
    groups = group_by_data(runs, lambda one: one.params["dataset"], varied)
    number = {one.run_id: at for at, one in enumerate(runs)}
    return [[number[each.run_id] for each in group.runs] for group in groups], [group.name for group in groups]


def test_data_seeds_that_part_the_same_rows_are_one_dataset():
    assert grouped(*(run(facts(part=str(seed)), data_seed=seed) for seed in range(3)))[0] == [[0, 1, 2]]


def test_data_that_are_generated_anew_with_each_data_seed_are_one_dataset():
    assert grouped(*(run(facts(rows=str(seed)), data_seed=seed) for seed in range(3)))[0] == [[0, 1, 2]]


def test_two_files_are_two_datasets_and_a_copy_of_a_file_is_none():
    one, other, copy = (
        run(facts(rows="1"), dataset__path="a.csv"),
        run(facts(rows="2"), dataset__path="b.csv"),
        run(facts(rows="1"), dataset__path="c.csv"),
    )
    assert grouped(one, other, copy)[0] == [[0, 2], [1]]


def test_a_file_that_changed_under_its_name_is_another_dataset():
    runs = [run(facts(rows=rows, part=str(seed)), data_seed=seed) for rows in ("old", "new") for seed in range(2)]
    members, names = grouped(*runs)
    assert members == [[0, 1], [2, 3]]
    assert names == ["csv, data old/0", "csv, data new/0"]


def test_arrays_of_one_name_are_told_apart_by_what_is_in_them():
    assert grouped(run(facts(rows="1"), dataset="arrays"), run(facts(rows="2"), dataset="arrays"))[0] == [[0], [1]]


def test_other_shares_of_the_same_rows_stand_apart_and_another_normalization_does_not():
    small = facts(part="b", sizes={"train": 70, "valid": 20, "test": 10})
    runs = (
        run(facts(), dataset__test=0.2, dataset__normalize="unit"),
        run(facts(), dataset__test=0.2, dataset__normalize="none"),
        run(small, dataset__test=0.1, dataset__normalize="unit"),
    )
    members, names = grouped(*runs)
    assert members == [[0, 1], [2]]
    assert names == ["csv, rows train 60 valid 20 test 20", "csv, rows train 70 valid 20 test 10"]


def test_folds_stand_apart_from_the_datasets_own_split_and_from_other_folds():
    runs = [run(facts(part="own"))]
    runs += [run(facts(part=f"5/{fold}", folds=5), fold=fold, repeat=0) for fold in range(2)]
    runs += [run(facts(part=f"3/{fold}", folds=3), fold=fold, repeat=0) for fold in range(2)]
    assert grouped(*runs) == ([[0], [1, 2], [3, 4]], ["csv, no folds", "csv, 5 folds", "csv, 3 folds"])


def test_a_parameter_of_the_dataset_that_makes_the_settings_keeps_them_together():
    few, many = (facts(rows=str(rows), judged="test") for rows in (10, 100))
    runs = (run(few, dataset__train_rows=10), run(many, dataset__train_rows=100))
    assert grouped(*runs)[0] == [[0], [1]]
    assert grouped(*runs, varied=("dataset.train_rows",))[0] == [[0, 1]]
    assert grouped(*runs, varied=("dataset",))[0] == [[0, 1]]
    (group,) = group_by_data(runs, str, ("dataset",))
    assert are_judged_alike(group)
    (group,) = group_by_data((runs[0], run(facts(judged="other"))), str, ("dataset",))
    assert not are_judged_alike(group)


def test_runs_that_tell_nothing_of_their_data_go_by_the_name_of_their_dataset():
    runs = (run(None), run(facts()), run(None, dataset="digits"))
    assert grouped(*runs)[0] == [[0, 1], [2]]


def test_losses_stand_apart_and_the_reason_names_a_metric_that_they_share():
    (group,) = group_by_data([run(facts(), loss=loss) for loss in ("mse", "huber", "mse")], lambda one: "csv")
    apart = group_by_loss(group)
    assert [(each.name, len(each.runs)) for each in apart] == [("csv, loss mse", 2), ("csv, loss huber", 1)]
    (why,) = why_apart(apart, "test/loss")
    assert "test/loss cannot be compared between different losses" in why
    assert "--metric test/rmse ranks them together." in why
    assert group_by_loss(apart[0]) == (apart[0],)


def test_the_reasons_name_datasets_and_splits():
    split = run(facts(part="b", sizes={"train": 70, "valid": 20, "test": 10}), dataset__test=0.1)
    groups = group_by_data([run(facts()), split, run(facts(rows="2"), dataset="digits")], lambda one: "x")
    assert why_apart(groups[:1], "test/loss") == []
    words = " ".join(why_apart(groups, "test/loss"))
    assert "Metrics on different datasets cannot be ranked together" in words
    assert "A dataset has several splits" in words


# The correction for overlapping training rows


@pytest.mark.parametrize(
    ("runs", "ratio"),
    [
        ([(0, facts(part="a")), (1, facts(part="b"))], 20 / 60),
        ([(0, facts(part="a")), (0, facts(part="a"))], None),
        ([(0, facts(rows="1")), (1, facts(rows="2"))], None),
        ([(0, facts(folds=4, sizes={"train": 75, "valid": 25, "test": 9}))], 1 / 3),
        ([(0, facts(folds=3, sizes={"train": 101, "valid": 50, "test": 9}))], 1 / 2),
    ],
    ids=["the same rows parted anew", "one data seed", "other rows", "folds", "trimmed folds"],
)
def test_rows_that_runs_share_give_the_ratio_of_the_correction(runs, ratio):
    split = "valid" if runs[0][1].folds else "test"
    assert overlap_ratio(runs, split) == (None if ratio is None else pytest.approx(ratio))


def test_the_ratio_is_that_of_the_split_that_is_compared():
    sizes = {"train": 60, "valid": 30, "test": 12}
    (group,) = group_by_data([run(facts(part=str(s), sizes=sizes), data_seed=s) for s in range(2)], str)
    assert [overlap_of(group, metric) for metric in ("test/accuracy", "valid/loss", "gap/loss")] == [0.2, 0.5, 0.2]


def test_facts_survive_as_tags_and_the_digest_of_rows_knows_no_split():
    known = facts(folds=3)
    assert DataFacts.from_tags({**known.tags(), "other": "x"}) == known
    assert DataFacts.from_tags({"regplug.data.digest": "x"}) is None
    from regplug.data import prepare, raw_from_arrays

    x, y = [[float(i), 1.0] for i in range(20)], [float(i) for i in range(20)]
    raws = [raw_from_arrays(x, y, seed=seed) for seed in range(2)]
    first, second = (facts_of(prepare(raw)) for raw in raws)
    assert first.digest != second.digest
    assert first.rows_digest == second.rows_digest
    assert rows_digest(raw_from_arrays(x, y[::-1])) != first.rows_digest
    moved = replace(raws[0], train=raws[0].test, test=raws[0].train)
    assert rows_digest(moved) == first.rows_digest
