"""A cross-validation: its folds, its numbers as the store has them, its winner."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from study_runs import Place
from trainings import toy

from regplug.data import RawData
from regplug.data.folds import fold_data, pool_rows
from regplug.errors import RequestError
from regplug.registry import default_registry
from regplug.studies.design.config import load_study
from regplug.studies.design.points import points_of
from regplug.studies.stacks.study_data import StudyData

pytestmark = pytest.mark.slow

ROWS, COLUMNS = 500, 10


def write_table(path, rows=ROWS):
    """A noisy linear function of two classes, with a patient for each five rows."""
    generator = np.random.default_rng(3)
    x = generator.standard_normal((rows, COLUMNS))
    y = (x @ generator.standard_normal(COLUMNS) + generator.standard_normal(rows) > 0).astype(int)
    head = ",".join([*(f"x{i}" for i in range(COLUMNS)), "patient", "ill"])
    cells = [[*(f"{value:.6f}" for value in x[i]), f"p{i // 5}", str(y[i])] for i in range(rows)]
    lines = [",".join(row) for row in cells]
    path.write_text("\n".join([head, *lines]) + "\n")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "ill.csv"
    write_table(path)
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return Place(tmp_path_factory.mktemp("cv") / "store")


@pytest.fixture(scope="module")
def judged(place, table):
    """None against dropout against L2 on the table, five folds."""
    return place.cv(
        name="judged",
        dataset=f"csv:path={table},target=ill,group=patient",
        grid=["reg=none,dropout,l2:strength=0.05"],
        folds=5,
        epochs=4,
    )


def corrected_t(values, ratio):
    """Student's interval and p with the variance of Nadeau and Bengio, written anew."""
    n, mean, sd = len(values), np.mean(values), np.std(values, ddof=1)
    error = sd * np.sqrt(1 / n + ratio)
    half = stats.t.ppf(0.975, n - 1) * error
    return (mean - half, mean + half), 2 * stats.t.sf(abs(mean / error), n - 1)


def test_each_run_of_a_study_is_tracked_with_its_dataset(place, judged):
    digests = set()
    for child in place.children(judged.study_id):
        (used,) = place.store._client.get_run(child.run_id).inputs.dataset_inputs
        assert (used.dataset.name, used.dataset.digest) == ("ill", child.tags["regplug.data.digest"][:36])
        digests.add(used.dataset.digest)
    assert len(digests) == 5
    assert len(place.store._client.get_run(judged.study_id).inputs.dataset_inputs) == 5


def test_intervals_and_p_values_are_recomputed_from_the_store(place, judged, tell):
    analysis = judged.conclusion.analysis
    values = {}
    for child in place.children(judged.study_id):
        values.setdefault(child.params["setting"], {})[int(child.params["fold"])] = child.metrics["valid/accuracy"]
    assert {label: sorted(folds) for label, folds in values.items()} == {
        label: list(range(5)) for label in ("none", "dropout", "l2:strength=0.05")
    }
    arrays = {label: np.array([folds[i] for i in range(5)]) for label, folds in values.items()}
    for summary in analysis.summaries:
        interval, _ = corrected_t(arrays[summary.label], 1 / 4)
        assert summary.mean == pytest.approx(arrays[summary.label].mean(), abs=1e-9)
        assert summary.t_interval == pytest.approx(interval, abs=1e-9)
    labels = [summary.label for summary in analysis.summaries]
    pairs = [(a, b) for i, a in enumerate(labels) for b in labels[i + 1 :]]
    assert [(c.first, c.second) for c in analysis.comparisons] == [(x, "none") for x in labels if x != "none"]
    pairs = [pair for pair in pairs if "none" in pair]
    p_values = sorted(corrected_t(arrays[a] - arrays[b], 1 / 4)[1] for a, b in pairs)
    for comparison in analysis.comparisons:
        difference = arrays[comparison.first] - arrays[comparison.second]
        interval, p_value = corrected_t(difference, 1 / 4)
        assert comparison.interval == pytest.approx(interval, abs=1e-9)
        assert comparison.p_value == pytest.approx(p_value, abs=1e-9)
        place_in_order = p_values.index(min(p_values, key=lambda p: abs(p - p_value)))
        holm = max(min(1.0, p * (len(pairs) - i)) for i, p in enumerate(p_values[: place_in_order + 1]))
        assert comparison.p_holm == pytest.approx(holm, abs=1e-9)
    tell("cv of none, dropout and l2 on 500 rows: intervals and p-values recomputed from the store to 1e-9")


def test_the_best_by_validation_is_trained_again_on_the_runs_own_splits(place, judged):
    winner = judged.winner
    assert winner is not None
    assert winner.config.reg == judged.best_point().config.reg
    assert place.store.find_run(judged.study_id).tags["regplug.study.winner"] == winner.run_id
    assert place.store.find_run(winner.run_id).params.get("fold") is None
    assert judged.document()["winner"]["run_id"] == winner.run_id


def test_a_group_stays_in_one_fold_and_in_one_split(table):
    study = load_study(None, (), {"dataset": f"csv:path={table},target=ill,group=patient"})
    registry = default_registry()
    raw = StudyData(study, registry)(points_of(study, registry)[0]).raw
    of_row = {row.tobytes(): group for row, group in zip(pool_rows(raw).x, raw.groups, strict=True)}
    assert raw.train.x.shape[1] == COLUMNS
    assert not {of_row.get(row.tobytes()) for row in raw.test.x} - {None}
    parts = [fold_data(raw, fold=fold, folds=4, repeat=0, data_seed=0) for fold in range(4)]
    groups = [{of_row[row.tobytes()] for row in part.valid.x} for part in parts]
    assert all(groups[a].isdisjoint(groups[b]) for a in range(4) for b in range(a))
    for part, held_out in zip(parts, groups, strict=True):
        assert held_out.isdisjoint({of_row[row.tobytes()] for row in part.train.x})
        assert part.groups is None


def test_folds_are_stratified_equal_and_draw_anew_with_each_repeat():
    raw = toy(train_rows=103)
    parts = [[fold_data(raw, fold=f, folds=5, repeat=r, data_seed=0) for f in range(5)] for r in range(2)]
    assert {(len(p.train), len(p.valid)) for repeat in parts for p in repeat} == {(120, 30)}
    share = np.bincount(pool_rows(raw).y) / len(pool_rows(raw))
    for part in parts[0]:
        assert np.abs(np.bincount(part.valid.y, minlength=3) / len(part.valid) - share).max() < 2 / 30
    assert not np.array_equal(parts[0][0].valid.x, parts[1][0].valid.x)
    rows = {row.tobytes() for part in parts[0] for row in part.valid.x}
    assert len(rows) == 150


def test_trimmed_folds_are_told(place):
    result = place.cv(name="trimmed", dataset=toy(train_rows=103), folds=5, refit=False, epochs=1)
    (note,) = result.started.notes
    assert "151 rows in 5 folds" in note
    assert "trimmed to 30" in note


def test_repeated_folds_keep_the_variance_of_one_repetition(place):
    result = place.cv(name="repeated", folds=3, repeats=2, refit=False, epochs=1, grid=["reg=none,l2"])
    units = result.conclusion.analysis.units
    assert (units.kind, units.variance_ratio) == ("fold", 1 / 2)
    assert result.conclusion.analysis.summaries[0].n == 6


def test_groups_that_the_data_do_not_have_are_refused(place):
    with pytest.raises(RequestError, match="has no groups"):
        place.cv(group="patient", folds=3)


def test_a_class_that_groups_gather_in_one_fold_is_refused(place):
    raw = toy(train_rows=104)
    together = RawData(
        name="gathered",
        train=raw.train,
        valid=raw.valid,
        test=raw.test,
        task=raw.task,
        inputs=raw.inputs,
        groups=pool_rows(raw).y,
    )
    with pytest.raises(RequestError, match="because of the groups"):
        place.cv(dataset=together, folds=3)
    with pytest.raises(RequestError, match="have 3 groups"):
        place.cv(dataset=together, folds=4)
