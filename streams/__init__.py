"""The deterministic part: stages, summaries, metrics, drift tests, rules, registry.

Everything here is a function of its input records and state. Sockets, files, clocks and the
environment are used in `agents` only.
"""
