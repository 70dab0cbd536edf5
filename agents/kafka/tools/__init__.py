"""Operator tools for a broker: lag, export, sending a log, finishing, partitioner detection."""
