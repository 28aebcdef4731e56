"""Moving towns: exporting a town to a file, importing one, and checking the rows of an import."""
