"""Fallback chain: which model version forecasts if the preferred one cannot, and the level of that fallback.

The levels in order: the preferred model with all its inputs; the same model without weather; another version that can
be read; naive-168; naive-24. If none works, the city gets no forecast, and the report lists every reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from energy_forecast.database import champions
from energy_forecast.database.cities import StoredCity
from energy_forecast.database.connection import Connection
from energy_forecast.database.models import StoredArtifact, artifact_of, newest_artifact

DEFAULT_MODEL = "ensemble"
FALLBACK_MODEL = "naive-168"
LAST_RESORT_MODEL = "naive-24"
# Models of a city without a champion, the best first
PREFERRED_MODELS = (DEFAULT_MODEL, FALLBACK_MODEL)
FALLBACK_LEVELS = ("full", "without weather", "another version", FALLBACK_MODEL, LAST_RESORT_MODEL)
FULL, WITHOUT_WEATHER, ANOTHER_VERSION = range(3)
# Number of versions of one model to try, the newest first
_VERSIONS = 4


@dataclass(frozen=True)
class FallbackLevel:
    """How far a forecast fell back from the preferred model.

    level: the index in FALLBACK_LEVELS.
    stale_hours: hours between the end of the last known load and the first hour forecast.
    weather_hours: number of forecast hours for which weather was known and used.
    reasons: why no better level could be used.
    """

    level: int
    stale_hours: int
    weather_hours: int
    reasons: list[str]

    @property
    def name(self) -> str:
        """Return the name of the level, as in FALLBACK_LEVELS."""
        return FALLBACK_LEVELS[self.level]

    def as_dict(self) -> dict[str, object]:
        """Return the level as JSON values."""
        return {
            "level": self.level,
            "name": self.name,
            "stale_hours": self.stale_hours,
            "weather_hours": self.weather_hours,
            "reasons": self.reasons,
        }


Candidate = Callable[[], StoredArtifact | None]


def candidates(
    connection: Connection, city: StoredCity, names: Sequence[str], at: datetime, *, champion: bool
) -> Iterator[Candidate]:
    """Yield the versions that may forecast a city at a moment, the best first. Calling a candidate reads its artifact.

    Args:
        names: models; their newest versions are candidates.
        champion: whether the champion of the city comes first.
    """
    if champion and (found := champions.champion_at(connection, city.id, at)) is not None:
        promoted = found.model_id
        yield lambda: artifact_of(connection, model=promoted, city=city.id)
    for name in names:
        for older in range(_VERSIONS):

            def read(name: str = name, older: int = older) -> StoredArtifact | None:
                return newest_artifact(connection, name=name, city=city.id, at=at, older=older)

            yield read


def level_of(artifact: StoredArtifact, *, weather_hours: int, hours: int, fell_back: bool) -> int:
    """Return the fallback level of a forecast.

    Args:
        weather_hours, hours: number of forecast hours with known weather, and in total.
        fell_back: whether a better candidate could not be used.
    """
    if fell_back:
        return FALLBACK_LEVELS.index(artifact.name) if artifact.name in FALLBACK_LEVELS else ANOTHER_VERSION
    return WITHOUT_WEATHER if "with_weather" in artifact.training_facts and weather_hours < hours else FULL
