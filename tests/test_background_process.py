"""The second process: it computes what this one would, tells its errors, and never outlives this one."""

from __future__ import annotations

import math
import operator
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from waiting import LONGEST_S, wait_until

from regplug.errors import FailedError, RequestError
from regplug.reports.judging import get_ready
from regplug.runs import background_process
from regplug.runs.background_process import BackgroundProcess, InlineExecutor, second_process
from regplug.runs.figures import Figures
from regplug.statistics import Setting, Study, analyse


@pytest.fixture(params=[InlineExecutor, BackgroundProcess], ids=["inline", "background"])
def computing(request):
    made = request.param()
    if isinstance(made, InlineExecutor):
        yield made
        return
    with made:
        yield made


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_functions_are_computed_in_order(computing):
    futures = [computing.submit(math.pow, 2, power) for power in range(5)]
    assert [future.result() for future in futures] == [1, 2, 4, 8, 16]


def test_an_error_comes_over_with_its_hint_and_the_next_function_is_computed(computing):
    study = Study(name="empty", settings=(Setting(label="a", varied={}),), runs=())
    asked = computing.submit(analyse, study, "test/accuracy")
    with pytest.raises(RequestError) as caught:
        asked.result()
    with pytest.raises(RequestError) as expected:
        analyse(study, "test/accuracy")
    assert (caught.value.message, caught.value.hint) == (expected.value.message, expected.value.hint)
    assert computing.submit(math.sqrt, 16).result() == 4
    with pytest.raises(ZeroDivisionError):
        computing.submit(operator.truediv, 1, 0).result()


def test_what_a_function_prints_does_not_come_between_the_answers(computing):
    assert computing.submit(print, "hello").result() is None
    assert computing.submit(math.sqrt, 9).result() == 3


def test_it_is_another_process_that_ends_with_the_block_even_while_it_computes():
    with BackgroundProcess() as aside:
        pid = aside.submit(os.getpid).result()
        assert pid != os.getpid()
        aside.submit(time.sleep, 10 * LONGEST_S)
    wait_until(lambda: not is_alive(pid))


def test_a_process_that_was_killed_is_told_as_such():
    with BackgroundProcess() as aside:
        os.kill(aside.submit(os.getpid).result(), signal.SIGKILL)
        with pytest.raises(FailedError, match="ended with exit code -9"):
            aside.submit(math.sqrt, 9).result()


def test_it_does_not_outlive_a_process_that_was_killed():
    program = (
        "import os, signal; from regplug.runs.background_process import BackgroundProcess; a = BackgroundProcess(); "
        "print(a.submit(os.getpid).result(), flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    wait_until(lambda: not is_alive(int(done.stdout)))


def test_modules_of_the_current_folder_do_not_come_between(tmp_path, monkeypatch):
    (tmp_path / "math.py").write_text("raise SystemExit(3)")
    (tmp_path / "regplug.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(tmp_path)
    with BackgroundProcess() as aside:
        assert aside.submit(operator.add, 1, 2).result() == 3


def test_statistics_and_report_need_no_torch_there():
    with BackgroundProcess() as aside:
        aside.submit(get_ready).result()
        assert aside.submit(eval, "'torch' in __import__('sys').modules").result() is False


@pytest.mark.parametrize("fault", ["one processor", "no process"])
def test_without_a_second_process_everything_is_computed_here(monkeypatch, fault):
    def refuse():
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(background_process, "_count_processors", lambda: 1 if fault == "one processor" else 2)
    monkeypatch.setattr(background_process, "BackgroundProcess", refuse)
    with second_process("regplug.reports.plots:get_ready") as computing:
        assert computing.submit(os.getpid).result() == os.getpid()


def test_a_second_process_is_ready_to_draw(monkeypatch):
    monkeypatch.setattr(background_process, "_count_processors", lambda: 2)
    with second_process("regplug.reports.plots:get_ready") as computing:
        assert computing.submit(os.getpid).result() != os.getpid()
        modules = computing.submit(eval, "set(__import__('sys').modules)").result()
    assert "matplotlib.backends.backend_agg" in modules
    assert "torch" not in modules


class Tracked:
    """Takes the place of a tracked run."""

    def __init__(self):
        self.files = {}

    def log_figure_png(self, data, path):
        self.files[path] = data


def test_figures_are_drawn_here_if_the_process_that_draws_them_was_killed():
    tracked = Tracked()
    with BackgroundProcess() as computing:
        os.kill(computing.submit(os.getpid).result(), signal.SIGKILL)
        figures = Figures(computing)
        with figures.logged_to(tracked):
            figures.draw("a.png", bytes, 3)
    assert tracked.files == {"a.png": bytes(3)}


def test_figures_are_logged_after_an_error_too_and_an_error_of_drawing_is_raised():
    tracked, figures = Tracked(), Figures(InlineExecutor())
    figures.draw("a.png", bytes, 3)
    with pytest.raises(KeyError), figures.logged_to(tracked):
        raise KeyError
    assert tracked.files == {"a.png": bytes(3)}
    figures.draw("b.png", bytes, None)
    with pytest.raises(TypeError), figures.logged_to(tracked):
        pass
