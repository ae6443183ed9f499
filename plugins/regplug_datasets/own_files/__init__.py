"""Descriptors and parameters of images, arrays and other data of the user's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Lt, MaxLen

from regplug.api import Dataset, InputFile, Needed, Parameters
from regplug.tables.options import SUITED_SETTINGS, TableOptions

Share = Annotated[float, Ge(0), Lt(1)]
TestShare = Annotated[float, Gt(0), Lt(1)]
Side = Annotated[int, Ge(1)]


class ImagesParams(Parameters):
    """Parameters of `images`."""

    path: Annotated[str, Needed("images/"), InputFile()] = ""
    "The folder: a folder for each class in it, or in its folders train, valid and test."
    size: Side | Annotated[tuple[Side, ...], MaxLen(2)] = ()
    "Side of all images, or [height,width]; by default the most frequent size."
    fit: Literal["crop", "squash"] = "crop"
    "How other sizes are changed. crop: scaled and cut at the centre; squash: scaled in each direction by itself."
    channels: Literal["auto", "grey", "rgb"] = "auto"
    "auto: grey if no image has colours."
    normalize: Literal["unit", "standard", "none"] = "unit"
    "unit: 0..255 to 0..1; standard: mean 0 and standard deviation 1 over the training split, by channel; none."
    validation: Share = 0.2
    "Share of the images that validate, if there is no folder valid; 0 for none."
    test: TestShare = 0.2
    "Share of the images that test, if there is no folder test."
    keep: Literal["auto", "memory", "stream"] = "auto"
    "memory: as uint8 in memory; stream: read again in each epoch; auto: memory if half of the machine's suffices."
    workers: Annotated[int, Ge(0)] = 0
    "Processes that read streamed images; 0 for one for each core, at most 8."


class NpzParams(Parameters):
    """Parameters of `npz`."""

    path: Annotated[str, Needed("data.npz"), InputFile()] = ""
    "The file."
    inputs: str = "x"
    "Name of the array of inputs: rows (B, F), or images (B, H, W) or (B, C, H, W)."
    target: str = "y"
    "Name of the array of targets: whole numbers or text for classes, floating numbers for quantities."
    validation: Share = 0.2
    "Share of the rows that validate; 0 for none."
    test: TestShare = 0.2
    "Share of the rows that test."


class HuggingFaceParams(TableOptions):
    """Parameters of `huggingface`; those of a table are for datasets of numbers and text."""

    path: Annotated[str, Needed("saved/"), InputFile()] = ""
    "The folder that save_to_disk wrote."
    inputs: str = ""
    "Column of images or arrays; empty for the only one, or for all columns of a table."
    target: str = ""
    "Column to predict; empty for label or target, else the last one."
    size: Side | Annotated[tuple[Side, ...], MaxLen(2)] = ()
    "Side of all images, or [height,width]; by default the size of the first image."
    fit: Literal["crop", "squash"] = "crop"
    "How images of other sizes are changed. crop: scaled and cut at the centre; squash: each direction by itself."
    validation: Share = 0.2
    "Share of the training rows that validate, if there is no such split; 0 for none."
    test: TestShare = 0.2
    "Share of the training rows that test, if there is no such split."


def own_files() -> Iterator[Dataset]:
    """Yields the datasets that read files and folders of the user's own."""
    yield Dataset(
        name="images",
        target="regplug_datasets.own_files.image_folder:images",
        params=ImagesParams,
        task="classification",
        summary="A folder of your own with a folder of images for each class; train, valid and test are kept.",
        reads=("*/",),
    )
    yield Dataset(
        name="huggingface",
        target="regplug_datasets.own_files.huggingface:huggingface",
        params=HuggingFaceParams,
        task="classification",
        summary="A folder of your own that the library datasets saved with save_to_disk; needs that library.",
        reads=("*/dataset_info.json", "*/dataset_dict.json"),
        settings=SUITED_SETTINGS,
    )
    yield Dataset(
        name="npz",
        target="regplug_datasets.own_files.array_file:npz",
        params=NpzParams,
        task="classification",
        summary="A file of numpy.savez of your own with inputs x and targets y.",
        reads=("*.npz",),
        settings=SUITED_SETTINGS,
    )
