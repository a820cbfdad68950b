"""Speaks FHIR R4 scheduling: pulls services and their slots, searches them fresh, holds a slot, books it (by the
server's own operations, or by a guarded update of the slot before the appointment is created) and frees it again when
the appointment cannot be made."""

from __future__ import annotations

from connectors.fhir_clinic.operations import UsesOperations
from connectors.fhir_clinic.searching import SearchesServices


class Adapter(UsesOperations, SearchesServices):
    """A connection to one clinic's FHIR server."""
