"""Redrive: posts a copy of a poisoned event, for an operator."""
