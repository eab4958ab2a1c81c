"""The ENTSO-E document over HTTP: of the user's cities, for a day that the forecast in use covers."""

from __future__ import annotations

from datetime import timedelta

from api.conftest import NOW, Api, body

CODES = "area=10Y1001A1001A83F&sender=10X1001A1001A450&receiver=10X1001A1001A450"


def test_returns_a_covered_day(api: Api) -> None:
    tomorrow = f"day={NOW + timedelta(days=1):%Y-%m-%d}"
    answer = api.get(f"/v1/cities/Berlin/forecast/entsoe?{tomorrow}&{CODES}")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/xml"), answer.data
    assert answer.data.count(b"<Point>") == 24
    assert api.get(f"/v1/cities/Pune/forecast/entsoe?{tomorrow}&{CODES}").status == 404
    later = api.get(f"/v1/cities/Berlin/forecast/entsoe?day={NOW + timedelta(days=9):%Y-%m-%d}&{CODES}")
    assert (later.status, body(later)["type"]) == (404, "/problems/not-enough-data")
    for wrong in (CODES.replace("83F", "83G"), CODES.replace("area=10Y", "area=10X"), "area=1"):
        assert api.get(f"/v1/cities/Berlin/forecast/entsoe?{tomorrow}&{wrong}").status == 422
