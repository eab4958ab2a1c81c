"""Files and frames of facts, checked row by row and merged into the database, with a report that adds up."""

from energy_forecast.ingest.cities import check_city, import_cities
from energy_forecast.ingest.kinds import KINDS
from energy_forecast.ingest.load import load_files, load_table
from energy_forecast.ingest.report import CityReport, Rejected, Report

__all__ = ["KINDS", "CityReport", "Rejected", "Report", "check_city", "import_cities", "load_files", "load_table"]
