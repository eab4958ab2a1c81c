"""Webhooks: signed events of new forecasts of the user's cities, which a real receiver gets at least once."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import psycopg
import pytest

from api.conftest import Api, fill, running, started, two_users
from energy_forecast import pipelines
from energy_forecast.database import Database, Role
from energy_forecast.database.webhooks import Webhook
from energy_forecast.errors import AccessError, EnergyForecastError, UnreachableError
from energy_forecast.operations import users, webhooks
from energy_forecast.operations.webhook_posts import checked_address, post, resolved, signature
from servers import Server


@dataclass
class Receiver:
    """A receiver of events, which answers with the next status of `statuses`, otherwise with 204.

    events: the headers and body of each request.
    wait: seconds before each answer.
    """

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    events: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    wait: float = 0
    arrived: threading.Event = field(default_factory=threading.Event)

    def cities(self) -> list[str]:
        return [json.loads(body)["subject"] for _, body in self.events]


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.events.append(({name.lower(): value for name, value in self.headers.items()}, content))
            receiver.arrived.set()
            time.sleep(receiver.wait)
            status = receiver.statuses.pop(0) if receiver.statuses else 204
            self.send_response(status)
            self.send_header("Location", f"{receiver.url}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        receiver.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield receiver
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def sending(server: Server, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    folder = tmp_path_factory.mktemp("webhooks")
    with server.copy_of(template) as database:
        fill(database, folder)
        with two_users(database) as (anna, bert), started(database, folder, anna, bert) as found:
            yield found


@pytest.fixture
def receiver(sending: Api) -> Iterator[Receiver]:
    """Yield a receiver; the webhooks of the test are removed at its end."""
    with receiving() as found:
        yield found
        for one in webhooks.list_webhooks(sending.database):
            webhooks.remove_webhook(sending.database, one.id)


def add(api: Api, receiver: Receiver, user: str = "") -> tuple[bytes, UUID]:
    """Add a webhook, and return its secret and id."""
    text, stored = webhooks.add_webhook(
        api.database, f"{receiver.url}/hook?a=1", user=user or api.anna, allow_private=True
    )
    return base64.b64decode(text.removeprefix("whsec_")), stored.id


def state(database: Database, webhook: UUID) -> Webhook:
    return next(one for one in webhooks.list_webhooks(database) if one.id == webhook)


def until(condition: Callable[[], Any]) -> None:
    for _ in range(900):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("the condition was not met within 90 seconds")


def issue(database: Database) -> str:
    """Issue a forecast of both cities, and return its run."""
    report = pipelines.forecast(database, horizon=timedelta(hours=24), model="naive-168")
    assert {one.city for one in report.forecasts} == {"Berlin", "Pune"}
    return str(report.forecasts[0].run_id)


def attempt_now(database: Database, webhook: UUID, *, failing_for: timedelta = timedelta()) -> None:
    """Let the next attempt be due, and the failures have begun earlier."""
    with database.transaction(Role.OPERATOR) as connection:
        connection.execute(
            "UPDATE ops.webhook_states SET next_attempt_at = now(), failing_since = failing_since - %s"
            " WHERE webhook_id = %s",
            [failing_for, webhook],
        )


def test_new_forecast_is_a_signed_event_of_the_users_city(sending: Api, receiver: Receiver) -> None:
    secret, webhook = add(sending, receiver)
    run = issue(sending.database)
    until(lambda: state(sending.database, webhook).delivered_at)
    ((headers, content),) = receiver.events
    event = json.loads(content)
    assert (event["specversion"], event["type"], event["subject"]) == (
        "1.0",
        "energy-forecast.forecast.issued",
        "Berlin",
    )
    assert event["data"]["run_id"] == run
    assert event["data"]["model"] == "naive-168"
    assert event["id"] == headers["webhook-id"]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + content
    expected = base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 100
    # The path of the event is that of the forecast, for a key of the user only
    assert sending.get(event["data"]["path"]).status == 200
    assert sending.get(event["data"]["path"], "bert").status == 404


def test_failed_event_is_sent_again_with_the_same_id(sending: Api, receiver: Receiver) -> None:
    receiver.statuses = [503, 302]
    _, webhook = add(sending, receiver)
    issue(sending.database)
    until(lambda: state(sending.database, webhook).failures == 1)
    found = state(sending.database, webhook)
    assert found.reason is not None
    assert "503" in found.reason
    assert found.next_attempt_at is not None
    assert found.failing_since is not None
    assert timedelta(seconds=10) == found.next_attempt_at - found.failing_since
    attempt_now(sending.database, webhook)
    until(lambda: state(sending.database, webhook).failures == 2)
    attempt_now(sending.database, webhook)
    until(lambda: state(sending.database, webhook).delivered_at)
    assert state(sending.database, webhook).reason is None
    # Redirects are not followed: each request is to the address itself
    assert len(receiver.events) == 3
    assert len({headers["webhook-id"] for headers, _ in receiver.events}) == 1


def test_webhook_is_disabled_after_three_days_of_failures(sending: Api, receiver: Receiver) -> None:
    receiver.statuses = [500] * 5
    _, webhook = add(sending, receiver)
    issue(sending.database)
    until(lambda: state(sending.database, webhook).failures == 1)
    attempt_now(sending.database, webhook, failing_for=timedelta(hours=73))
    until(lambda: state(sending.database, webhook).disabled_at)
    assert "500" in str(state(sending.database, webhook).reason)


def test_revoked_city_is_not_sent(sending: Api, receiver: Receiver) -> None:
    _, webhook = add(sending, receiver)
    users.revoke(sending.database, sending.anna, ["Berlin"])
    users.grant(sending.database, sending.anna, ["Pune"])
    try:
        issue(sending.database)
        until(lambda: state(sending.database, webhook).delivered_at)
    finally:
        users.revoke(sending.database, sending.anna, ["Pune"])
        users.grant(sending.database, sending.anna, ["Berlin"])
    assert receiver.cities() == ["Pune"]


def test_removed_user_disables_the_webhook(sending: Api, receiver: Receiver) -> None:
    name = f"carl_{sending.anna.removeprefix('anna_')}"
    users.add_user(sending.database, name)
    _, webhook = add(sending, receiver, name)
    users.remove_user(sending.database, name)
    issue(sending.database)
    until(lambda: state(sending.database, webhook).disabled_at)
    assert "removed" in str(state(sending.database, webhook).reason)
    assert receiver.events == []


def test_killed_server_sends_the_event_again(sending: Api, receiver: Receiver) -> None:
    """The kill is between the event and its record. The next server sends the same event."""
    _, webhook = add(sending, receiver)
    receiver.wait = 8
    issue(sending.database)
    assert receiver.arrived.wait(60)
    sending.process.send_signal(signal.SIGKILL)
    sending.process.wait(20)
    assert state(sending.database, webhook).delivered_at is None
    receiver.wait = 0
    with running(sending.line):
        until(lambda: state(sending.database, webhook).delivered_at)
    assert receiver.cities() == ["Berlin", "Berlin"]
    assert len({headers["webhook-id"] for headers, _ in receiver.events}) == 1


def test_two_servers_send_each_event_once(sending: Api, receiver: Receiver) -> None:
    """A failing webhook of the same user delays no other one."""
    with receiving() as slow, running(sending.line), running(sending.line):
        slow.wait = 30
        add(sending, slow)
        _, webhook = add(sending, receiver)
        runs = [issue(sending.database) for _ in range(3)]

        def sent() -> list[str]:
            return [json.loads(body)["data"]["run_id"] for _, body in receiver.events]

        until(lambda: len(sent()) >= 3)
        # The second attempt of the slow one comes with further looks, in which the other webhook has nothing new
        until(lambda: len(slow.events) >= 2)
        assert sent() == runs
        assert state(sending.database, webhook).failures == 0


def test_commands_hide_the_secret_and_report_the_answer(sending: Api, receiver: Receiver) -> None:
    line = sending.line
    added = json.loads(
        line.run("webhook", "add", receiver.url, "--user", sending.anna, "--allow-private", "--json").stdout
    )
    secret = base64.b64decode(added["secret"].removeprefix("whsec_"))
    listed = line.run("webhook", "list", "--json").stdout
    assert added["secret"] not in listed
    assert [one["id"] for one in json.loads(listed)["webhooks"]] == [added["id"]]
    assert "204" in line.run("webhook", "test", added["id"]).stdout
    ((headers, content),) = receiver.events
    assert json.loads(content)["type"] == "energy-forecast.webhook.test"
    number, at = headers["webhook-id"], int(headers["webhook-timestamp"])
    assert headers["webhook-signature"] == signature(secret, number, at, content)
    receiver.statuses = [404]
    assert "404" in line.run("webhook", "test", added["id"], status=1).stderr
    line.run("webhook", "remove", added["id"])
    with psycopg.connect(sending.database.url) as connection:
        entries = connection.execute(
            "SELECT action, coalesce(new_data, old_data) FROM audit_log WHERE table_name = 'ops.webhooks'"
            " AND coalesce(new_data, old_data) ->> 'id' = %s ORDER BY number",
            [added["id"]],
        ).fetchall()
    assert [action for action, _ in entries] == ["INSERT", "DELETE"]
    assert all("secret" not in data and data["url"] == receiver.url for _, data in entries)


@pytest.mark.parametrize(
    "url",
    [
        *("https://127.0.0.1/", "https://localhost/", "https://10.1.2.3/", "https://169.254.169.254/latest"),
        *("https://[::1]/", "https://[::ffff:192.168.1.1]/", "https://[fe80::1]/", "https://[64:ff9b::a00:1]/"),
        *("https://0.0.0.0/", "https://2130706433/", "http://127.0.0.1/", "https://user@example.org/"),
        *("ftp://example.org/", "https:///x", "https://example.org/a b", "https://example.org/#x"),
    ],
)
def test_private_and_invalid_addresses_are_refused(url: str) -> None:
    with pytest.raises(EnergyForecastError):
        resolved(checked_address(url, allow_private=False), allow_private=False)


def test_private_address_is_refused_at_each_event() -> None:
    """A name may get another address after it was added."""
    with receiving() as receiver, pytest.raises(EnergyForecastError):
        post(receiver.url.replace("http", "https"), secret=bytes(32), allow_private=False, event="1", body=b"{}")
    assert receiver.events == []


def test_http_to_another_machine_is_refused() -> None:
    with pytest.raises(EnergyForecastError, match="without encryption"):
        resolved(urlsplit("http://10.1.2.3/"), allow_private=True)


def test_slow_answer_ends_after_ten_seconds() -> None:
    """A byte each second would otherwise keep the connection open for hours."""

    class Drip(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            for _ in range(40):
                try:
                    self.wfile.write(b"H")
                    self.wfile.flush()
                except OSError:
                    return
                time.sleep(1)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Drip) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        with pytest.raises(UnreachableError, match="10 seconds"):
            post(
                f"http://127.0.0.1:{server.server_address[1]}",
                secret=bytes(32),
                allow_private=True,
                event="1",
                body=b"{}",
            )
        server.shutdown()
        thread.join()


def test_signature_is_that_of_the_standard() -> None:
    """The value is from version 1.1.0 of the package standardwebhooks."""
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    found = signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_webhook_needs_a_user(database: Database) -> None:
    with pytest.raises(AccessError):
        webhooks.add_webhook(database, "http://127.0.0.1/", user="nobody_here", allow_private=True)
