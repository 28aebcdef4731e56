"""The events API: takes facts from producers, and the writing requests of operators."""
