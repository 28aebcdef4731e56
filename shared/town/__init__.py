"""One town's SQLite database: everything that is SQL lives here, and nothing else speaks it."""
