"""Which listings are the same thing. Pure: words in, decisions out; no I/O and no clock. `keys` is what ingest decides
by at once: GTIN, then brand and model. The rest reads what titles say: `Index.propose` tells which product of the
catalogue a listing is, `match_tables` pairs two price lists, `cluster` puts many vendors' offers together."""

from __future__ import annotations

from catalog.matching.clustering import cluster
from catalog.matching.evidence import Difference
from catalog.matching.features import Weights, raw
from catalog.matching.index import Index, Proposal
from catalog.matching.keys import (
    SEPARATOR,
    Assignment,
    Keys,
    Product,
    assign,
    brand_model_key,
    conflict,
    fingerprint,
    normal,
    recognise,
)
from catalog.matching.pairing import Pair, match_tables
from catalog.matching.reading import Offer, read_all

__all__ = [
    "SEPARATOR",
    "Assignment",
    "Difference",
    "Index",
    "Keys",
    "Offer",
    "Pair",
    "Product",
    "Proposal",
    "Weights",
    "assign",
    "brand_model_key",
    "cluster",
    "conflict",
    "fingerprint",
    "match_tables",
    "normal",
    "raw",
    "read_all",
    "recognise",
]
