"""Seeded nasty histories, run through the pipeline and compared with the oracle, with kills and odd
batch sizes on the way.
"""
