"""The hub itself: kernel (shared mechanisms), app (processes and wiring), migrations."""
