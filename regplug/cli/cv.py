"""`regplug cv`."""

from __future__ import annotations

from typing import Any

from regplug.cli.config_options import takes_config
from regplug.cli.options import Command, TrackingUri, new_app
from regplug.cli.study_options import (
    AllPairs,
    Baseline,
    BestOf,
    DataSeeds,
    Factorial,
    FinalSeeds,
    Folds,
    Grid,
    Group,
    Metric,
    Minimize,
    Repeats,
    Seeds,
    StudyFile,
    Tune,
    Zip,
    read_study,
)

app = new_app()


@app.command(cls=Command)
@takes_config
def cv(
    study: StudyFile = None,
    grid: Grid = None,
    zip: Zip = None,  # noqa: A002  # the flag's name
    folds: Folds = None,
    repeats: Repeats = None,
    group: Group = None,
    seeds: Seeds = None,
    data_seeds: DataSeeds = None,
    metric: Metric = None,
    best_of: BestOf = None,
    tune: Tune = None,
    factorial: Factorial = None,
    minimize: Minimize = None,
    baseline: Baseline = None,
    all_pairs: AllPairs = None,
    final_seeds: FinalSeeds = None,
    tracking_uri: TrackingUri = None,
    **given: Any,
) -> None:
    """Cross-validate settings on the same folds (5 by default), then train and export the best one.

    The folds are stratified by class and split the rows of training and validation; the test split is not used. The
    best setting is trained again on the dataset's own splits. --no-export skips only the bundle.
    """
    from regplug.cli.studying import carry_out

    own = {
        "grid": grid,
        "zip": zip,
        "folds": folds,
        "repeats": repeats,
        "group": group,
        "seeds": seeds,
        "data_seeds": data_seeds,
        "metric": metric,
        "best_of": best_of,
        "tune": tune,
        "factorial": factorial,
        "minimize": minimize,
        "baseline": baseline,
        "all_pairs": all_pairs,
        "final_seeds": final_seeds,
    }
    carry_out("cv", read_study("cv", given, study, own), given, tracking_uri)
