"""The cost of the pipeline on Kafka, compared with a hand-written consumer.

`python -m tests.bench.kafka` runs it.
"""
