"""The pipeline on Kafka: tasks with exactly-once transactions, topics, connection.

No application framework in here.
"""
