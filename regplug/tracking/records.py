"""What is sent to the store while a run is written: records, and other kinds of writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from regplug.tracking.patience import FOR_FILES, Patience, bounded
from regplug.tracking.trouble import tracking_trouble

CONTENT = "content"
"""Folder of the files of a write that is kept on disk."""


@dataclass(frozen=True)
class Records:
    """Waiting metrics, parameters and tags."""

    metrics: Sequence[Any] = ()
    params: Sequence[Any] = ()
    tags: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.metrics or self.params or self.tags)

    def __add__(self, later: Records) -> Records:
        return Records([*self.metrics, *later.metrics], [*self.params, *later.params], {**self.tags, **later.tags})

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values, for a file."""
        return {
            "metrics": [[each.key, each.value, each.timestamp, each.step] for each in self.metrics],
            "params": [[each.key, each.value] for each in self.params],
            "tags": dict(self.tags),
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Records:
        """Returns the records that `to_dict` made plain."""
        from mlflow.entities import Metric, Param

        return cls(
            [Metric(*each) for each in document["metrics"]],
            [Param(*each) for each in document["params"]],
            document["tags"],
        )


@dataclass(frozen=True, eq=False)
class Call:
    """Another kind of write: a file, a dataset, the runs of a study.

    Args:
        what: Its name in messages.
        doing: The message if it fails.
        send: Sends it.
        keep: Puts it into a folder, its files into `CONTENT`, and returns the rest as a document with its `kind`.
        patience: Timeout and retries.
    """

    what: str
    doing: str
    send: Callable[[], object]
    keep: Callable[[Path], dict[str, Any]]
    patience: Patience = FOR_FILES

    def carry_out(self) -> None:
        """Sends it.

        Raises:
            TrackingError: The store cannot be written.
        """
        with tracking_trouble(self.doing), bounded(self.patience):
            self.send()
