"""What the pipeline costs on Kafka, beside a hand-written consumer:

`python -m tests.bench.kafka`.
"""
