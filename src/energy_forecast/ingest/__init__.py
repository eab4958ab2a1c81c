"""Files and frames of facts, checked row by row and merged into the database, with a report that adds up."""

from energy_forecast.ingest.cities import add_city, check_city, import_cities
from energy_forecast.ingest.kinds import KINDS, kind_named
from energy_forecast.ingest.load import load_files, load_table
from energy_forecast.ingest.options import reading_of
from energy_forecast.ingest.report import CityReport, Rejected, Report
from energy_forecast.ingest.watched_folder import Taken, WatchedFolder, watch

__all__ = [
    "KINDS",
    "CityReport",
    "Rejected",
    "Report",
    "Taken",
    "WatchedFolder",
    "add_city",
    "check_city",
    "import_cities",
    "kind_named",
    "load_files",
    "load_table",
    "reading_of",
    "watch",
]
