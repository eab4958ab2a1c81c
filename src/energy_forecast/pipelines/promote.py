"""Champions: promote a model version for a city if a backtest supports it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from energy_forecast.database import champions
from energy_forecast.database import models as stored_models
from energy_forecast.database.cities import StoredCity, cities_named
from energy_forecast.database.clock import database_now
from energy_forecast.database.connection import Connection, Database, Role, savepoint
from energy_forecast.errors import NotEnoughDataError, PromotionError
from energy_forecast.event_log import log_run
from energy_forecast.pipelines.compare import Comparison, compare_city
from energy_forecast.pipelines.fallback import NAIVE_MODELS
from energy_forecast.pipelines.isolation import Failed, attempt
from energy_forecast.pipelines.train import check_models


@dataclass(frozen=True)
class Promotion:
    """The outcome for a city.

    Args:
        outcome: promoted, forced, rolled back, unchanged (already the champion), refused or failed.
        before: the previous champion, as "name version".
        reason: the reason of the refusal or failure, or the grounds of the promotion.
        evidence: one row for each rival: its name, issue times, mean errors (kWh in an hour) and p-value, or the reason
            for missing evidence.
    """

    city: str
    model: str
    version: str
    before: str | None
    outcome: str
    reason: str
    evidence: list[dict[str, Any]] = field(default_factory=list)


@log_run("promote", lambda found: {"outcomes": dict(Counter(one.outcome for one in found))})
def promote(
    database: Database,
    model: str,
    *,
    version: str | None = None,
    cities: Sequence[str] = (),
    reason: str | None = None,
    force: bool = False,
) -> list[Promotion]:
    """Make a version the champion of each city in which it is significantly better than the current champion.

    On common backtests, its model must have a smaller mean absolute error than the naive models and the model of the
    current champion, with a p-value below 5 % each, and no larger pinball loss. A newer version of the model of the
    champion must beat the naive models only. Each city is decided separately, in one transaction. A failure in one city
    does not affect the others: see isolation.attempt.

    Args:
        version: None for the newest version trained for the city.
        cities: names; every city if empty.
        force: promote without sufficient evidence; requires a reason.

    Raises:
        PromotionError: the promotion is forced without a reason.
        UnknownModelError, UnknownCityError: a name is unknown.
        DatabaseError: the database refused the request.
    """
    check_models([model])
    if force and not (reason or "").strip():
        raise PromotionError("A forced promotion requires a reason.", hint="Set `reason`.")
    with database.transaction(Role.FORECASTER) as connection:
        champions.lock_promotions(connection)
        done = [
            _isolated(connection, city, model, partial(_promote_city, connection, city, model, version, reason, force))
            for city in cities_named(connection, cities)
        ]
        _update_active(connection, done)
    return done


def _isolated(connection: Connection, city: StoredCity, model: str, decide: Callable[[], Promotion]) -> Promotion:
    """Return the outcome for a city. After a failure nothing is written for it."""

    def decided() -> Promotion:
        with savepoint(connection):
            return decide()

    found = attempt(f"Choose the champion of {city.name}", decided)
    return Promotion(city.name, model, "", None, "failed", found.reason) if isinstance(found, Failed) else found


def _promote_city(
    connection: Connection, city: StoredCity, model: str, version: str | None, reason: str | None, force: bool
) -> Promotion:
    now = database_now(connection)
    chosen = stored_models.version_for(connection, name=model, version=version, city=city.id)
    before = champions.champion_at(connection, city.id, now)
    named = None if before is None else f"{before.name} {before.version}"
    if chosen is None:
        wanted = f"{model} version {version}" if version else model
        why = f"{wanted} was not trained for {city.name}. Train it for this city."
        return Promotion(city.name, model, version or "", named, "refused", why)
    if before is not None and before.model_id == chosen.id:
        return Promotion(city.name, model, chosen.version, named, "unchanged", "It is already the champion.")
    rivals = dict.fromkeys([*NAIVE_MODELS, *([] if before is None else [before.name])])
    evidence = [_against(connection, city, model, rival) for rival in rivals if rival != model]
    lacking = [row for row in evidence if not row["is_better"]]
    if lacking and not force:
        why = "; ".join(row["verdict"] for row in lacking)
        return Promotion(city.name, model, chosen.version, named, "refused", why, evidence)
    why = (reason or "").strip() or "; ".join(row["verdict"] for row in evidence) + _tested(chosen, evidence)
    champions.add_promotion(
        connection, city=city.id, model=chosen.id, reason=why, evidence=evidence, forced=bool(lacking)
    )
    return Promotion(city.name, model, chosen.version, named, "forced" if lacking else "promoted", why, evidence)


def _tested(chosen: stored_models.Version, evidence: Sequence[dict[str, Any]]) -> str:
    """Return a remark if the evidence is from other versions than the promoted one."""
    versions = sorted({version for row in evidence for version in row.get("versions", ())}, key=int)
    if not versions or versions == [chosen.version]:
        return ""
    return f". The backtests are of version {', '.join(versions)}; version {chosen.version} was promoted"


def _against(connection: Connection, city: StoredCity, model: str, rival: str) -> dict[str, Any]:
    found = _evidence(connection, city, model, rival)
    if isinstance(found, NotEnoughDataError):
        return {"rival": rival, "is_better": False, "verdict": found.message.removesuffix(".")}
    return {
        "rival": rival,
        "is_better": found.better == model,
        "verdict": verdict(found),
        "weather": found.weather,
        "assumptions": found.assumptions,
        "versions": found.versions,
        "pairs": found.pairs,
        "first_issue": found.losses["issued_at"].min().isoformat(),  # type: ignore[union-attr]
        "last_issue": found.losses["issued_at"].max().isoformat(),  # type: ignore[union-attr]
        "mae_kwh": asdict(found.mae),
        "pinball_kwh": asdict(found.pinball),
    }


def _evidence(connection: Connection, city: StoredCity, model: str, rival: str) -> Comparison | NotEnoughDataError:
    """Return the deciding comparison: with the weather source of the last backtests, observed weather last."""
    lacking: NotEnoughDataError | None = None
    conditions = champions.backtest_conditions(connection, city=city.id, models=[model, rival])
    tried: list[tuple[str | None, dict[str, Any] | None]] = [*sorted(conditions, key=lambda one: one[0] == "actual")]
    for weather, assumptions in tried or [(None, None)]:
        try:
            return compare_city(connection, city, model, rival, weather=weather, assumptions=assumptions)
        except NotEnoughDataError as error:
            lacking = lacking or error
    assert lacking is not None
    return lacking


def verdict(found: Comparison) -> str:
    """Return a comparison as one line."""
    share = 100 * (found.mae.mean_a / found.mae.mean_b - 1) if found.mae.mean_b else float("nan")
    words = {found.model_a: "is better than", found.model_b: "is worse than"}.get(
        found.better or "", "is not significantly better than"
    )
    weather = {"actual": ", with observed weather", "simulated": ", with simulated weather forecasts"}
    return (
        f"{found.model_a} {words} {found.model_b}: error {share:+.1f} % on {found.mae.issues} issues "
        f"(p {found.mae.p_value:.4f}"
        # Unknown when a forecast is issued, so it favours models that use weather
        f"{weather.get(found.weather, '')})"
    )


@log_run("rollback", lambda found: {"outcomes": dict(Counter(one.outcome for one in found))})
def roll_back(database: Database, *, cities: Sequence[str] = (), reason: str | None = None) -> list[Promotion]:
    """Make the previous champion the champion again. The history gets one more row and loses none.

    A second call goes back one further champion, and does not return to the first.

    Args:
        cities: names; every city if empty.
    """
    with database.transaction(Role.FORECASTER) as connection:
        champions.lock_promotions(connection)
        done = [
            _isolated(connection, city, "", partial(_roll_back_city, connection, city, reason))
            for city in cities_named(connection, cities)
        ]
        _update_active(connection, done)
    return done


def _roll_back_city(connection: Connection, city: StoredCity, reason: str | None) -> Promotion:
    now = database_now(connection)
    present = champions.champion_at(connection, city.id, now)
    before = champions.champion_before(connection, city.id)
    named = None if present is None else f"{present.name} {present.version}"
    if before is None:
        lacking = "It has no champion." if named is None else f"There was no champion before {named}."
        return Promotion(city.name, "", "", named, "refused", lacking)
    why = (reason or "").strip() or f"Rolled back from {named}."
    champions.add_promotion(
        connection, city=city.id, model=before.model_id, reason=why, evidence=[], forced=True, returns_to=before.id
    )
    return Promotion(city.name, before.name, before.version, named, "rolled back", why)


def _update_active(connection: Connection, done: Sequence[Promotion]) -> None:
    """Update is_active to match the champions."""
    changed = {one.model for one in done if one.model} | {one.before.split()[0] for one in done if one.before}
    for name in sorted(changed):
        stored_models.update_active(connection, name)
