"""Decides which parameters a run logs, so that MLflow's pages show those that matter.

A run logs a parameter that was chosen or differs from its default, and one that another run of its experiment logs; its
remaining parameters are in the tag `regplug.defaults`. The experiment's tags list the columns: each tag holds some of
them, and none is ever changed, so that processes that add columns at the same time lose none.

A process that adds a column first adds it to the experiment and then to all earlier runs; a process that starts a run
first creates the run and then reads the columns. So a run gets the column from one of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from regplug.tracking import limits
from regplug.tracking.experiments import set_tags
from regplug.tracking.naming import param_text, safe_key
from regplug.tracking.views import experiment_view

DEFAULTS_TAG = "regplug.defaults"
"""Tag of a run: its parameters that nobody chose, as a JSON object."""

COLUMNS_TAG = "regplug.columns."
"""Beginning of the experiment's tags that list its columns."""

Columns = Mapping[str, str | None]
"""Column -> the value of a run to which the parameter does not apply: 0 for a strength; `None` for no value."""

_COLUMNS_A_TAG = 15  # an experiment's tag has at most 5,000 characters
_EARLIER_RUNS = 50
_MOST_FILLED = 500
"""Most earlier runs that get a new column through MLflow's client, which takes a request for each."""


def texts_of(params: Mapping[str, object]) -> dict[str, str]:
    """Returns parameters in MLflow's form, in full length."""
    return {safe_key(key): param_text(value) for key, value in params.items()}


def defaults_tag(texts: Mapping[str, str], shown: Collection[str]) -> dict[str, str]:
    """Returns the tag with the parameters that are not shown; empty if it would be too long, and all are to be logged.

    >>> defaults_tag({"lr": "0.1", "epochs": "30"}, ["lr"])
    {'regplug.defaults': '{"epochs":"30"}'}
    """
    text = json.dumps({key: value for key, value in texts.items() if key not in shown}, separators=(",", ":"))
    return {DEFAULTS_TAG: text} if len(text) <= limits.MAX_TAG_LENGTH else {}


def defaults_of(tags: Mapping[str, str]) -> dict[str, str]:
    """Returns the parameters in a run's tag."""
    return dict(json.loads(tags.get(DEFAULTS_TAG, "{}")))


def logged(texts: Mapping[str, str], columns: Columns) -> dict[str, str]:
    """Returns what a run logs: each column that applies to it, and the value of others at which they have no effect.

    >>> logged({"lr": "0.1", "epochs": "30"}, {"lr": None, "reg.l2.strength": "0", "model.width": None})
    {'lr': '0.1', 'reg.l2.strength': '0'}
    """
    found = {key: texts.get(key, off) for key, off in columns.items()}
    return {key: text for key, text in found.items() if text is not None}


def with_new(columns: Columns, shown: Collection[str], off: Mapping[str, object]) -> dict[str, str | None]:
    """Returns the columns of `shown` that are not known yet."""
    texts = texts_of(off)
    return {key: texts.get(key) for key in sorted(shown) if key not in columns}


class ColumnBook:
    """The columns of one experiment.

    Args:
        client: MLflow's client.
        experiment_id: The experiment.
    """

    def __init__(self, client: Any, experiment_id: str) -> None:
        self._client, self._experiment_id = client, experiment_id

    def read(self) -> dict[str, str | None]:
        """Returns the columns; of an experiment of an earlier version, those of its runs."""
        tags = self._client.get_experiment(self._experiment_id).tags
        lists = [text for key, text in tags.items() if key.startswith(COLUMNS_TAG)]
        if not lists:
            found = self._of_earlier_version()
            self._add(found)
            return found
        return {key: off for text in lists for key, off in json.loads(text).items()}

    def extend(self, shown: Collection[str], off: Mapping[str, object]) -> tuple[Columns, Columns]:
        """Adds the columns that are new; returns all columns, and the new ones.

        Args:
            shown: Parameters that a run logs.
            off: Values at which they have no effect.
        """
        known = self.read()
        new = with_new(known, shown, off)
        self._add(new)
        return {**known, **new}, new

    def keep_view(self) -> None:
        """Shows the columns in the experiment's view, and those that other processes add meanwhile."""
        shown: Columns = {}
        while (now := self.read()) != shown:
            set_tags(self._client, self._experiment_id, experiment_view(now))
            shown = now

    def _add(self, columns: Columns) -> None:
        for some in limits.chunks(sorted(columns.items()), _COLUMNS_A_TAG):
            text = json.dumps(dict(some), separators=(",", ":"))
            name = hashlib.sha256(text.encode()).hexdigest()[:12]
            set_tags(self._client, self._experiment_id, {f"{COLUMNS_TAG}{name}": text})

    def fill(self, columns: Columns) -> None:
        """Logs columns in the newest runs of the experiment that lack them, through MLflow's client."""
        from mlflow.entities import Param
        from mlflow.exceptions import MlflowException

        for run in self._newest(_MOST_FILLED, f"tags.`{DEFAULTS_TAG}` LIKE '%'"):
            lacking = missing(run.data.params, defaults_of(run.data.tags), columns)
            try:
                limits.log_in_batches(
                    self._client, run.info.run_id, metrics=[], params=[Param(*p) for p in lacking.items()], tags=[]
                )
            except MlflowException as error:
                if error.error_code not in ("INVALID_PARAMETER_VALUE", "INVALID_STATE", "RESOURCE_DOES_NOT_EXIST"):
                    raise  # else it was deleted, or has another value now

    def _of_earlier_version(self) -> dict[str, str | None]:
        found: dict[str, str | None] = {}
        for run in self._newest(_EARLIER_RUNS, "tags.`regplug.data.digest` LIKE '%'"):
            present = run.data.params.get("regularizers", "").split("+")
            for key, text in run.data.params.items():
                is_off = key.startswith("reg.") and key.split(".")[1] not in present
                found[key] = text if is_off else found.get(key)
        return found

    def _newest(self, limit: int, wanted: str) -> Iterator[Any]:
        yield from self._client.search_runs(
            [self._experiment_id],
            filter_string=wanted,
            max_results=limit,
            order_by=["attributes.start_time DESC"],
        )


def missing(logged_keys: Collection[str], defaults: Mapping[str, str], columns: Columns) -> dict[str, str]:
    """Returns what an earlier run has to log for new columns.

    Args:
        logged_keys: Parameters that it has logged.
        defaults: Its other parameters.
        columns: The new columns.

    >>> missing({"lr"}, {"epochs": "30"}, {"lr": None, "epochs": None, "reg.l2.strength": "0"})
    {'epochs': '30', 'reg.l2.strength': '0'}
    """
    new = logged(defaults, {key: off for key, off in columns.items() if key not in logged_keys})
    return {key: limits.shorten(text, limits.MAX_PARAM_LENGTH) for key, text in new.items()}
