"""Process many cities in several processes, with the same results in the same order as in one process."""

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

# Submitted items for each process: enough to keep all processes busy, few enough to bound the memory
_AHEAD = 3
# Seconds between progress checks
_LOOK_EVERY = 0.5

# Callback of the work function after each step, with a short label of the step
Step = Callable[[str], None]
Work = Callable[[Item, Step], Result]
# Submitted items, the oldest first, each with its future if the pool accepted it
UnderWay: TypeAlias = list[tuple[Item, "Future[Any] | None"]]


def usable_processors() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0))


def each(
    work: Work[Item, Result],
    items: Iterable[Item],
    *,
    name: Callable[[Item], str],
    processes: int,
    steps: Callable[[int, str], None],
) -> Generator[Result | Failed]:
    """Yield the result of `work` on each item, or its failure, in the order of the items; see isolation.attempt.

    One process means this process. With more, `work`, its arguments and its results must be picklable, and the calling
    program must guard its start with `if __name__ == "__main__"`. The processes are spawned: a fork would inherit
    locks of the threads of polars and BLAS. They end with the iterator and with this process, even if it is killed.

    If a process is killed, for example because memory runs out, the unfinished items are repeated one by one, each in
    its own process. An item whose process is killed again has failed.

    Args:
        name: returns a description of the work on an item, for the log.
        steps: receives the number of finished steps of all items at intervals; with one process also the label of the
            last step.
    """
    if processes <= 1:
        count = 0

        def step(label: str) -> None:
            nonlocal count
            count += 1
            steps(count, label)

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
                yield Failed("The worker process was killed, possibly because memory ran out.")


class _Pools(Generic[Item, Result]):
    """Process pools, one after the other."""

    def __init__(
        self, work: Work[Item, Result], name: Callable[[Item], str], steps: Callable[[int, str], None]
    ) -> None:
        self._work, self._name, self._steps = work, name, steps
        self._context = get_context("spawn")
        # Steps of earlier pools
        self._before = 0

    def run(self, items: Iterator[Item], processes: int) -> Generator[Result | Failed, None, UnderWay[Item]]:
        """Yield the results of the items in their order.

        Returns:
            The unfinished items if a process was killed, each with its future if it has one.
        """
        others = set(active_children())
        # One counter for each process, written by it alone: a killed process would never release a lock
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
            # A pickling error also counts as a failure of the item
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
                # Ctrl-C, or the caller stopped: do not wait for unfinished items
                for process in set(active_children()) - others:
                    process.terminate()
                raise
            finally:
                self._before += sum(counts)
                pool.shutdown(cancel_futures=True)
        return []


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Limit polars to one thread in processes started meanwhile; with more they would block each other."""
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


# In a worker process: the shared counters, and the index of its own counter
_steps: tuple[Any, int]


def _begin(places: Any, counts: Any, faults: Path | None) -> None:
    global _steps  # noqa: PLW0603 - one per worker process
    _end_with_parent()
    if faults is not None:
        log_faults_to(faults)
    with places.get_lock():
        _steps = (counts, places.value)
        places.value += 1


def _counted(work: Work[Item, Result], item: Item, name: str) -> Result | Failed:
    counts, place = _steps

    def step(label: str) -> None:  # noqa: ARG001
        counts[place] += 1

    return attempt(name, partial(work, item, step))


def _end_with_parent() -> None:
    # Ctrl-C reaches all processes of a terminal; the parent handles it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        # Without this, the worker would wait for the queue forever after its parent was killed
        pipes.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
