"""The chaos campaign: real workers, a real broker, many faults, and a verifier that recomputes all
figures from the input topics.

`load.py` generates the events and `load_producer.py` sends them. `workers.py` runs the processes,
`faults.py` harms them, `commit_watcher.py` sees when they commit again. `topics.py` and `verify.py`
read the topics and judge them. `campaign.py` runs all of it, and `report.py` prints the result.
`python -m tests.chaos --help` lists the arguments.
"""
