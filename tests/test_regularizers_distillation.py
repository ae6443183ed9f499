"""Self-distillation from a finished run or a bundle."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from by_hand import reference_mlp
from runs import Place, standing_in
from trainings import DEFAULTS, assembled, toy, trained, trainer

from regplug.data import order
from regplug.errors import CompositionError, ParameterError, RequestError
from regplug.regularizer import Shapes
from regplug_regularizers.targets import SelfDistillationParams
from regplug_regularizers.targets.self_distillation import SelfDistillation

FIELDS = {**DEFAULTS, "dtype": "float32", "epochs": 1}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder that is the working folder of all tests here."""
    with standing_in(tmp_path_factory.mktemp("distillation")) as folder:
        yield Place(folder)


@pytest.fixture(scope="module")
def teacher(place):
    """A finished run with a bundle."""
    return place.run(**{**FIELDS, "dataset": toy()}, export=True, format=["onnx"], out="teacher", name="old")


def test_a_student_learns_from_the_labels_and_from_the_teachers_answers(teacher, place):
    fields = {"reg": ["self_distillation:teacher=teacher,strength=0.5"], "dtype": "float64", "epochs": 2}
    made = assembled(**fields)
    student, x, y = reference_mlp(made), made.data.train.x, made.data.train.y
    with torch.no_grad():
        taught = teacher.model(x.float()).softmax(1).double()
    optimizer = torch.optim.SGD(student.parameters(), lr=0.2)
    for epoch in range(2):
        for rows in order(len(x), 0, epoch).split(32):
            optimizer.zero_grad()
            logits = student(x[rows])
            (F.cross_entropy(logits, y[rows]) + 0.5 * F.cross_entropy(logits, taught[rows])).backward()
            optimizer.step()
    ours, _ = trained(trainer(**fields))
    for own, other in zip(ours.tensors_of(0)[0].values(), student.parameters(), strict=True):
        torch.testing.assert_close(own.detach(), other.detach(), rtol=1e-5, atol=1e-6)


def test_a_run_is_a_teacher_by_its_name_and_its_answers_are_those_of_its_bundle(teacher, place):
    rows = np.asarray(toy().train.x[:5])
    shapes = Shapes(x=(5, 8), y=(5,), outputs=(5, 3), weights={}, params={}, rows=5, raw=rows)
    states = [
        SelfDistillation(SelfDistillationParams(teacher=text)).init(shapes, {"w": torch.zeros(1)}, {})
        for text in ("teacher", "old", teacher.run_id)
    ]
    expected = teacher.model(torch.from_numpy(rows)).softmax(1).detach()
    for state in states:
        torch.testing.assert_close(state["teacher"], expected, rtol=1e-5, atol=1e-6)


def test_a_teacher_that_is_missing_or_of_other_classes_is_refused(teacher, place):
    with pytest.raises(ParameterError, match="needs teacher"):
        place.run(**{**FIELDS, "dataset": toy(), "reg": ["self_distillation"]})
    with pytest.raises(RequestError, match="teacher=nowhere is neither the folder of a bundle nor a run"):
        assembled(reg=["self_distillation:teacher=nowhere"])
    with pytest.raises(CompositionError, match="the teacher knows the classes a, b, c, and the dataset has 0, 1"):
        assembled(dataset="digits", reg=["self_distillation:teacher=teacher"])
    with pytest.raises(CompositionError, match="self_distillation is for classification"):
        assembled(dataset=toy("regression"), reg=["self_distillation:teacher=teacher"])
    with pytest.raises(CompositionError, match="self_distillation refuses mixing"):
        assembled(reg=["self_distillation:teacher=teacher", "mixup"])
