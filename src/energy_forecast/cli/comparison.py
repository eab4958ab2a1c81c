"""energy-forecast backtest compare."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from energy_forecast.cli.access import reading_database
from energy_forecast.cli.console import by_text, echo, emit, failures, named, out, require_parts, table
from energy_forecast.cli.options import AllowPartial, Cities, From, Json, To, WeatherChoice, plot_option
from energy_forecast.cli.output_files import write_chart

if TYPE_CHECKING:
    from energy_forecast.forecasting.evaluation.significance import PairedTest
    from energy_forecast.pipelines import ComparisonReport


def compare(
    model_a: Annotated[str, typer.Argument(metavar="A", help="A model.")],
    model_b: Annotated[str, typer.Argument(metavar="B", help="The model to compare it with.")],
    city: Cities = None,
    weather: Annotated[
        WeatherChoice | None, typer.Option(help="Weather of the backtests. Default: that of the last common one.")
    ] = None,
    first: From = None,
    end: To = None,
    plot: Annotated[Path | None, plot_option("Draw both errors over time into FILE.html.")] = None,
    allow_partial: AllowPartial = False,
    json: Json = False,
) -> None:
    """Compare two models on the backtests that both have, by a paired test.

    Example: energy-forecast backtest compare ensemble naive-168 --city Munich
    """
    from energy_forecast import pipelines

    report = pipelines.compare(
        reading_database(),
        model_a,
        model_b,
        cities=city or (),
        weather=None if weather is None else weather.value,
        first=first,
        end=end,
        allow_none=True,
    )
    if plot is not None and report.comparisons:
        from energy_forecast.charts.comparison import comparison_page

        write_chart(plot, comparison_page(report.comparisons))
    if json:
        emit(
            {
                "comparisons": [
                    {
                        "city": one.city,
                        "models": [one.model_a, one.model_b],
                        "weather": one.weather,
                        "assumptions": one.assumptions,
                        "issues": one.mae.issues,
                        "pairs": one.pairs,
                        "better": one.better,
                        "mae_kwh": one.mae,
                        "pinball_kwh": one.pinball,
                    }
                    for one in report.comparisons
                ],
                "failed": failures(report.failed),
            }
        )
    else:
        _print_comparison(report, model_a, model_b, wanted=bool(city))
        if plot is not None and report.comparisons:
            out.print(f"Written: {plot}")

    # Without --city, a city that was not backtested was not asked for
    reasons = [why for name, why in report.failed.items() if city or name not in report.lacking]
    require_parts(
        len(report.comparisons),
        reasons if report.comparisons else list(report.failed.values()),
        "compared",
        allow_partial=allow_partial,
        hint=f"Run: energy-forecast backtest --model {model_a},{model_b} --from TIME --to TIME",
    )


def _print_comparison(report: ComparisonReport, model_a: str, model_b: str, *, wanted: bool) -> None:
    if report.comparisons:
        from energy_forecast.pipelines.labels import condition_label

        table(
            [
                *("city", "weather", "issued", "issues", f"MAE {model_a}", f"MAE {model_b}"),
                *("difference %", "95 % interval", "p", "better"),
            ],
            [
                (
                    one.city,
                    one.weather,
                    f"{one.issued[0]:%Y-%m-%d} to {one.issued[1]:%Y-%m-%d}",
                    one.mae.issues,
                    f"{one.mae.mean_a / 1000:,.2f}",
                    f"{one.mae.mean_b / 1000:,.2f}",
                    *(
                        (
                            _percent(one.mae.difference, one.mae),
                            f"{_percent(one.mae.lower, one.mae)} to {_percent(one.mae.upper, one.mae)}",
                        )
                        if one.mae.mean_b
                        else (None, None)
                    ),
                    f"{min(one.mae.p_value, one.mae.upper_tail):.4f}",
                    one.better or "open",
                )
                for one in report.comparisons
            ],
        )
        conditions = {
            one.city: f"backtests {condition_label(one.weather, one.assumptions)}" for one in report.comparisons
        }
        for line in by_text(conditions):
            out.print(f"{line[0].upper()}{line[1:]}.")
        out.print(
            "MAE: MWh in an hour; the mean over all issues of the mean over their hours. p: probability of so large a\n"
            "difference by chance (block bootstrap). open: the difference may be chance, or the pinball loss disagrees."
        )
    for name, why in report.failed.items():
        if wanted or name not in report.lacking:
            echo(f"Not compared: {name}: {why}")
    if report.lacking and not wanted:
        echo(f"Not compared, without common backtests: {named(sorted(report.lacking))}. For the reasons: --city CITY")


def _percent(kwh: float, mae: PairedTest) -> str:
    return f"{100 * kwh / mae.mean_b:+.1f}"
