"""Towns that move: export to a file, import from one, and the checks that foreign rows have to pass."""
