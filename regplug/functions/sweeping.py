"""`regplug.sweep`. `python tests/made_docs.py` writes the fields of its signature and docstring."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from regplug.functions.given import read_study

if TYPE_CHECKING:
    from regplug.functions.arguments import ComponentLike, ComponentsLike, DatasetLike, ModelLike, PathLike, TextsLike
    from regplug.registry import Registry
    from regplug.studies.results import StudyObserver, StudyResult


def sweep(
    *,
    grid: TextsLike | None = None,
    zip: TextsLike | None = None,  # noqa: A002 - the name of the field
    seeds: int | None = None,
    data_seeds: int | None = None,
    pair_seeds: bool | None = None,
    metric: str | None = None,
    tune: TextsLike | None = None,
    factorial: str | None = None,
    best_of: str | None = None,
    minimize: bool | None = None,
    baseline: str | None = None,
    all_pairs: bool | None = None,
    final_seeds: int | None = None,
    model: ModelLike | None = None,
    dataset: DatasetLike | None = None,
    target: TextsLike | None = None,
    reg: ComponentsLike | None = None,
    activation: ComponentLike | None = None,
    init: ComponentsLike | None = None,
    probe: ComponentsLike | None = None,
    loss: ComponentLike | None = None,
    optimizer: ComponentLike | None = None,
    lr: float | None = None,
    momentum: float | None = None,
    nesterov: bool | None = None,
    schedule: ComponentLike | None = None,
    warmup: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    shuffle: bool | None = None,
    seed: int | None = None,
    data_seed: int | None = None,
    fold: str | None = None,
    train_rows: int | None = None,
    label_noise: float | None = None,
    test_noise: float | None = None,
    dtype: Literal["float32", "float64"] | None = None,
    device: Literal["cpu", "cuda", "auto"] | None = None,
    threads: int | None = None,
    evaluate_every: int | None = None,
    checkpoint_every: float | None = None,
    keep_predictions: bool | None = None,
    system_metrics: bool | None = None,
    experiment: str | None = None,
    name: str | None = None,
    format: ComponentsLike | None = None,  # noqa: A002 - the name of the field
    export: bool | None = None,
    calibrate: Literal["none", "temperature"] | None = None,
    conformal: float | None = None,
    out: str | None = None,
    config: PathLike | None = None,
    overrides: Sequence[str] = (),
    weights: Any = None,
    observers: Sequence[StudyObserver] = (),
    tracking_uri: str | None = None,
    registry: Registry | None = None,
    refit: bool = True,
) -> StudyResult:
    """Runs a grid of settings with several seeds, then exports the best setting: `regplug sweep` from Python.

    The same call continues a killed study and does not repeat its finished runs. An argument that is not given, or
    `None`, leaves the value of the file, or else the default.

    Args:
        grid: Axes whose product is run.
        zip: Axes that vary together: first values together, second values together, and so on.
        seeds: Runs of each setting, with consecutive seeds from the base run's. By default 1. Must be at least 1.
        data_seeds: Splits, or generated datasets, of each setting, with consecutive data seeds from the base run's. By
            default 1. Must be at least 1.
        pair_seeds: Whether the data seed increases with the seed, so that each seed has its own data. By default False.
        metric: Metric that chooses the best setting; empty for validation accuracy or loss.
        tune: Axes whose best value is chosen for every setting alike, on validation, such as lr=0.05,0.1,0.2.
        factorial: Regularizers, separated by commas; every combination of them on and off is run.
        best_of: What is chosen on validation before settings are compared: strength, a number of strengths, or axes.
        minimize: Whether lower values of the metric are better; none: its name decides.
        baseline: The setting with which the others are compared; empty for the base run, without the regularizers that
            vary.
        all_pairs: Whether every setting is compared with every other, instead of with one reference. By default False.
        final_seeds: Seeds with which the best setting is trained again at the end; the best of these runs is exported.
            By default 1. Must be at least 1.
        model: The network. By default mlp.
        dataset: What it is trained and tested on; or the path of a file or folder of data. By default digits.
        target: Short for the dataset's target: the column to predict, or several: a,b,c.
        reg: Regularizers; they compose.
        activation: The network's activation; empty for its own default.
        init: How parameters are filled at the start; none: as torch starts each layer. at=GLOB fills some layers alone.
        probe: Measurements in addition to the metrics. By default ['weight_norm'].
        loss: Data loss; auto is the default for the task. By default auto.
        optimizer: Update rule; weight decay is a regularizer. By default sgd.
        lr: Learning rate. By default 0.2. Must be at least 0.
        momentum: Short for the optimizer's momentum. By default 0.0. Must be at least 0 and less than 1.
        nesterov: Short for the optimizer's nesterov, a momentum that looks ahead. By default False.
        schedule: How the learning rate changes. By default constant.
        warmup: Epochs in which the learning rate rises from nothing. By default 0. Must be at least 0.
        epochs: Passes over the training data. By default 30. Must be at least 0.
        batch_size: Examples in a step. By default 32. Must be at least 1.
        shuffle: Whether each epoch has its own order. By default True.
        seed: Decides what happens in training: start, order, noise. By default 0. Must be at least 0.
        data_seed: Decides the split, and the data where they are generated. By default 0. Must be at least 0.
        fold: One fold of a cross-validation as the validation split: FOLD/FOLDS, from 0; empty for the dataset's own
            splits.
        train_rows: Training rows to keep, drawn at random; 0 for all. By default 0. Must be at least 0.
        label_noise: Share of the training labels that are replaced by another class. By default 0.0. Must be at least 0
            and less than 1.
        test_noise: Noise on a second copy of the test inputs, over the deviation of the data; 0 for no such copy. By
            default 0.0. Must be between 0 and 1000000.0.
        dtype: Number format of the training. By default float32.
        device: Where it is trained; auto takes a GPU if there is one. By default cpu.
        threads: Threads that torch may use; 0 leaves it as it is. By default 0. Must be at least 0.
        evaluate_every: Epochs between two evaluations; the last epoch is always evaluated. By default 1. Must be at
            least 1.
        checkpoint_every: Seconds between two checkpoints, from which an interrupted run can be resumed; 0 for none. By
            default 30.0. Must be at least 0.
        keep_predictions: Whether the predictions of the test rows are stored as predictions.csv, with a reliability
            diagram. By default False.
        system_metrics: Whether processor, memory, disk, network and GPUs are measured meanwhile; needs regplug[system].
            By default False.
        experiment: The question that the run belongs to; empty for dataset/model.
        name: Name of the run; empty for one that says what differs.
        format: Formats in which the model is exported. By default ['onnx', 'torchscript'].
        export: Whether it is exported and verified. By default True.
        calibrate: Whether the bundle divides its logits by a temperature, fitted on validation rows. By default none.
        conformal: Coverage of the bundle's prediction sets or intervals, fitted on validation rows; 0 for none. By
            default 0.0. Must be at least 0 and less than 1.
        out: Folder for the bundle; empty for bundles/ and the start of the run id.
        config: A TOML or YAML study file.
        overrides: Values as for `--set`, for every run.
        weights: What the loss of each training row counts, 0 or more: one number for each row of a data frame or of
            `(x, y)`.
        observers: Receive the events of the study.
        tracking_uri: As for `run`.
        registry: As for `run`.
        refit: Whether the best setting is trained again and exported; `winner` of the result. With `export=False` only
            if there are several `final_seeds`.

    Returns:
        The result: runs, analysis, best setting, its model and bundle. Failed runs are in `failed` and do not stop the
        study.

    Raises:
        RequestError: The request was wrong; nothing was started.
        FailedError: The best setting could not be trained again or exported; the study's runs are kept.

    >>> result = sweep(grid=["reg.l2.strength=0,0.01,0.1"], seeds=8, epochs=5)  # doctest: +SKIP
    """
    study = read_study("sweep", locals())
    return study.run(observers, tracking_uri, refit=refit and study.config.delivers("sweep"))
