"""A second Python process: it imports what the end of a run or study needs while the runs train.

Importing torch, MLflow, scipy and matplotlib one after another takes longer than training a small study. Threads do not
help, because an import holds the interpreter's lock.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import pickle
import pkgutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import IO, Any, Protocol, TypeVar, cast

from regplug.errors import FailedError

T = TypeVar("T")

# The child gets this process's search path, so that no module of the current folder shadows another, and collects
# garbage as rarely.
_PROGRAM = (
    "import gc, json, sys; sys.path[:], thresholds = json.loads(sys.argv.pop(1)); gc.set_threshold(*thresholds); "
    "from regplug.runs.background_process import serve; serve()"
)


class Executor(Protocol):
    """Runs functions, in this process or another."""

    def submit(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> Future[T]:
        """Starts computing `function(*args, **kwargs)` and returns a future of its result or error."""


class InlineExecutor:
    """Computes immediately, in this process."""

    def submit(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> Future[T]:
        """See `Executor.submit`."""
        future: Future[T] = Future()
        try:
            future.set_result(function(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class BackgroundProcess:
    """Computes one function after another in a second process; a context manager that ends it.

    The process ends with this one, however this one ends, because it reads from a pipe that is then closed.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter with our own program
            [sys.executable, "-c", _PROGRAM, json.dumps([sys.path, gc.get_threshold()])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C reaches only this process, which then ends the other
        )
        # Popen's type hints do not show that both pipes exist.
        self._asked, self._answers = cast(IO[bytes], self._process.stdin), cast(IO[bytes], self._process.stdout)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="regplug-background")

    def submit(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> Future[T]:
        """See `Executor.submit`.

        Args:
            function: A module-level function whose arguments, result and errors can be pickled.
            args: Its arguments.
            kwargs: Its arguments by name.
        """
        return self._thread.submit(self._ask, function, args, kwargs)

    def __enter__(self) -> BackgroundProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()  # nothing waits for a result any more
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._process.communicate()

    def _ask(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        try:
            pickle.dump((function, args, kwargs), self._asked)
            self._asked.flush()
            is_done, answer = pickle.load(self._answers)  # noqa: S301 - from our own process
        except (EOFError, OSError) as error:
            code = self._process.wait()
            raise FailedError(
                f"The process that computes {function.__name__} ended with exit code {code}.",
                hint="It may have run out of memory. All trained runs are tracked: run the same command again.",
            ) from error
        if not is_done:
            raise answer
        return answer


@contextlib.contextmanager
def second_process(get_ready: str) -> Iterator[Executor]:
    """Provides a second process, or computes in this one if it has one processor or no process can be started.

    Args:
        get_ready: The function that imports what the second process will need, as `module:function`. Only that process
            imports it.
    """
    process = _started() if _count_processors() > 1 else None
    if process is None:
        yield InlineExecutor()
        return
    with process:
        process.submit(_call, get_ready)
        yield process


def _started() -> BackgroundProcess | None:
    try:
        return BackgroundProcess()
    except OSError:  # too many processes, or too little memory for one more
        return None


def _count_processors() -> int:
    """Returns how many processors this process may use; a container or scheduler may allow only some of them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _call(name: str) -> None:
    pkgutil.resolve_name(name)()


def serve() -> None:
    """Computes the functions that arrive on stdin until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # output of libraries must not mix with the results
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            function, args, kwargs = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the process that started this
            replies.write(_answer(function, args, kwargs))
            replies.flush()


def _answer(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    try:
        return pickle.dumps((True, function(*args, **kwargs)))
    except Exception as error:
        try:
            return pickle.dumps((False, error))
        except Exception:  # an error that cannot be pickled
            return pickle.dumps((False, RuntimeError(f"{type(error).__name__}: {error}")))
