"""The processes: web, worker, scheduler, command line, and the wiring between packages."""
