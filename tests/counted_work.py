"""Work for several processes, in a module that they can import."""

from __future__ import annotations

import os
import signal

from energy_forecast.pipelines.parallel import Step

STEPS = 3


def square(item: int, step: Step) -> int:
    for number in range(STEPS):
        step(f"{item}, {number}")
    return item * item


def die_at_four(item: int, step: Step) -> int:
    step("")
    if item == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def too_late(_item: int, _step: Step) -> int:
    raise TimeoutError("the work's own")
