"""The recorded past of a town: read back, run again on a private copy, and compared with what was committed."""
