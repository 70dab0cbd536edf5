"""The records on the topics and the settings in the configuration.

The bottom layer: times, events, results, topics and settings as msgspec types, and the decoding
that rejects invalid input. It computes no figures (`streams`) and reads nothing but the
configuration file (all other input and output is `agents`).
"""
