"""One thread for matrix products: several threads add in another order, so the same data would give another model.

The linear systems are many and small. On a busy machine with two cores, one training step took 75 s with two threads
and 20 s with one.
"""

from __future__ import annotations

from contextlib import ContextDecorator
from functools import cached_property
from threading import Lock

import numpy as np  # noqa: F401 - only libraries that are loaded can be found
from threadpoolctl import LibController, OpenBLASController, ThreadpoolController


class _OneBlasThread(ContextDecorator):
    """A context and decorator that limits BLAS to one thread in this process, and restores the number at the end.

    The number belongs to the process. Of overlapping calls in several threads, the first sets and the last restores it.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._depth = 0
        self._before: list[int] = []

    @cached_property
    def _libraries(self) -> list[LibController]:
        # Finding the libraries takes 10 ms, setting their number of threads 0.01 ms
        return list(ThreadpoolController().select(user_api="blas").lib_controllers)

    def _set(self, numbers: list[int]) -> None:
        # threadpoolctl lets only one Python thread set the number of OpenBLAS, and ignores the others
        OpenBLASController.clear_controlling_thread(force=True)
        for library, number in zip(self._libraries, numbers, strict=True):
            library.set_num_threads(number)
        OpenBLASController.clear_controlling_thread(force=True)

    def __enter__(self) -> None:
        with self._lock:
            if self._depth == 0:
                self._before = [library.num_threads for library in self._libraries]
                self._set([1] * len(self._before))
            self._depth += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._depth -= 1
            if self._depth == 0:
                self._set(self._before)


one_blas_thread = _OneBlasThread()
