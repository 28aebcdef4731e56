"""The tests, and the benchmarks, simulations and builders they share."""
