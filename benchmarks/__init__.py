"""Benchmarks: what is compared, how it is run, and how the outcome is reported."""
