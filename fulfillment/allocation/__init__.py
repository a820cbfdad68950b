"""Fair allocation of scarce supplies: a pure solver, a certificate of each plan, and a checker that needs no
solver."""
