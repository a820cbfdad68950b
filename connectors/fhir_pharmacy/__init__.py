"""Pharmacies that speak FHIR R5."""
