"""The worker process: Faust drives the tasks of `agents/kafka` (membership, delivery, health).

The only package that imports Faust.
"""
