"""Row readers for files that somebody else wrote: CSV, TSV, XLSX, product-feed XML and JSON lines, in any encoding
common in China and beyond, streaming and within hard caps. They know files, not listings."""

from connectors.tables.limits import DEFAULT, Limits
from connectors.tables.reader import SHEET, Format, Reading, records, take
from connectors.tables.records import Record, plain
from connectors.tables.spool import Spooled, land

__all__ = [
    "DEFAULT",
    "SHEET",
    "Format",
    "Limits",
    "Reading",
    "Record",
    "Spooled",
    "land",
    "plain",
    "records",
    "take",
]
