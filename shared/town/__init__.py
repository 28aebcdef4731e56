"""One town's SQLite database. All SQL of a tick is in this package, and nothing else in the core contains SQL."""
