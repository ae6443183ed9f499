"""Studies that were interrupted in the middle of a stack are resumed from what the store knows about them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch
from study_runs import DEFAULTS
from trainings import toy
from written_here import here

import regplug
from regplug.cli.live_study import LiveStudy
from regplug.errors import RequestError
from regplug.regularizer import RegularizerFunctions
from regplug.runs import checkpoints
from regplug.studies import keeping
from regplug.studies.design.config import load_study
from regplug.studies.engine import Study
from regplug.studies.results import StudyObserver
from regplug.studies.stacks import running
from regplug.tracking import open_store
from regplug.tracking.run import TrackedRun
from regplug.training.loop import Trainer

STUDY = {
    **DEFAULTS, "dataset": "moons", "model": "mlp:hidden=[6]", "grid": ["reg.dropout.drop_probability=0,0.3"],
    "reg": ["dropout", "batchnorm", "ema"], "seeds": 2, "epochs": 4, "momentum": 0.9, "probe": ["weight_norm"],
    "checkpoint_every": 1e-9, "schedule": "cosine",
}  # fmt: skip


class Interrupts(StudyObserver):
    """Breaks a study off after so many epochs, counted over its stacks, by an exception or as Ctrl-C does."""

    def __init__(self, epochs, softly=False):
        self.left, self.softly, self.told, self.trained = epochs, softly, [], 0

    def epoch_ended(self, record, points):
        self.trained += 1
        self.left -= 1
        if self.left == 0:
            if not self.softly:
                raise KeyboardInterrupt
            os.kill(os.getpid(), signal.SIGINT)

    def warned(self, message):
        self.told.append(message)


@pytest.fixture(autouse=True)
def each_epoch(monkeypatch):
    """Checkpoints take as much time as they like, and stacks have two runs."""
    monkeypatch.setattr(checkpoints, "_SHARE", 1e9)
    monkeypatch.setattr(running, "candidate_sizes", lambda most: [min(2, most)])


def interrupted(epochs, function=regplug.sweep, **fields):
    with pytest.raises(KeyboardInterrupt):
        function(**{**STUDY, "name": "broken off", **fields, "observers": [Interrupts(epochs)]})
    (study,) = (run for run in open_store().runs() if run.name == fields.get("name", "broken off"))
    return study


def numbers(result):
    """Everything that the runs of a study measured, and the weights of the one that was trained again."""
    assert result.failed == ()
    each = {one.point.key: {k: v for k, v in one.metrics.items() if "time" not in k} for one in result.results}
    return each, [final.state_sha256 for final in result.finals]


def points(study_id):
    """The points of every run of a study in the store that are not times."""
    store = open_store()
    return {
        child.tags["regplug.study.point"]: {
            name: [(point.step, point.value) for point in store.metric_history(child.run_id, name)]
            for name in child.metrics
            if not name.startswith("time/")
        }
        for child in store.runs(limit=None, parent=study_id)
    }


@pytest.mark.slow
@pytest.mark.parametrize("epochs", [2, 6])
def test_a_study_resumed_in_the_middle_of_a_stack_ends_as_an_uninterrupted_one(place, epochs):
    broken = interrupted(epochs)
    assert broken.status == "KILLED"
    observer = Interrupts(0)
    resumed = regplug.resume("broken off", observers=[observer])
    whole = regplug.sweep(**{**STUDY, "name": "whole"})
    assert observer.trained == 8 - epochs + 1  # the epoch in which it was interrupted was not saved
    assert (resumed.study_id, resumed.status) == (broken.run_id, "FINISHED")
    assert numbers(resumed) == numbers(whole)
    assert points(resumed.study_id) == points(whole.study_id)
    assert open_store().find_run(broken.run_id).status == "FINISHED"
    assert list(Path("mlruns/checkpoints").iterdir()) == []


@pytest.mark.slow
def test_ctrl_c_ends_a_study_after_the_epoch_with_what_there_is(place, heeded):
    observer = Interrupts(6, softly=True)
    asked = load_study(None, (), {**STUDY, "checkpoint_every": 1000})
    early = Study(asked).run([observer], is_soft=True)
    assert (early.status, open_store().find_run(early.study_id).status) == ("KILLED", "KILLED")
    assert [each.is_finished for each in early.results] == [True, True]
    assert early.conclusion.analysis is not None
    labels = [point.key for point in early.untrained]
    assert labels == early.document()["untrained"]
    assert observer.told == [
        "The training ends after this epoch. Press Ctrl-C again to end the study at once.",
        f"Interrupted: 2 of 4 runs are not trained: {'; '.join(labels)}. "
        f"`regplug runs resume {early.study_id[:8]}` continues the study.",
    ]
    counter = Interrupts(0)
    resumed = regplug.resume(early.study_id, observers=[counter])
    assert counter.trained == 2
    assert numbers(resumed) == numbers(regplug.sweep(**STUDY))


class Remembers(RegularizerFunctions):
    """A penalty towards the mean of the weights so far, which it keeps in its state."""

    def init(self, shapes, params, buffers):
        return {name: torch.zeros_like(value) for name, value in params.items()}

    def penalty(self, step, weights, outputs):
        return 0.1 * sum(((value - step.state[name]) ** 2).sum() for name, value in weights.items())

    def after_step(self, step, params):
        share = 1.0 / (step.clock.index + 1)
        return params, {name: torch.lerp(step.state[name], value, share) for name, value in params.items()}


@pytest.mark.slow
def test_state_of_a_plugin_continues_in_a_stack_and_the_plugin_is_asked_for(place):
    fields = {"reg": [here(Remembers)], "grid": ["lr=0.1,0.3"], "dataset": toy(), "data_seed": 0}
    broken = interrupted(2, **fields)
    with pytest.raises(RequestError, match="was trained with a Python object") as caught:
        regplug.resume(broken.run_id)
    assert "regplug.resume(study, model=..., dataset=..., components=[...])" in caught.value.hint
    assert open_store().find_run(broken.run_id).status == "KILLED"
    resumed = regplug.resume(broken.run_id, dataset=toy(), components=[here(Remembers)])
    assert numbers(resumed) == numbers(regplug.sweep(**STUDY | fields))


def test_a_study_whose_data_or_code_have_changed_is_refused_and_stays_as_it_is(place, terminal):
    broken = interrupted(2, dataset=toy())
    with pytest.raises(RequestError, match=r"something has changed: content\.data was "):
        regplug.resume(broken.run_id, dataset=toy(seed=5))
    code = Path("mine.py")
    code.write_text("from torch import nn\nclass Net(nn.Sequential):\n    def __init__(self):\n"
                    "        super().__init__(nn.Flatten(), nn.Linear(2, 2))\n")  # fmt: skip
    moved = interrupted(2, model="mine.py:Net", name="moved", grid=["lr=0.1,0.2"], reg=[])
    code.unlink()
    said = terminal("runs", "resume", moved.run_id)
    assert said.code == 2
    assert "mine.py:Net: there is no file" in said.err
    assert {run.status for run in open_store().runs(tags={"regplug.study": "sweep"})} == {"KILLED"}


@pytest.mark.slow
def test_runs_of_a_study_lead_to_the_study_and_finished_ones_are_refused(place, terminal):
    broken = interrupted(6)
    child = open_store().runs(parent=broken.run_id)[0]
    said = terminal("runs", "resume", child.run_id)
    assert said.code == 2
    assert f"belongs to the study broken off ({broken.run_id[:8]})" in said.err
    assert f"regplug runs resume {broken.run_id[:8]}" in said.err
    said = terminal("runs", "resume", "broken off", "--json")
    assert (said.code, said.document["status"], said.document["study_id"]) == (0, "FINISHED", broken.run_id)
    said = terminal("runs", "resume", "broken off")
    assert said.code == 2
    assert "is finished" in said.err


@pytest.mark.slow
def test_a_study_that_was_killed_before_its_request_was_stored_gets_it_from_the_same_command(place, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(TrackedRun, "log_dict", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            regplug.sweep(**STUDY | {"name": "early"})
    with pytest.raises(RequestError, match="it ended before its training began"):
        regplug.resume("early")
    result = regplug.sweep(**STUDY | {"name": "early", "epochs": 4})
    assert "study.json" in open_store().artifact_names(result.study_id)


@pytest.mark.parametrize("stack", [pytest.param(1, marks=pytest.mark.full), pytest.param(2, marks=pytest.mark.slow)])
def test_the_best_setting_trained_again_is_resumed_and_its_finished_seeds_are_kept(place, monkeypatch, stack):
    monkeypatch.setattr(running, "candidate_sizes", lambda most: [min(stack, most)])
    fields = {"folds": 2, "final_seeds": 3, "seeds": 1, "export": True, "format": ["onnx"], "name": "cv"}
    ended = Trainer.train

    def train(self):
        for record in ended(self):
            yield record
            if self._runs[0].seed == 1 and record.epoch == 2:
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train", train)
        with pytest.raises(KeyboardInterrupt):
            regplug.cross_validate(**STUDY | fields)
    store = open_store()
    finals = store.runs(tags={"regplug.study.final_of": store.find_run("cv").run_id})
    assert sorted(run.status for run in finals) == ["FINISHED", "KILLED"]
    resumed = regplug.resume("cv")
    whole = regplug.cross_validate(**STUDY | fields | {"name": "whole"})
    assert {run.run_id for run in finals} <= {run.run_id for run in resumed.finals}
    assert numbers(resumed) == numbers(whole)
    assert resumed.winner.verification.passed


@pytest.mark.slow
def test_a_study_that_another_process_finishes_meanwhile_is_refused_and_stays_whole(place, monkeypatch):
    broken, read = interrupted(6), keeping.read_rows

    def overtaken(store, run_id):
        monkeypatch.setattr(keeping, "read_rows", read)
        regplug.resume(broken.run_id)
        return read(store, run_id)

    monkeypatch.setattr(keeping, "read_rows", overtaken)
    with pytest.raises(RequestError, match="was finished by another process meanwhile"):
        regplug.resume(broken.run_id)
    assert open_store().find_run(broken.run_id).status == "FINISHED"
    assert {child.status for child in open_store().runs(limit=None, parent=broken.run_id)} == {"FINISHED"}


SWEEP = (
    *("sweep", "--dataset", "moons", "--model", "mlp:hidden=[6]", "--grid", "reg.l2.strength=0,0.01", "--reg", "l2"),
    *("--seeds", "2", "--epochs", "3", "--no-export", "--name", "pressed"),
)


@pytest.mark.slow
def test_ctrl_c_at_the_command_line_ends_a_sweep_softly_and_a_second_one_at_once(place, heeded, terminal, monkeypatch):
    def press(times):
        presses = iter([signal.SIGINT] * times)
        monkeypatch.setattr(LiveStudy, "epoch_ended", lambda *_: [os.kill(os.getpid(), each) for each in presses])

    press(1)
    said = terminal(*SWEEP)
    (study,) = open_store().runs(tags={"regplug.study": "sweep"})
    again = f"regplug runs resume {study.run_id[:8]}"
    assert (said.code, study.status) == (130, "KILLED")
    assert "best so far" in said.out
    assert "Interrupted: 4 of 4 runs are not trained: l2.strength=0 | seed 0 data 0; " in said.err
    assert again in said.out
    assert again in said.err
    press(2)
    said = terminal("runs", "resume", study.run_id)
    assert said.code == 130
    assert f"ended KILLED; 0 of 4 runs are kept. `{again}` continues it." in said.err
    press(0)
    said = terminal("runs", "resume", study.run_id, "--json")
    assert (said.code, said.document["status"], len(said.document["runs"])) == (0, "FINISHED", 4)
