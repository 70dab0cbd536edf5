"""Benchmarks: the cost of a joined pair and more. `python -m tests.bench`, or `make bench`.

Figures are printed, never asserted.
"""
