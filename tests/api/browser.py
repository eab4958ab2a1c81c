"""A browser without scripts: it keeps cookies, follows no redirect by itself, and sends the headers of browsers."""

from __future__ import annotations

from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from urllib.parse import urlencode

import urllib3


@dataclass
class Browser:
    """One profile of a browser.

    cookies: of the server, by name.
    """

    address: str
    cookies: dict[str, str] = field(default_factory=dict)
    _pool: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(retries=False, timeout=30))

    def get(self, path: str, **headers: str) -> urllib3.BaseHTTPResponse:
        """Open a page by its address."""
        return self.send("GET", path, {"Sec-Fetch-Site": "none"} | headers)

    def post(self, path: str, headers: dict[str, str] | None = None, **fields: str) -> urllib3.BaseHTTPResponse:
        """Send a form of a page of the server, or with the headers of another page."""
        sent = {"Content-Type": "application/x-www-form-urlencoded"}
        sent |= {"Sec-Fetch-Site": "same-origin", "Origin": self.address} if headers is None else headers
        return self.send("POST", path, sent, urlencode(fields))

    def send(
        self, method: str, path: str, headers: dict[str, str], body: str | None = None
    ) -> urllib3.BaseHTTPResponse:
        """Send a request with the cookies, and keep those of the answer."""
        if self.cookies:
            headers = headers | {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        answer = self._pool.request(method, self.address + path, headers=headers, body=body, redirect=False)
        for line in answer.headers.getlist("set-cookie"):
            for name, morsel in SimpleCookie(line).items():
                if morsel["max-age"] == "0":
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = morsel.value
        return answer
