"""`regplug sweep`."""

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
    Grid,
    Metric,
    Minimize,
    PairSeeds,
    Seeds,
    StudyFile,
    Tune,
    Zip,
    read_study,
)

app = new_app()


@app.command(cls=Command)
@takes_config
def sweep(
    study: StudyFile = None,
    grid: Grid = None,
    zip: Zip = None,  # noqa: A002  # the flag's name
    seeds: Seeds = None,
    data_seeds: DataSeeds = None,
    pair_seeds: PairSeeds = None,
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
    """Train a grid of settings with several seeds, test the differences, and export the best setting.

    Runs train in stacks where possible. The best setting by --metric is trained again and exported; --no-export leaves
    this out. `regplug runs resume`, or the same command, continues an interrupted study from its last checkpoint.
    this out. `regplug runs resume`, or the same command, continues an interrupted study from its last checkpoint.
    """
    from regplug.cli.studying import carry_out

    own = {
        "grid": grid,
        "zip": zip,
        "seeds": seeds,
        "data_seeds": data_seeds,
        "pair_seeds": pair_seeds,
        "metric": metric,
        "best_of": best_of,
        "tune": tune,
        "factorial": factorial,
        "minimize": minimize,
        "baseline": baseline,
        "all_pairs": all_pairs,
        "final_seeds": final_seeds,
    }
    carry_out("sweep", read_study("sweep", given, study, own), given, tracking_uri)
