"""Fits the preparation of a table with scikit-learn: categories once, statistics for each training split.

Shape letters: B rows, C columns of the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from regplug.tables.preparation import Array, Column, Fitted, Preparation

Impute = Literal["median", "mean", "zero"]
Scaling = Literal["auto", "standard", "quantile", "none"]

MOST_DEVIATIONS = 10.0
"""Numbers further from the mean are outliers: in batches of 32 at a rate of 0.1, such inputs make SGD diverge."""

_MOST_QUANTILES = 1000
_KNOTS = 200


@dataclass(frozen=True, kw_only=True)
class TablePlan:
    """How the codes of a table become numbers. The statistics are fitted for each training split.

    Args:
        columns: The columns, fixed once.
        impute: The value for empty cells of a column of numbers: its median, its mean, or 0.
        normalize: `standard` scales numbers to mean 0 and standard deviation 1, `auto` also compresses columns that
            have numbers further than `MOST_DEVIATIONS` from the mean, `quantile` maps them to the quantiles of the
            normal distribution, and `none` leaves them as they are.
        rows: Cells of the first test rows, as text.
    """

    columns: tuple[Column, ...]
    impute: Impute = "median"
    normalize: Scaling = "standard"
    rows: tuple[tuple[str, ...], ...] = ()

    def fit(self, codes_BC: Array) -> Preparation:
        """Returns the preparation with the statistics of these training rows."""
        fitted = [self._fitted(column, codes_BC[:, position]) for position, column in enumerate(self.columns)]
        return Preparation(columns=tuple(fitted), rows=self.rows)

    def _fitted(self, column: Column, codes_B: Array) -> Fitted:
        if column.kind == "category":
            return Fitted(column=column)
        values_B1 = codes_B.astype(np.float64)[:, None]
        filled_B1, fill = _filled(values_B1, self.impute)
        if self.normalize == "none":
            return Fitted(column=column, fill=fill)
        if self.normalize == "quantile":
            return _mapped(column, filled_B1, fill)
        if self.normalize == "auto" and has_outliers(filled_B1):
            return _compressed(column, filled_B1[:, 0], fill)
        from sklearn.preprocessing import StandardScaler

        scaler = StandardScaler().fit(filled_B1)
        return Fitted(column=column, fill=fill, shift=float(scaler.mean_[0]), scale=float(scaler.scale_[0]))


def fit_categories(name: str, places_B: Array, labels: Sequence[str], rare: int) -> Column:
    """Returns a column of categories without the rare ones.

    Args:
        name: Name of the column.
        places_B: Index of each training row's cell in `labels`.
        labels: All different cells; `""` is an empty cell.
        rare: Categories with fewer rows than this are rare.
    """
    from sklearn.preprocessing import OneHotEncoder

    encoder = OneHotEncoder(min_frequency=max(1, rare), handle_unknown="infrequent_if_exist", sparse_output=False)
    encoder.fit(np.asarray(places_B)[:, None])
    (known,), (infrequent,) = encoder.categories_, encoder.infrequent_categories_
    together = set() if infrequent is None else set(infrequent)
    return Column(name=name, kind="category", categories=tuple(labels[at] for at in known if at not in together))


def _filled(values_B1: Array, impute: Impute) -> tuple[Array, float]:
    """Returns the values without gaps, and the value that fills a gap."""
    if not np.isfinite(values_B1).any():
        return np.zeros_like(values_B1), 0.0
    from sklearn.impute import SimpleImputer

    imputer = SimpleImputer(strategy="constant" if impute == "zero" else impute, fill_value=0.0)
    filled_B1: Array = imputer.fit_transform(values_B1)
    return filled_B1, float(imputer.statistics_[0])


def has_outliers(values: Array) -> bool:
    """Whether a number is further than `MOST_DEVIATIONS` from the mean; there must be no gaps."""
    mean, deviation = (float(part(values, dtype=np.float64)) for part in (np.mean, np.std))
    return max(float(values.max()) - mean, mean - float(values.min())) > MOST_DEVIATIONS * deviation


def _compressed(column: Column, values_B: Array, fill: float) -> Fitted:
    """Scales asinh((value - median) / unit), which grows like a logarithm far from the median.

    The unit is the median of all distances from the median that are not 0. So zeros and rare amounts stay apart, and a
    few huge numbers do not make all others nearly equal. Numbers beyond those of training count as the nearest of them.
    """
    middle = float(np.median(values_B))
    distances_B = np.abs(values_B - middle)
    unit = float(np.median(distances_B[distances_B > 0]))
    whole_B = np.arcsinh((values_B - middle) / unit)
    grid = np.unique(np.quantile(np.unique(values_B), np.linspace(0, 1, _KNOTS)))
    scores = (np.arcsinh((grid - middle) / unit) - whole_B.mean()) / whole_B.std()
    cut = np.clip(scores, -MOST_DEVIATIONS, MOST_DEVIATIONS)
    return Fitted(column=column, fill=fill, grid=tuple(grid.tolist()), scores=tuple(cut.tolist()))


def _mapped(column: Column, values_B1: Array, fill: float) -> Fitted:
    from sklearn.preprocessing import QuantileTransformer

    quantiles = min(_MOST_QUANTILES, len(values_B1))
    mapping = QuantileTransformer(n_quantiles=quantiles, output_distribution="normal", subsample=None)
    grid = np.unique(mapping.fit(values_B1).quantiles_[:, 0])
    if len(grid) < 2:
        return Fitted(column=column, fill=fill, shift=fill)
    scores = mapping.transform(grid[:, None])[:, 0]
    return Fitted(column=column, fill=fill, grid=tuple(grid.tolist()), scores=tuple(scores.tolist()))
