"""The catalogue: one searchable product behind many vendors' listings, and the shelf that says what is left."""
