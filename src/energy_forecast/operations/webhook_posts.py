"""Send an event to the address of a webhook, signed as Standard Webhooks defines it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import ipaddress
import re
import socket
import ssl
import threading
import time
from contextlib import closing, suppress
from importlib.metadata import version
from urllib.parse import SplitResult, urlsplit

from energy_forecast.errors import EnergyForecastError, UnreachableError, one_line

# Seconds for a whole attempt after the name is resolved: connection, TLS, request and the head of the answer
SECONDS = 10
_LONGEST_URL = 2000
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
# Prefixes whose last or middle 32 bits are an IPv4 address, which a translator of the network would reach
_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")


def checked_address(url: str, *, allow_private: bool) -> SplitResult:
    """Return the parts of an address that can receive events.

    Raises:
        EnergyForecastError: it is not an address, has a user or fragment, or would send events without TLS.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in {"http", "https"} or not re.fullmatch(rf"[!-~]{{1,{_LONGEST_URL}}}", url):
        raise EnergyForecastError("`url` is not an address.", hint="Give one such as https://example.org/energy.")
    if "@" in parts.netloc or parts.fragment:
        raise EnergyForecastError("`url` has a user or a fragment.", hint="Leave it out.")
    if parts.scheme == "http" and not allow_private:
        raise EnergyForecastError(
            "`url`: http would send events without encryption.",
            hint="Use https. For a program of this machine, give `allow_private`.",
        )
    return parts


def resolved(parts: SplitResult, *, allow_private: bool) -> tuple[str, int]:
    """Return the IP address and port to connect to.

    Raises:
        UnreachableError: the name has no address.
        EnergyForecastError: an address is private without `allow_private`, or another machine would be reached without
            TLS.
    """
    host, port = str(parts.hostname), parts.port or (443 if parts.scheme == "https" else 80)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise UnreachableError(f"The name {host!r} has no address.", hint="Check `url`.") from error
    addresses = [ipaddress.ip_address(str(one[4][0]).partition("%")[0]) for one in found]
    for address in addresses:
        if not allow_private and not _is_public(address):
            raise EnergyForecastError(
                f"{host} has the address {address}, which is not public.", hint="Allow it by `allow_private`."
            )
        if parts.scheme == "http" and not address.is_loopback:
            raise EnergyForecastError(f"http would send events to {host} without encryption.", hint="Use https.")
    return str(found[0][4][0]), port


def _is_public(address: _Address) -> bool:
    """Return whether an address belongs to the internet, also if it contains an IPv4 address."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is None and address in _TRANSLATED:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return _is_public(inner)
    return address.is_global and not address.is_multicast


def signature(secret: bytes, event: str, sent_at: int, body: bytes) -> str:
    """Return the header webhook-signature of an event."""
    digest = hmac.new(secret, f"{event}.{sent_at}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def post(url: str, *, secret: bytes, allow_private: bool, event: str, body: bytes) -> int:
    """Send an event, and return the status of the answer, of which only the head is read.

    The connection goes to the checked IP address, without a proxy and without redirects.

    Args:
        event: its id, the same at each attempt.
        body: JSON.

    Raises:
        UnreachableError: no complete head of an answer came within ten seconds.
        EnergyForecastError: as `checked_address` and `resolved`.
    """
    parts = checked_address(url, allow_private=allow_private)
    address, port = resolved(parts, allow_private=allow_private)
    sent_at = int(time.time())
    headers = {
        "Content-Type": "application/cloudevents+json; charset=utf-8",
        "User-Agent": f"energy-forecast/{version('energy-forecast')}",
        "Connection": "close",
        "webhook-id": event,
        "webhook-timestamp": str(sent_at),
        "webhook-signature": signature(secret, event, sent_at, body),
    }
    target = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
    began = time.monotonic()
    try:
        with socket.create_connection((address, port), timeout=SECONDS) as raw, raw.dup() as watched:
            left = max(0.1, SECONDS - (time.monotonic() - began))
            # A timeout of the socket begins again with each byte, and an answer could come byte by byte
            watch = threading.Timer(left, _end, [watched])
            watch.daemon = True
            watch.start()
            try:
                return _status(raw, parts, target, headers, body)
            finally:
                watch.cancel()
                watch.join()
    except (OSError, http.client.HTTPException, ValueError) as error:
        if time.monotonic() - began >= SECONDS - 0.2:
            raise UnreachableError(f"No answer within {SECONDS} seconds.", hint="Answer before processing.") from error
        reason = getattr(error, "strerror", None) or getattr(error, "verify_message", None) or str(error)
        raise UnreachableError(f"The request failed: {one_line(reason) or type(error).__name__}.") from error


def _end(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _status(raw: socket.socket, parts: SplitResult, target: str, headers: dict[str, str], body: bytes) -> int:
    host = str(parts.hostname)
    made = http.client.HTTPConnection(host, parts.port or (443 if parts.scheme == "https" else 80))
    with closing(made):
        is_tls = parts.scheme == "https"
        made.sock = ssl.create_default_context().wrap_socket(raw, server_hostname=host) if is_tls else raw
        made.request("POST", target, body, {"Host": parts.netloc, **headers})
        return made.getresponse().status
