"""Fault tests, small in the suite and full with `make chaos`. Each counts violations of a promise; where a guard
keeps the promise, a negative control removes it and must see violations."""
