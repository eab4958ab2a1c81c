"""Slow clients, and those that send much at a time: the server continues to serve others."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import ExitStack, suppress

import pytest

from api.conftest import Api
from energy_forecast.api.connections import SLOWEST_HEADERS, Turns
from energy_forecast.errors import TooManyRequestsError


def test_silent_and_partial_connections_do_not_stop_others(api: Api) -> None:
    """More than the usual limit of open files; the server closes each that sends no whole request in time."""
    host, port = api.address.removeprefix("http://").split(":")
    with ExitStack() as stack:
        slow = [stack.enter_context(socket.create_connection((host, int(port)), timeout=5)) for _ in range(600)]
        for one in slow[::2]:
            one.sendall(b"GET /v1/cities HTTP/1.1\r\nHost: x\r\n")
        assert api.get("/v1/cities").status == 200
        closed = time.monotonic() + SLOWEST_HEADERS + 20
        for one in slow:
            one.settimeout(max(0.1, closed - time.monotonic()))
            with suppress(ConnectionResetError):
                assert one.recv(1) == b""
        assert api.get("/v1/cities").status == 200


def test_connection_that_is_used_stays_open(api: Api) -> None:
    """The clock begins again with each answer."""
    host, port = api.address.removeprefix("http://").split(":")
    request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=5) as used:
        for _ in range(4):
            used.sendall(request)
            answer = used.recv(1000)
            while not answer.endswith(b"}"):
                answer += used.recv(1000)
            assert answer.startswith(b"HTTP/1.1 200")
            time.sleep(3)


def test_client_has_some_turns_at_a_time() -> None:
    """The sixth request of a key waits, and one of another key does not."""

    async def run() -> tuple[int, int]:
        turns, running, most = Turns(), 0, 0

        async def request() -> None:
            nonlocal running, most
            async with turns.turn("one"):
                running += 1
                most = max(most, running)
                await asyncio.sleep(0.05)
                running -= 1

        tasks = [asyncio.create_task(request()) for _ in range(37)]
        await asyncio.sleep(0)
        with pytest.raises(TooManyRequestsError):
            async with turns.turn("one"):
                pass
        async with turns.turn("other"):
            others = running
        await asyncio.gather(*tasks)
        async with turns.turn("one"):
            pass
        return most, others

    most, others = asyncio.run(run())
    assert (most, others) == (5, 5)
