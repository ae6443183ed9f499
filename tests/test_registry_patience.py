"""The import of a plugin that never ends is given up after a time that the message names."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

import pytest

from regplug.registry import Switches, load_registry
from regplug.registry.patience import IMPORT_TIMEOUT_S, TIMEOUT_VARIABLE, PluginTimeout, patient, timeout_s

HANGING = {
    "import": "import time\nwhile True:\n    try:\n        time.sleep(3600)\n    except Exception:\n        pass\n",
    "hook": "import time\nfrom regplug.api import hookimpl\n\n"
    "@hookimpl\ndef regplug_regularizers():\n    time.sleep(3600)\n",
    "lock": "import threading\nlock = threading.Lock()\nlock.acquire()\nlock.acquire()\n",
}


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setenv(TIMEOUT_VARIABLE, "0.2")


@pytest.mark.parametrize("where", HANGING)
def test_a_plugin_that_hangs_is_a_problem_and_the_others_are_loaded(tmp_path, where):
    file = tmp_path / f"hanging_{where}.py"
    file.write_text(HANGING[where])
    began = time.monotonic()
    registry = load_registry(Switches(plugins=(str(file),)))
    assert time.monotonic() - began < 30
    (problem,) = (one for one in registry.problems if one.what == "broken")
    assert "it did not end within 0.2 s (REGPLUG_IMPORT_TIMEOUT_S sets the limit)" in problem.message
    assert "--disable" in problem.hint
    assert registry.components("regularizer")


def test_the_timer_is_off_and_the_handler_is_back_afterwards():
    handler = signal.getsignal(signal.SIGALRM)
    with pytest.raises(PluginTimeout), patient():
        time.sleep(5)
    assert signal.getsignal(signal.SIGALRM) is handler
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_other_threads_and_callers_with_their_own_timer_are_left_alone():
    ended = []

    def wait():
        with patient():
            time.sleep(0.3)
        ended.append(True)

    thread = threading.Thread(target=wait)
    thread.start()
    thread.join()
    assert ended
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 100)
    try:
        with patient():
            assert signal.getitimer(signal.ITIMER_REAL)[0] > 90
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("text", ["", "soon", "0", "-1", "inf", "nan"])
def test_a_limit_that_is_no_positive_number_is_ignored(monkeypatch, text):
    monkeypatch.setenv(TIMEOUT_VARIABLE, text)
    assert timeout_s() == IMPORT_TIMEOUT_S


@pytest.mark.slow
def test_the_doctor_tells_it_and_its_process_ends_although_a_thread_of_the_plugin_goes_on(tmp_path):
    file = tmp_path / "hanging.py"
    file.write_text(
        f"import threading, time\nthreading.Thread(target=time.sleep, args=(3600,)).start()\n{HANGING['lock']}"
    )
    asked = [sys.executable, "-m", "regplug", "plugins", "doctor", "--plugin", str(file)]
    run = subprocess.run(asked, capture_output=True, text=True, timeout=100, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert "did not end within 0.2 s" in run.stdout
