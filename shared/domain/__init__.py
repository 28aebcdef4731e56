"""Values and vocabulary: the standard library and pydantic only. Nothing here reads a clock or does any I/O."""
