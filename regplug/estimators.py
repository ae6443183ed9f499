"""scikit-learn estimators: `cross_val_score`, `Pipeline` and `GridSearchCV` work with regplug's regularizers.

They neither track nor export unless asked. Splitting is left to whoever calls them: all rows given to `fit` are
trained on, but for a share that validates where one is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from regplug.api import Task
from regplug.config import RunConfig, load_config
from regplug.data import Array, InputSpec, Prepared, RawData, Split, prepare, split_indices
from regplug.data.arrays import check_weights
from regplug.measuring.metrics import label_probabilities, probabilities
from regplug.registry import default_registry
from regplug.runs.assembly import assemble, threads
from regplug.runs.caller_objects import take_over
from regplug.runs.loading import DTYPES, find_device
from regplug.runs.request import check_request
from regplug.runs.runner import execute
from regplug.runs.trained import trained_model, trainer_of

_SEEDS = 2**31


class _Estimator(BaseEstimator):  # type: ignore[misc] # scikit-learn ships no types
    """What both estimators share. `fit` takes `sample_weight` as a keyword, also through metadata routing.

    Args:
        model: A component, `torch.nn.Module`, or a function that makes one.
        reg: Regularizers.
        activation: The network's activation; empty for its own default.
        loss: Data loss.
        optimizer: Update rule.
        lr: Learning rate.
        schedule: How the learning rate changes.
        epochs: Passes over the rows.
        batch_size: Rows in a step; all rows where there are fewer.
        validation: Share of the rows that validates, for regularizers that stop or choose by it.
        random_state: Decides start, order and noise: a number, `None`, or numpy's.
        settings: Other fields of `regplug.config.RunConfig` by name.
        track: Whether the fit is tracked as an MLflow run, tested on its own rows.
        out: Folder of the exported bundle; empty for none. It needs `track`.
    """

    # Declares what `set_fit_request` and metadata routing otherwise read from the signature of fit; see _weights.
    __metadata_request__fit: ClassVar[Mapping[str, Any]] = {"sample_weight": None}

    def __init__(
        self,
        *,
        model: Any = "mlp",
        reg: Any = (),
        activation: str = "",
        loss: str = "auto",
        optimizer: str = "sgd",
        lr: float = 0.1,
        schedule: str = "cosine",
        epochs: int = 30,
        batch_size: int = 32,
        validation: float = 0.0,
        random_state: Any = 0,
        settings: Mapping[str, Any] | None = None,
        track: bool = False,
        out: str = "",
    ) -> None:
        self.model = model
        self.reg = reg
        self.activation = activation
        self.loss = loss
        self.optimizer = optimizer
        self.lr = lr
        self.schedule = schedule
        self.epochs = epochs
        self.batch_size = batch_size
        self.validation = validation
        self.random_state = random_state
        self.settings = settings
        self.track = track
        self.out = out

    def _fit(self, x_BF: Array, y: Array, task: Task, weights: Array | None) -> None:
        raw = self._raw(x_BF, y, task, weights)
        fields = self._fields(len(raw.train))
        if self.track:
            result = self.run_ = _tracked(raw, fields, self.out)
            data = prepare(raw, dtype=DTYPES[result.config.dtype])
            self.module_ = result.model.double()
        else:
            data, module = _trained(raw, fields)
            self.module_ = module.double()
        self.shift_, self.scale_ = (part.double().numpy() for part in (data.preprocess.shift, data.preprocess.scale))
        self.n_iter_ = int(self.epochs)

    def _raw(self, x_BF: Array, y: Array, task: Task, weights: Array | None) -> RawData:
        labels = y if task.is_classification else None
        everything = np.arange(len(y))
        train, valid = everything, everything[:0]
        if self.validation:
            train, valid, _ = split_indices(len(y), valid=self.validation, test=0, seed=self._seed(), labels=labels)
        rows = Split(x=x_BF.astype(np.float32), y=y)
        return RawData(
            name=type(self).__name__.lower(),
            train=rows.take(train),
            valid=rows.take(valid) if len(valid) else None,
            test=rows,
            task=task,
            inputs=InputSpec(layout="row", shape=(x_BF.shape[1],), dtype="float32", names=self._names()),
            normalize="standard",
            source="arrays in memory",
            scale_targets=task.kind == "regression",
            weights=None if weights is None else weights[np.concatenate([train, valid])],
        )

    def _names(self) -> tuple[str, ...]:
        return tuple(map(str, getattr(self, "feature_names_in_", ())))

    def _seed(self) -> int:
        if isinstance(self.random_state, int | np.integer):
            return int(self.random_state)
        from sklearn.utils import check_random_state

        return int(check_random_state(self.random_state).randint(_SEEDS - 1))

    def _fields(self, rows: int) -> dict[str, Any]:
        names = ("model", "activation", "loss", "optimizer", "lr", "schedule", "epochs")
        own = {name: getattr(self, name) for name in names}
        reg = (self.reg,) if isinstance(self.reg, str) else tuple(self.reg)
        own |= {"reg": reg, "batch_size": min(self.batch_size, rows), "seed": self._seed(), "probe": ()}
        return own | {"evaluate_every": max(1, self.epochs)} | dict(self.settings or {})

    def _outputs(self, x: Any) -> Array:
        check_is_fitted(self, "module_")
        x_BF = validate_data(self, x, reset=False, dtype=np.float64)
        scaled = (x_BF.astype(np.float32).astype(np.float64) - self.shift_) * self.scale_
        with torch.no_grad():
            outputs: Array = self.module_(torch.from_numpy(scaled)).numpy()
        return outputs


class Classifier(ClassifierMixin, _Estimator):  # type: ignore[misc] # scikit-learn ships no types
    """A classifier with regplug's models and regularizers, for scikit-learn.

    With several labels for each row, `y` is a matrix of 0 and 1, and so are predictions.

    >>> from sklearn.model_selection import cross_val_score
    >>> cross_val_score(Classifier(reg=["dropout"], lr=0.1), X, y, cv=5)  # doctest: +SKIP
    """

    def fit(self, X: Any, y: Any, **params: Any) -> Classifier:
        """Trains on all rows.

        Args:
            X: Numbers `(rows, features)`.
            y: Classes `(rows,)` of any type, or labels of 0 and 1 `(rows, labels)`.
            params: `sample_weight`: what the loss of each row counts, `(rows,)`. A row of weight 2 counts nearly, but
                not exactly, as two rows would, because they would be in different batches.
        """
        x_BF, labels = validate_data(self, X, y, dtype=np.float64, multi_output=True)
        weights = _weights(params, len(x_BF))
        if type_of_target(labels, input_name="y") == "multilabel-indicator":
            return self._fit_labels(x_BF, labels, weights)
        labels = column_or_1d(labels, warn=True)
        check_classification_targets(labels)
        self._is_multilabel = False
        self.classes_, classes = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"Classifier needs two classes or more, and y has one class: {self.classes_[0]!r}.")
        names = tuple(map(str, self.classes_.tolist()))
        task = Task(kind="classification", num_outputs=len(names), class_names=names)
        self._fit(x_BF, classes.astype(np.int64), task, weights)
        return self

    def _fit_labels(self, x_BF: Array, labels_BK: Array, weights: Array | None) -> Classifier:
        if not np.isin(labels_BK, (0, 1)).all():
            raise ValueError("y has several columns, so it holds labels; labels must be 0 or 1.")
        self._is_multilabel, self.classes_ = True, np.arange(labels_BK.shape[1])
        task = Task(kind="multilabel", num_outputs=len(self.classes_), class_names=tuple(map(str, self.classes_)))
        self._fit(x_BF, labels_BK.astype(np.float32), task, weights)
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def decision_function(self, X: Any) -> Array:
        """Logits `(rows, classes)` or `(rows, labels)`; of two classes the second's minus the first's, `(rows,)`."""
        logits_BK = self._outputs(X)
        if self._is_multilabel:
            return logits_BK
        return logits_BK[:, 1] - logits_BK[:, 0] if len(self.classes_) == 2 else logits_BK

    def predict_proba(self, X: Any) -> Array:
        """Probabilities `(rows, classes)`, or of each label `(rows, labels)`."""
        outputs_BK = self._outputs(X)
        return label_probabilities(outputs_BK) if self._is_multilabel else probabilities(outputs_BK)

    def predict(self, X: Any) -> Array:
        """The likeliest class of each row `(rows,)`, or its labels, 0 or 1 `(rows, labels)`."""
        outputs_BK = self._outputs(X)
        if self._is_multilabel:
            return (outputs_BK > 0).astype(np.int64)
        places = outputs_BK.argmax(axis=1)
        predicted: Array = self.classes_[places]
        return predicted


class Regressor(RegressorMixin, _Estimator):  # type: ignore[misc] # scikit-learn ships no types
    """A regressor with regplug's models and regularizers, for scikit-learn; targets are scaled inside."""

    def fit(self, X: Any, y: Any, **params: Any) -> Regressor:
        """Trains on all rows.

        Args:
            X: Numbers `(rows, features)`.
            y: Values `(rows,)` or `(rows, outputs)`.
            params: `sample_weight`: what the loss of each row counts, `(rows,)`. A row of weight 2 counts nearly, but
                not exactly, as two rows would, because they would be in different batches.
        """
        x_BF, targets = validate_data(self, X, y, dtype=np.float64, multi_output=True, y_numeric=True)
        if targets.ndim == 2 and targets.shape[1] == 1:
            targets = column_or_1d(targets, warn=True)
        self._is_flat = targets.ndim == 1
        y_BK = targets.astype(np.float64).reshape(len(targets), -1)
        task = Task(kind="regression", num_outputs=y_BK.shape[1])
        self._fit(x_BF, y_BK, task, _weights(params, len(x_BF)))
        return self

    def predict(self, X: Any) -> Array:
        """Values in the units of `y`, of the same shape."""
        values_BK = self._outputs(X)
        return values_BK[:, 0] if self._is_flat else values_BK


def _weights(params: Mapping[str, Any], rows: int) -> Array | None:
    """The weights among the keywords of `fit`.

    They are no named argument: for those scikit-learn's checks demand that a weight of 2 is exactly a repeated row,
    which no training in batches of a random order fulfils.
    """
    unknown = sorted(set(params) - {"sample_weight"})
    if unknown:
        raise TypeError(f"fit got an unexpected keyword argument {unknown[0]!r}. It takes sample_weight.")
    weights = params.get("sample_weight")
    return None if weights is None else check_weights(weights, [np.arange(rows)], "sample_weight")


def _config(raw: RawData, fields: Mapping[str, Any]) -> tuple[RunConfig, Any]:
    named, registry = take_over({**fields, "dataset": raw}, default_registry())
    return load_config(None, (), named), registry


def _trained(raw: RawData, fields: Mapping[str, Any]) -> tuple[Prepared, torch.nn.Module]:
    config, registry = _config(raw, {**fields, "export": False})
    request = check_request(config, registry, writes=False)
    config, components = request.config, request.components
    data = prepare(raw, dtype=DTYPES[config.dtype], device=find_device(config.device))
    made = assemble(config, components, data)
    with threads(made.num_threads()):
        trainer = trainer_of(made)
        for _ in trainer.train():
            pass
        trainer.finish()
        return data, trained_model(trainer, made)


def _tracked(raw: RawData, fields: Mapping[str, Any], out: str) -> Any:
    config, registry = _config(raw, {**fields, "export": bool(out), **({"out": str(Path(out))} if out else {})})
    return execute(check_request(config, registry))
