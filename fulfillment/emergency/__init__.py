"""Emergencies: incidents, what sites ask, what is fenced off for them, and plans from snapshot to dispatch."""
