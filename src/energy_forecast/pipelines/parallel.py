"""Work on many cities in several processes: the same work, the same results, in the same order."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import active_children, get_context, parent_process
from multiprocessing import connection as pipes
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar

from energy_forecast.fault_log import fault_file, log_faults_to
from energy_forecast.pipelines.isolation import Failed, attempt

Item = TypeVar("Item")
Result = TypeVar("Result")

# Handed out ahead of what was taken back: enough to keep all busy, little enough to bound the memory
_AHEAD = 3
# Seconds between looks at how far the processes are
_LOOK_EVERY = 0.5

# Called by work when a step of it is done, with a few words on what it was
Step = Callable[[str], None]
Work = Callable[[Item, Step], Result]
# Items handed out, the oldest first, each with its future if it was accepted
UnderWay: TypeAlias = list[tuple[Item, "Future[Any] | None"]]


def usable_processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0))


def each(
    work: Work[Item, Result],
    items: Iterable[Item],
    *,
    name: Callable[[Item], str],
    processes: int,
    steps: Callable[[int, str], None],
) -> Generator[Result | Failed]:
    """The result of `work` on each item, or why it failed, in their order; see isolation.attempt.

    With one process all is done here. With more, `work` and what it takes and gives have to be picklable, and the
    program that calls has to keep its own start under `if __name__ == "__main__"`. The processes are new ones: a fork
    would inherit the threads' locks of polars and BLAS. They end with the iterator, and with this process, however
    it ends.

    If a process is killed, as when memory runs out, the items that were under way are done again one by one, each in a
    process of its own. An item that kills this one too has failed.

    Args:
        name: the work on an item in words, for the log.
        steps: told now and then how many steps of all items are done, and what the last one was, where one process
            does them all.
    """
    if processes <= 1:
        count = 0

        def step(words: str) -> None:
            nonlocal count
            count += 1
            steps(count, words)

        for item in items:
            yield attempt(name(item), partial(work, item, step))
        return
    pools = _Pools(work, name, steps)
    rest = iter(items)
    while under_way := (yield from pools.run(rest, processes)):
        for item, future in under_way:
            if future is not None and future.done() and not isinstance(future.exception(), BrokenProcessPool):
                yield attempt(name(item), future.result)
            elif (yield from pools.run(iter([item]), 1)):
                yield Failed("The process that worked on it was killed, perhaps because memory ran out.")


class _Pools(Generic[Item, Result]):
    """Pools of processes, one after the other."""

    def __init__(
        self, work: Work[Item, Result], name: Callable[[Item], str], steps: Callable[[int, str], None]
    ) -> None:
        self._work, self._name, self._steps = work, name, steps
        self._context = get_context("spawn")
        # Steps of the pools before
        self._before = 0

    def run(self, items: Iterator[Item], processes: int) -> Generator[Result | Failed, None, UnderWay[Item]]:
        """Yield the results of items in their order.

        Returns:
            The items that were under way when a process was killed, each with its future if it has one.
        """
        others = set(active_children())
        # A number each, which only its process writes: a lock would stay taken by one that is killed
        places, counts = self._context.Value("i", 0), self._context.RawArray("L", processes)
        waiting: UnderWay[Item] = []

        def result() -> Result | Failed:
            item, future = waiting[0]
            if future is None:
                raise BrokenProcessPool
            while not wait([future], _LOOK_EVERY).done:
                self._steps(self._before + sum(counts), "")
            if isinstance(error := future.exception(), BrokenProcessPool):
                raise error
            self._steps(self._before + sum(counts), "")
            # Also what cannot be pickled is a fault of the item
            found = attempt(self._name(item), future.result)
            del waiting[0]
            return found

        with _one_thread_each():
            pool = ProcessPoolExecutor(
                processes, self._context, initializer=_begin, initargs=(places, counts, fault_file())
            )
            try:
                for item in items:
                    waiting.append((item, None))
                    waiting[-1] = (item, pool.submit(_counted, self._work, item, self._name(item)))
                    if len(waiting) >= processes * _AHEAD:
                        yield result()
                while waiting:
                    yield result()
            except BrokenProcessPool:
                return waiting
            except BaseException:
                # Ctrl-C, or nobody wants the rest: what is under way would be waited for
                for process in set(active_children()) - others:
                    process.terminate()
                raise
            finally:
                self._before += sum(counts)
                pool.shutdown(cancel_futures=True)
        return []


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


def _begin(places: Any, counts: Any, faults: Path | None) -> None:
    global _steps
    _end_with_parent()
    if faults is not None:
        log_faults_to(faults)
    with places.get_lock():
        _steps = (counts, places.value)
        places.value += 1


def _counted(work: Work[Item, Result], item: Item, name: str) -> Result | Failed:
    counts, place = _steps

    def step(words: str) -> None:  # noqa: ARG001
        counts[place] += 1

    return attempt(name, partial(work, item, step))


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
