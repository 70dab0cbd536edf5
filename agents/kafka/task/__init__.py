"""Tasks: one kind of work on one partition, with its state, its transactions and its commits."""
