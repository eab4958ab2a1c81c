"""Work for several processes, in a module that they can import."""

from __future__ import annotations

import os
import signal
import sys

from energy_forecast.errors import ConnectionLostError
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


class NotPicklableError(Exception):
    """Cannot be made again in another process: its constructor wants two arguments."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


class WithoutTextError(Exception):
    """Its text is a fault too."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class Panic(BaseException):
    """As of a library in Rust: no Exception."""


# By kind, what the reason has to say
FAULTS = {
    "value": "ValueError: bad value",
    "timeout": "TimeoutError",
    "exit": "SystemExit: 0",
    "generator": "GeneratorExit",
    "pickle": "NotPicklableError: 1 and 2",
    "text": "WithoutTextError",
    "panic": "Panic: \u2014",
    "control": "ValueError: a b",
    "result": "pickle",
}


def fail_at_four(kind: str, item: int, _step: Step) -> object:
    if item != 4:
        return item
    match kind:
        case "value":
            raise ValueError("bad value")
        case "timeout":
            raise TimeoutError
        case "exit":
            sys.exit(0)
        case "generator":
            raise GeneratorExit
        case "pickle":
            raise NotPicklableError(1, 2)
        case "text":
            raise WithoutTextError
        case "panic":
            raise Panic("\u2014")
        case "control":
            raise ValueError("a\0\n\udc80b")
        case _:
            return lambda: None


def lose_connection(item: int, _step: Step) -> int:
    if item == 4:
        raise ConnectionLostError("The server is gone.")
    return item
