"""Any vendor with an ordinary REST interface, described by the connection itself: no folder, no code."""
