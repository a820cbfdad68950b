"""Speaks FHIR R4 scheduling: pulls services and their slots, books a slot with a guarded update before it creates
the appointment, and frees it again when the appointment cannot be made."""

from __future__ import annotations

from connectors.fhir_clinic.booking import BooksAppointments
from connectors.fhir_clinic.pulling import PullsServices


class Adapter(PullsServices, BooksAppointments):
    """A connection to one clinic's FHIR server."""
