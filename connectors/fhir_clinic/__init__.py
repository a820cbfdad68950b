"""Clinics and check-up centres that speak FHIR R4: services, bookable slots, appointments."""
