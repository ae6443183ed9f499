"""Enforces MLflow's limits on names, lengths and batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any, TypeVar

from regplug.tracking.records import Records

MAX_ENTITIES = 1000
MAX_PARAMS = 100
MAX_TAGS = 100
MAX_PARAM_LENGTH = 6000
MAX_TAG_LENGTH = 8000
MAX_KEY_LENGTH = 250

_T = TypeVar("_T")


def shorten(text: str, length: int) -> str:
    """Returns `text`, shortened with an ellipsis if it is longer than `length` characters.

    >>> shorten("abcdef", 4)
    'abc…'
    """
    return text if len(text) <= length else text[: length - 1] + "…"


def shorten_all(tags: Mapping[str, str]) -> dict[str, str]:
    """Returns tags, each shortened to MLflow's limit."""
    return {key: shorten(text, MAX_TAG_LENGTH) for key, text in tags.items()}


def too_long(values: Mapping[str, str], length: int) -> dict[str, str]:
    """Returns the values that `shorten` would change."""
    return {key: text for key, text in values.items() if len(text) > length}


def chunks(items: Sequence[_T], size: int) -> Iterator[Sequence[_T]]:
    """Yields `items` in pieces of at most `size`.

    >>> list(chunks([1, 2, 3], 2))
    [[1, 2], [3]]
    """
    for start in range(0, len(items), size):
        yield items[start : start + size]


def log_in_batches(
    client: Any, run_id: str, *, metrics: Sequence[Any], params: Sequence[Any], tags: Sequence[Any]
) -> None:
    """Logs MLflow's entities in as few calls as its limits allow.

    Args:
        client: MLflow's client.
        run_id: The run.
        metrics: `Metric` entities.
        params: `Param` entities.
        tags: `RunTag` entities.
    """
    room = MAX_ENTITIES - min(len(params), MAX_PARAMS) - min(len(tags), MAX_TAGS)
    pieces = (chunks(metrics, room), chunks(params, MAX_PARAMS), chunks(tags, MAX_TAGS))
    for some_metrics, some_params, some_tags in zip_longest(*pieces, fillvalue=()):
        client.log_batch(run_id, metrics=some_metrics, params=some_params, tags=some_tags)


def log_records(client: Any, run_id: str, records: Records) -> None:
    """Logs records, with tags shortened to MLflow's limit."""
    from mlflow.entities import RunTag

    tags = [RunTag(*pair) for pair in shorten_all(records.tags).items()]
    log_in_batches(client, run_id, metrics=records.metrics, params=records.params, tags=tags)
