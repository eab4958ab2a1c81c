"""Work on many cities in several processes: the same work, the same results, in the same order."""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, get_context, parent_process
from multiprocessing.connection import wait
from typing import TypeVar

from energy_forecast.errors import EnergyForecastError

Item = TypeVar("Item")
Result = TypeVar("Result")

# Handed out ahead of what was taken back: enough to keep all busy, little enough to bound the memory
_AHEAD = 3


def usable_processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0))


def each(work: Callable[[Item], Result], items: Iterable[Item], *, processes: int) -> Generator[Result]:
    """The result of `work` on each item, in their order.

    With one process all is done here. With more, `work` and what it takes and gives have to be picklable, and the
    program that calls has to keep its own start under `if __name__ == "__main__"`. The processes are new ones: a fork
    would inherit the threads' locks of polars and BLAS. They end with the iterator, and with this process, however
    it ends.

    Raises:
        EnergyForecastError: a process was killed, as when memory runs out.
    """
    if processes <= 1:
        yield from map(work, items)
        return
    before = set(active_children())
    with _one_thread_each():
        pool = ProcessPoolExecutor(processes, get_context("spawn"), initializer=_end_with_parent)
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= processes * _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise EnergyForecastError(
                "A process at work was killed, perhaps for want of memory.",
                hint="Use fewer --processes. What was finished is kept.",
            ) from error
        except BaseException:
            # Ctrl-C, or nobody wants the rest: what is under way would be waited for
            for process in set(active_children()) - before:
                process.terminate()
            raise
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """While processes are started: polars in each takes one thread, or they wait for each other."""
    name = "POLARS_MAX_THREADS"
    given = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if given is None:
            del os.environ[name]
        else:
            os.environ[name] = given


def _end_with_parent() -> None:
    # Ctrl-C reaches all processes of a terminal; the parent says what is to be done
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        # A killed parent tells nobody, and the queue would be waited at for ever
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
