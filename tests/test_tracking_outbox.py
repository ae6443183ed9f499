"""What is kept on disk while a store is lost survives full disks and killed processes."""

from __future__ import annotations

import errno
from contextlib import contextmanager

import pytest
from mlflow.entities import Metric

from regplug.tracking import outbox
from regplug.tracking.outbox import Outbox, kept_in, run_of, taken
from regplug.tracking.records import Records

RUN = {"run_id": "0" * 32, "name": "mlp", "experiment_id": "1", "store": "http://server"}


@pytest.fixture
def kept(tmp_path):
    """A run with a metric and an end, which its process has left."""
    made = Outbox(tmp_path, RUN)
    made.keep_records(Records([Metric("test/loss", 0.5, 1000, 1)], [], {}))
    made.keep_end("FINISHED", "")
    made.release()
    return made.path


@pytest.mark.parametrize("content", ["", '{"run_i'])
def test_a_file_that_was_written_in_part_hinders_no_delivery(kept, tmp_path, content):
    for name in ("run.json", "end.json"):
        (kept / name).write_text(content)
    assert kept_in(tmp_path) == [kept]
    assert run_of(kept)["run_id"] == RUN["run_id"]
    with taken(kept) as opened:
        assert (opened.run["run_id"], opened.run["name"], opened.end) == (RUN["run_id"], "00000000", None)
        assert [metric.key for metric in opened.records().metrics] == ["test/loss"]


def test_a_file_for_which_there_is_no_room_keeps_its_content(kept, monkeypatch):
    @contextmanager
    def full(path, flag):
        path.write_text("")
        raise OSError(errno.ENOSPC, "No space left on device")
        yield

    monkeypatch.setattr(outbox, "_opened", full)
    again = Outbox(kept.parent, RUN)
    again.path, again._lock = kept, object()
    with pytest.raises(OSError, match="No space left"):
        again.keep_end("FAILED", "")
    with taken(kept) as opened:
        assert opened.end["status"] == "FINISHED"
