"""Seeded histories with every kind of trouble, run through the pipeline with kills and odd batch
sizes, and compared with the oracle.
"""
