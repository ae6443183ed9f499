"""Data: what a dataset returns, and the normalised inputs that a run trains on.

A dataset returns `RawData`: arrays as whoever uses the finished model has them (uint8 images, unscaled columns).
`prepare` fits the normalisation on the training split alone and returns tensors. The same `Normalize` module stands in
front of the exported model, so raw input goes into the file.
"""

from __future__ import annotations

from regplug.data.arrays import encode_classes, raw_from_arrays
from regplug.data.items import raw_from_items
from regplug.data.lazy import LazyRows, Reader
from regplug.data.raw import Array, InputSpec, Normalization, RawData, Split, digest
from regplug.data.splits import order, split_groups, split_indices
from regplug.data.tables import raw_from_table
from regplug.data.tensors import Normalize, Prepared, TensorSplit, prepare

__all__ = [
    "Array",
    "InputSpec",
    "LazyRows",
    "Normalization",
    "Normalize",
    "Prepared",
    "RawData",
    "Reader",
    "Split",
    "TensorSplit",
    "digest",
    "encode_classes",
    "order",
    "prepare",
    "raw_from_arrays",
    "raw_from_items",
    "raw_from_table",
    "split_groups",
    "split_indices",
]
