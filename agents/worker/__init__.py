"""Drive the tasks of `agents/kafka` with Faust: membership, delivery, health.

The only package that imports Faust.
"""
