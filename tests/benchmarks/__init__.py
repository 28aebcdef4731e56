"""Measurements, not tests: `make bench` prints each figure beside its bar of design section 8."""
