"""What a joined pair costs:

`python -m tests.bench` (or `make bench`). Figures are printed, never asserted.
"""
