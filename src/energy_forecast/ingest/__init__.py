"""Load files and frames: check each row, merge the rows into the database, and report counts that add up."""

from energy_forecast.ingest.batch import load_files, load_table
from energy_forecast.ingest.cities import add_city, check_city, import_cities, set_load_delay
from energy_forecast.ingest.datasets import DATASETS, find_dataset
from energy_forecast.ingest.options import read_options
from energy_forecast.ingest.report import CityReport, Rejected, Report
from energy_forecast.ingest.watched_folder import FileOutcome, WatchedFolder, watch

__all__ = [
    "DATASETS",
    "CityReport",
    "FileOutcome",
    "Rejected",
    "Report",
    "WatchedFolder",
    "add_city",
    "check_city",
    "find_dataset",
    "import_cities",
    "load_files",
    "load_table",
    "read_options",
    "set_load_delay",
    "watch",
]
