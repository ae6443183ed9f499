"""First-party datasets: descriptors and parameters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Lt

from regplug.api import Dataset, InputFile, Needed, Parameters, hookimpl
from regplug.tables.options import SUITED_SETTINGS, TableOptions
from regplug_datasets.own_files import own_files
from regplug_datasets.textbook import bundled, generated

Count = Annotated[int, Ge(0)]
Rows = Annotated[int, Ge(1)]
Share = Annotated[float, Ge(0), Lt(1)]
TestShare = Annotated[float, Gt(0), Lt(1)]


class DigitsParams(Parameters):
    """Parameters of `digits`."""

    normalize: Literal["unit", "standard", "none"] = "unit"
    "unit: 0..16 to 0..1; standard: mean 0 and standard deviation 1 over the training split; none: as they are."
    validation: Share = 0.2
    "Share of the 1,797 images that validate; 0 for none."
    test: TestShare = 0.2
    "Share of the 1,797 images that test."


class LinearRegressionParams(Parameters):
    """Parameters of `linear_regression`."""

    num_features: Rows = 200
    "Features d."
    train_rows: Rows = 20
    "Rows to train on; fewer than features, so that weights can overfit."
    validation_rows: Count = 100
    "Rows to validate on, generated beside the others; 0 for none."
    test_rows: Rows = 100
    "Rows to test on."
    features: Literal["normal", "uniform"] = "normal"
    "Distribution of each feature: normal: N(0, 1); uniform: on [0, 1)."
    weight: float = 0.01
    "The true weight of every feature."
    bias: float = 0.05
    "The true offset."
    noise: Annotated[float, Ge(0)] = 0.01
    "Standard deviation of the normal noise on the target."
    normalize: Literal["none", "standard"] = "none"
    "none: as generated; standard: mean 0 and standard deviation 1 over the training split, by column."


class MNISTParams(Parameters):
    """Parameters of `mnist` and `fashion_mnist`."""

    normalize: Literal["unit", "fixed", "standard", "none"] = "unit"
    "unit: 0..255 to 0..1; fixed: the published mean and deviation; standard: those of the training split; none."
    validation: Count = 0
    "Images taken from the 60,000 training images to validate; 0 for none."
    train_rows: Count = 0
    "Training images to keep, drawn at random; 0 for all."


class TableParams(TableOptions):
    """Parameters of `table`."""

    path: Annotated[str, Needed("data.csv"), InputFile()] = ""
    "The file: a header line, then one line per row; or Parquet."
    delimiter: Literal["auto", "comma", "semicolon", "tab", "space", "bar"] = "auto"
    "Separator of columns; auto: the most frequent one in the header line."


class CIFARParams(Parameters):
    """Parameters of `cifar10` and `cifar100`."""

    normalize: Literal["unit", "standard", "none"] = "unit"
    "unit: 0..255 to 0..1; standard: mean 0 and standard deviation 1 over the training split, by channel; none."
    validation: Count = 0
    "Images taken from the 50,000 training images to validate; 0 for none."
    train_rows: Count = 0
    "Training images to keep, drawn at random; 0 for all."


@hookimpl
def regplug_datasets() -> Iterator[Dataset]:
    """Yields the first-party datasets."""
    yield from bundled()
    yield from generated()
    yield from own_files()
    yield Dataset(
        name="kmnist",
        target="regplug_datasets.mnist:kmnist",
        params=MNISTParams,
        task="classification",
        summary="70,000 cursive Japanese characters of 28x28 pixels; read from REGPLUG_DATA_DIR, else downloaded.",
        source="Clanuwat et al. 2018, arXiv:1812.01718",
    )
    for classes in (10, 100):
        yield Dataset(
            name=f"cifar{classes}",
            target=f"regplug_datasets.cifar:cifar{classes}",
            params=CIFARParams,
            task="classification",
            summary=f"60,000 colour images of 32x32 pixels, {classes} classes; from REGPLUG_DATA_DIR, else downloaded.",
            source="Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images",
        )
    yield Dataset(
        name="digits",
        target="regplug_datasets.digits:digits",
        params=DigitsParams,
        task="classification",
        summary="1,797 handwritten digits of 8x8 pixels; ships with scikit-learn, offline.",
        source="Alpaydin and Kaynak 1998, UCI Optical Recognition of Handwritten Digits (test part)",
    )
    yield Dataset(
        name="linear_regression",
        target="regplug_datasets.synthetic:linear_regression",
        params=LinearRegressionParams,
        task="regression",
        summary="More features than rows: y = 0.05 + sum 0.01 x_i + noise, d = 200, 20 training rows; generated.",
        source="Zhang et al., Dive into Deep Learning, section 3.7 (weight decay)",
    )
    yield Dataset(
        name="mnist",
        target="regplug_datasets.mnist:mnist",
        params=MNISTParams,
        task="classification",
        summary="70,000 handwritten digits of 28x28 pixels; read from REGPLUG_DATA_DIR, else downloaded.",
        source="LeCun, Bottou, Bengio and Haffner 1998",
    )
    yield Dataset(
        name="fashion_mnist",
        target="regplug_datasets.mnist:fashion_mnist",
        params=MNISTParams,
        task="classification",
        summary="70,000 pictures of clothing of 28x28 pixels; read from REGPLUG_DATA_DIR, else downloaded.",
        source="Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747",
    )
    yield Dataset(
        name="table",
        target="regplug_datasets.tables:table",
        params=TableParams,
        task="classification",
        summary="A table of your own, CSV, TSV or Parquet: numbers, categories and gaps, and a column to predict.",
        reads=("*.csv", "*.tsv", "*.parquet", "*.pq"),
        settings=SUITED_SETTINGS,
    )
    yield Dataset(
        name="csv",
        target="regplug_datasets.tables:table",
        params=TableParams,
        task="classification",
        summary="The same as table, under its earlier name.",
        settings=SUITED_SETTINGS,
    )
