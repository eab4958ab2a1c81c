"""Train, forecast, backtest, score: read the database as of a moment, call the pure part, write the database."""

from energy_forecast.pipelines.backtest import BacktestReport, backtest
from energy_forecast.pipelines.certify import Certificate, Errors, certify, errors
from energy_forecast.pipelines.compare import Comparison, ComparisonReport, compare
from energy_forecast.pipelines.explain import RECOMPUTED, ScoreExplanation, WrongScore, explain_score, wrong_scores
from energy_forecast.pipelines.explain_forecast import ISSUED_PURPOSES, ForecastExplanation, explain_forecast
from energy_forecast.pipelines.forecast import ForecastReport, forecast
from energy_forecast.pipelines.parallel import usable_processors
from energy_forecast.pipelines.promote import Promotion, promote, roll_back
from energy_forecast.pipelines.quality import Checked, CityQuality, Examined, Warned, check_load, examine
from energy_forecast.pipelines.score import ScoreReport, score, scores_to_show
from energy_forecast.pipelines.train import TrainingReport, train

__all__ = [
    "ISSUED_PURPOSES",
    "RECOMPUTED",
    "BacktestReport",
    "Certificate",
    "Checked",
    "CityQuality",
    "Comparison",
    "ComparisonReport",
    "Errors",
    "Examined",
    "ForecastExplanation",
    "ForecastReport",
    "Promotion",
    "ScoreExplanation",
    "ScoreReport",
    "TrainingReport",
    "Warned",
    "WrongScore",
    "backtest",
    "certify",
    "check_load",
    "compare",
    "errors",
    "examine",
    "explain_forecast",
    "explain_score",
    "forecast",
    "promote",
    "roll_back",
    "score",
    "scores_to_show",
    "train",
    "usable_processors",
    "wrong_scores",
]
