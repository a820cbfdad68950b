"""Fault tests, small in the suite and full with `make chaos`. Each counts violations of a promise; where a guard
keeps the promise, a negative control removes it and must see violations. What a test finds broken is judged by sums
over the tables, by what the vendors' own order books say, or by a second implementation, not by the code under test."""
