"""The recorded past of a town: reading it, running it again on a private copy, and comparing the result with history."""
