"""What is on the topics and in the configuration.

The bottom layer: times, events, results, topics and settings as msgspec types, with the decoding
that refuses bad input. It computes no figure (that is `streams`) and talks to nothing but the
configuration file (everything else is `agents`).
"""
