"""Tables and SQL."""
