"""Train, forecast, backtest and score: read the database as of a moment, call `forecasting`, write the database."""

from energy_forecast.pipelines.backtest import BacktestReport, backtest
from energy_forecast.pipelines.compare import Comparison, ComparisonReport, compare
from energy_forecast.pipelines.coverage import CoverageReport, ErrorReport, check_coverage, report_errors
from energy_forecast.pipelines.explain_forecast import ISSUED_PURPOSES, ForecastExplanation, explain_forecast
from energy_forecast.pipelines.explain_score import (
    RECOMPUTED,
    ScoreExplanation,
    WrongScore,
    explain_score,
    wrong_scores,
)
from energy_forecast.pipelines.fallback import CityForecast
from energy_forecast.pipelines.forecast import ForecastReport, forecast
from energy_forecast.pipelines.load_checks import (
    CHECKED_SERIES,
    CheckReport,
    check_load,
    check_pending,
    load_and_check,
    waiting_checks,
)
from energy_forecast.pipelines.parallel import usable_processors
from energy_forecast.pipelines.promote import Promotion, promote, roll_back
from energy_forecast.pipelines.quality import (
    CityQuality,
    FindingSummary,
    QualityReport,
    examine_quality,
)
from energy_forecast.pipelines.score import ScoreReport, score, scores_to_show
from energy_forecast.pipelines.train import TrainingReport, train

__all__ = [
    "CHECKED_SERIES",
    "ISSUED_PURPOSES",
    "RECOMPUTED",
    "BacktestReport",
    "CheckReport",
    "CityForecast",
    "CityQuality",
    "Comparison",
    "ComparisonReport",
    "CoverageReport",
    "ErrorReport",
    "FindingSummary",
    "ForecastExplanation",
    "ForecastReport",
    "Promotion",
    "QualityReport",
    "ScoreExplanation",
    "ScoreReport",
    "TrainingReport",
    "WrongScore",
    "backtest",
    "check_coverage",
    "check_load",
    "check_pending",
    "compare",
    "examine_quality",
    "explain_forecast",
    "explain_score",
    "forecast",
    "load_and_check",
    "promote",
    "report_errors",
    "roll_back",
    "score",
    "scores_to_show",
    "train",
    "usable_processors",
    "waiting_checks",
    "wrong_scores",
]
