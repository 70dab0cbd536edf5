"""Tasks: one kind of work on one partition, with state, transactions and commits."""
