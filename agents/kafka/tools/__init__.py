"""What operators run against a broker: lag, export, sending a log, finishing, partitioner checks."""
