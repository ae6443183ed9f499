"""Six real tables at default settings, against scikit-learn's multilayer perceptron behind its usual preparation.

Both train on the same training rows and are tested on the same test rows, with the same seeds. The interval is that of
the mean paired difference, Student's t, 95 %.

    python benchmarks/tables.py ../shared/data/tables [--seeds 5] [--only NAME,NAME] [--set lr=0.1]
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np
from scipy import stats
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.impute import SimpleImputer
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from regplug.config import load_config
from regplug.data import RawData
from regplug.measuring.final_metrics import measure_final
from regplug.registry import default_registry
from regplug.runs.assembly import assemble, threads
from regplug.runs.loading import load_data
from regplug.runs.request import check_request
from regplug.runs.trained import trainer_of


def ours(path: Path, target: str, seed: int, overrides: list[str]) -> tuple[RawData, float]:
    """The data, and the test accuracy or R2 of `regplug run --dataset PATH --target NAME --seed N --data-seed N`."""
    flags = {"dataset": str(path), "target": target, "seed": seed, "data_seed": seed, "export": False}
    registry = default_registry()
    request = check_request(load_config(None, overrides, flags, suggest=registry.settings_of), registry, writes=False)
    config, components = request.config, request.components
    data = load_data(config, components)
    made = assemble(config, components, data)
    with threads(1):
        trainer = trainer_of(made)
        for _ in trainer.train():
            pass
        trainer.finish()
        final = measure_final(trainer, [data])[0]
    return data.raw, final.metrics["test/accuracy" if data.task.is_classification else "test/r2"]


def theirs(raw: RawData, seed: int) -> float:
    """The same of scikit-learn's perceptron with its own defaults; of a regression with scaled targets."""
    columns = raw.table.columns if raw.table else ()
    categories = [at for at, column in enumerate(columns) if column.kind == "category"]
    numbers = [at for at in range(raw.train.x.shape[1]) if at not in categories]
    transform = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler()), numbers),
            ("categories", OneHotEncoder(handle_unknown="ignore"), categories),
        ]
    )
    if raw.task.is_classification:
        model = MLPClassifier(random_state=seed)
    else:
        model = TransformedTargetRegressor(MLPRegressor(random_state=seed), transformer=StandardScaler())
    pipeline = make_pipeline(transform, model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged in its 200 epochs is its default
        fitted = pipeline.fit(raw.train.x, raw.train.y.ravel())
    return float(fitted.score(raw.test.x, raw.test.y.ravel()))


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", default="", help="part of a table's name, or several, separated by commas")
    parser.add_argument("--set", action="append", default=[])
    asked = parser.parse_args()
    print("| table | metric | regplug | scikit-learn | difference | 95 % interval | seconds |")
    print("|---|---|---|---|---|---|---|")
    for name, about in json.loads((asked.folder / "index.json").read_text()).items():
        if any(part in name for part in asked.only.split(",")):
            began, pairs = time.perf_counter(), []
            for seed in range(asked.seeds):
                raw, score = ours(asked.folder / f"{name}.csv", about["target"], seed, asked.set)
                pairs.append((score, theirs(raw, seed)))
            one, other = np.array(pairs).T
            gap = one - other
            low, high = stats.t.interval(0.95, len(gap) - 1, gap.mean(), stats.sem(gap))
            metric = "accuracy" if raw.task.is_classification else "R2"
            print(
                f"| {name} | {metric} | {one.mean():.4f} | {other.mean():.4f} | {gap.mean():+.4f} "
                f"| {low:+.4f} to {high:+.4f} | {time.perf_counter() - began:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
