"""Work on many cities in several processes: the same work, the same results, in the same order."""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, get_context, parent_process
from multiprocessing import connection as pipes
from typing import Any, TypeVar

from energy_forecast.errors import EnergyForecastError

Item = TypeVar("Item")
Result = TypeVar("Result")

# Handed out ahead of what was taken back: enough to keep all busy, little enough to bound the memory
_AHEAD = 3
# Seconds between looks at how far the processes are
_LOOK_EVERY = 0.5

# Called by work when a step of it is done, with a few words on what it was
Step = Callable[[str], None]
Work = Callable[[Item, Step], Result]


def usable_processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0))


def each(
    work: Work[Item, Result], items: Iterable[Item], *, processes: int, steps: Callable[[int, str], None]
) -> Generator[Result]:
    """The result of `work` on each item, in their order.

    With one process all is done here. With more, `work` and what it takes and gives have to be picklable, and the
    program that calls has to keep its own start under `if __name__ == "__main__"`. The processes are new ones: a fork
    would inherit the threads' locks of polars and BLAS. They end with the iterator, and with this process, however
    it ends.

    Args:
        steps: told now and then how many steps of all items are done, and what the last one was, where one process
            does them all.

    Raises:
        EnergyForecastError: a process was killed, as when memory runs out.
    """
    if processes <= 1:
        count = 0

        def step(words: str) -> None:
            nonlocal count
            count += 1
            steps(count, words)

        for item in items:
            yield work(item, step)
        return
    before = set(active_children())
    context = get_context("spawn")
    # A number each, which only its process writes: a lock would stay taken by one that is killed
    places, counts = context.Value("i", 0), context.RawArray("L", processes)

    def result(future: Future[Result]) -> Result:
        while not wait([future], _LOOK_EVERY).done:
            steps(sum(counts), "")
        found = future.result()
        steps(sum(counts), "")
        return found

    with _one_thread_each():
        pool = ProcessPoolExecutor(processes, context, initializer=_begin, initargs=(places, counts))
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(_counted, work, item))
                if len(waiting) >= processes * _AHEAD:
                    yield result(waiting.popleft())
            while waiting:
                yield result(waiting.popleft())
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


# Of a process at work: where it counts its steps, and which place is its own
_steps: tuple[Any, int]


def _begin(places: Any, counts: Any) -> None:
    global _steps
    _end_with_parent()
    with places.get_lock():
        _steps = (counts, places.value)
        places.value += 1


def _counted(work: Work[Item, Result], item: Item) -> Result:
    counts, place = _steps

    def step(words: str) -> None:  # noqa: ARG001
        counts[place] += 1

    return work(item, step)


def _end_with_parent() -> None:
    # Ctrl-C reaches all processes of a terminal; the parent says what is to be done
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        # A killed parent tells nobody, and the queue would be waited at for ever
        pipes.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
