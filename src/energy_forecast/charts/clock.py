"""Local times of a city as text, and ticks of time axes that are right on days of 23 and 25 hours."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property

from energy_forecast import zones

_QUARTER = timedelta(minutes=15)
_HOURS = (1, 2, 3, 6, 12)
_DAYS = (1, 2, 7, 14, 28, 91, 182, 364)


class Clock:
    """The local time of a zone, by the rules of this program.

    Args:
        zone: IANA name.
    """

    def __init__(self, zone: str) -> None:
        self.zone = zone
        self.rules = zones.zone(zone)

    @cached_property
    def name(self) -> str:
        """The name of the zone for people."""
        return self.zone.replace("_", " ")

    def local(self, moment: datetime) -> datetime:
        """Return the local time."""
        return moment.astimezone(self.rules)

    def text(self, moment: datetime) -> str:
        """Return day, time and zone, such as `Tue 1 Dec 2026, 14:00 CET`."""
        local = self.local(moment)
        return f"{local:%a} {local.day} {local:%b %Y, %H:%M} {self.abbreviation(moment)}"

    def short(self, moment: datetime) -> str:
        """Return day and time without year and zone, such as `Tue 1 Dec, 14:00`."""
        local = self.local(moment)
        return f"{local:%a} {local.day} {local:%b, %H:%M}"

    def hour(self, moment: datetime) -> str:
        """Return the time, such as `14:00`."""
        return f"{self.local(moment):%H:%M}"

    def day(self, moment: datetime) -> str:
        """Return the local day, such as `Tue 1 Dec`."""
        return day_text(self.local(moment).date())

    def abbreviation(self, moment: datetime) -> str:
        """Return the abbreviation of the zone at a time, such as `CET` or `UTC+03`."""
        name = self.local(moment).tzname() or "UTC"
        return f"UTC{name}" if name[0] in "+-" else name

    def offsets(self, first: datetime, last: datetime) -> list[list[int]]:
        """Return the start of each offset in a span and local minus UTC time, in seconds, for a browser.

        The rules of a browser may be older.
        """
        known = zones.offsets(self.zone)
        since, until = round(first.timestamp()) - 86_400, round(last.timestamp()) + 86_400
        begins = bisect.bisect_right(known.starts, since) - 1
        ends = bisect.bisect_right(known.starts, until)
        spans = zip(known.starts[begins:ends], known.seconds[begins:ends], strict=True)
        return [[max(start, since), seconds] for start, seconds in spans]

    def ticks(self, first: datetime, last: datetime, most: int = 8) -> tuple[list[float], list[str]]:
        """Return positions in seconds since 1970 and labels at round local times; a new day has its date below.

        Args:
            first, last: ends of the axis.
            most: about as many ticks as fit.
        """
        room = (last - first) / max(most, 1)
        hours = next((step for step in _HOURS if timedelta(hours=step) >= room), None)
        return self._hour_ticks(first, last, hours) if hours is not None else self._day_ticks(first, last, room)

    def _hour_ticks(self, first: datetime, last: datetime, step: int) -> tuple[list[float], list[str]]:
        values: list[float] = []
        labels: list[str] = []
        seconds = _QUARTER.total_seconds()
        at = datetime.fromtimestamp(-(-first.timestamp() // seconds) * seconds, UTC)
        day = self.local(at - _QUARTER).date()
        while at <= last:
            local = self.local(at)
            is_new, day = local.date() != day, local.date()
            if is_new or (local.minute == 0 and local.hour % step == 0):
                values.append(at.timestamp())
                labels.append(f"{local:%H:%M}\n{local:%a} {local.day}" if is_new else f"{local:%H:%M}")
            at += _QUARTER
        return values, labels

    def _day_ticks(self, first: datetime, last: datetime, room: timedelta) -> tuple[list[float], list[str]]:
        step = next((days for days in _DAYS if timedelta(days=days) >= room), _DAYS[-1])
        days = zones.daily_instants(self.zone, first, last + timedelta(seconds=1), time())
        # Counted from a Monday, so that ticks of weeks are Mondays and the same days have ticks in every window
        chosen = [at for at in days if (self.local(at).toordinal() - 1) % step == 0]
        form = "%b %Y" if step > 28 else "%d %b"
        return [at.timestamp() for at in chosen], [f"{self.local(at):{form}}".lstrip("0") for at in chosen]


def day_text(day: date) -> str:
    """Return a day such as `Tue 1 Dec`."""
    return f"{day:%a} {day.day} {day:%b}"


def age_text(age: timedelta) -> str:
    """Return an age in its largest units, such as `3 h 20 min`."""
    minutes = max(0, round(age.total_seconds() / 60))
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    if days:
        return f"{days} d {hours} h" if hours else f"{days} d"
    return f"{hours} h {minutes} min" if hours and minutes else f"{hours} h" if hours else f"{minutes} min"


def seconds_of(moments: Sequence[datetime]) -> list[float]:
    """Return times as seconds since 1970, the x of charts."""
    return [moment.timestamp() for moment in moments]
