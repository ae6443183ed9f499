"""regplug.Classifier and regplug.Regressor are scikit-learn estimators; data frames are datasets."""

import numpy as np
import pandas as pd
import pytest
from runs import Place, standing_in
from sklearn.datasets import make_blobs
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

import regplug
from regplug.errors import DataError, RequestError

X, Y = make_blobs(120, centers=3, random_state=0)


def checks():
    for estimator in (regplug.Classifier(epochs=40, lr=0.1), regplug.Regressor(epochs=40, lr=0.05)):
        for one, check in estimator_checks_generator(estimator):
            name = getattr(check, "func", check).__name__
            yield pytest.param(one, check, id=f"{type(estimator).__name__}-{name}")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # scikit-learn's checks warn on purpose
@pytest.mark.parametrize(("estimator", "check"), list(checks()))
def test_scikit_learns_checks_pass(estimator, check):
    check(estimator)


def test_a_classifier_works_in_a_pipeline_a_search_and_a_cross_validation(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = np.array(["red", "green", "blue"])[Y]
    classifier = regplug.Classifier(model="mlp:hidden=[32]", epochs=15, lr=0.2)
    assert cross_val_score(make_pipeline(StandardScaler(), classifier), X, names, cv=2).mean() > 0.8
    grid = {"reg": [("l2:strength=0.001",), ("dropout:drop_probability=0.1",)]}
    search = GridSearchCV(classifier, grid, cv=2).fit(X, names)
    assert set(search.best_estimator_.predict(X)) <= set(names)
    assert search.best_estimator_.predict_proba(X).sum(1) == pytest.approx(1)
    assert list(tmp_path.iterdir()) == []


def test_a_regressor_answers_in_the_units_of_its_targets():
    y = 1e6 + 1e4 * X[:, 0]
    regressor = regplug.Regressor(model="mlp:hidden=[8]", epochs=20, lr=0.05).fit(X, y)
    assert regressor.score(X, y) > 0.8
    assert regressor.predict(X).shape == y.shape
    assert regressor.fit(X, np.stack([y, -y], 1)).predict(X).shape == (120, 2)


def frame():
    names = np.array(["red", "green", "blue"])[Y]
    return pd.DataFrame({"u": X[:, 0], "v": X[:, 1], "kind": np.where(X[:, 0] > 0, "a", "b"), "color": names})


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    with standing_in(tmp_path_factory.mktemp("frames")) as folder:
        yield Place(folder)


def test_a_data_frame_and_its_target_are_a_dataset(place):
    known = frame()
    known["color"] = known["color"].astype("category")
    result = place.run(dataset=known, target="color", epochs=8)
    assert result.metrics["test/accuracy"] > 0.8
    assert list(known.columns) == ["u", "v", "kind", "color"]


def test_a_frame_and_a_column_are_inputs_and_targets(place):
    known = frame()
    assert place.run(dataset=(known[["u", "kind"]], known["color"])).metrics["test/accuracy"] > 0.3
    assert place.run(dataset=(X, known["color"])).metrics["test/accuracy"] > 0.3
    assert "test/r2" in place.run(dataset=(known[["u", "kind"]], known["v"])).metrics


def test_groups_of_an_array_stay_together_in_folds(place):
    groups = np.arange(120) // 4
    for data, more in ((frame(), {"target": "color"}), ((X, Y), {})):
        study = regplug.cross_validate(
            dataset=data, group=groups, folds=2, epochs=1, model="linear", export=False, refit=False, **more
        )
        assert len(study.results) == 2


def test_wrong_data_of_the_callers_are_refused(place):
    with pytest.raises(DataError, match="no column 'colour'"):
        place.run(dataset=frame(), target="colour")
    with pytest.raises(DataError, match=r"has 120 rows and color has 5"):
        place.run(dataset=(frame()[["u"]], frame()["color"][:5]))
    with pytest.raises(RequestError, match="group is an array"):
        regplug.cross_validate(dataset="digits", group=np.arange(5))


def test_rows_without_weight_are_not_learned():
    classifier = regplug.Classifier(model="linear", epochs=5, lr=0.1)
    weights = (Y != 2).astype(float)
    assert 2 not in classifier.fit(X, Y, sample_weight=weights).predict(X)
    assert 2 in classifier.fit(X, Y).predict(X)
    with pytest.raises(DataError, match="sample_weight: float64 of shape"):
        classifier.fit(X, Y, sample_weight=[1.0])
    with pytest.raises(TypeError, match="unexpected keyword argument 'weights'"):
        classifier.fit(X, Y, weights=weights)
