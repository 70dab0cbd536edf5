"""The deterministic heart: stages, summaries, metrics, drift, rules, registry.

Everything here is a function of the records handed in. Sockets, files, clocks and the environment
belong to `agents`.
"""
