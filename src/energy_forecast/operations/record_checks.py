"""Check the stored live forecasts and their scores."""

from __future__ import annotations

from energy_forecast.database import Database, Role
from energy_forecast.database.named_queries import queries


def check_forecast_records(database: Database) -> list[str]:
    """Return a sentence for each kind of stored record that the database would refuse now.

    Such rows are from before an upgrade, or from a user who could disable a trigger. They stay readable. Vintages that
    were not recorded in time do not count in scores, coverage or exports of live forecasts.

    Raises:
        DatabaseError: the database refused the connection or a query.
    """
    statements = queries("record_checks")
    findings = []
    with database.transaction(Role.FORECASTER) as connection:

        def found(name: str) -> tuple[int, ...]:
            row = connection.execute(statements[name]).fetchone()
            assert row is not None
            return tuple(row)

        runs, vintages, first = found("uncounted_vintages")
        if vintages:
            findings.append(
                f"{vintages:,} vintages of {runs:,} live runs were not recorded in time with their run, the first"
                f" issued at {first:%Y-%m-%d %H:%MZ}. They do not count in scores"
            )
        for name, sentence in (
            ("runs_before_training", "{} runs were issued with a model version trained on later data, the first at {}"),
            ("changed_predictions", "{} current forecasts differ from their vintage, the first for {}"),
            ("predictions_without_vintage", "{} current forecasts have no vintage, the first for {}"),
            (
                "scores_with_uncounted_pairs",
                "{} scores of live forecasts have more pairs than forecasts that count, the first from {}",
            ),
            (
                "evaluations_without_scores",
                "{} evaluations of model versions are not the mean of the scores of their run, the first from {}",
            ),
        ):
            count, first = found(name)
            if count:
                findings.append(sentence.format(f"{count:,}", f"{first:%Y-%m-%d %H:%MZ}"))
    return findings
