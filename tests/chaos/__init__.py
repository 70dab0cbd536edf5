"""The chaos campaign: real workers, a real broker, faults without end, and a verifier that
recomputes everything from the input topics.

`load.py` makes the events and `producing.py` sends them, `workers.py` holds the processes,
`faults.py` says what happens to them, `watching.py` when they were well again, `topics.py` and
`verify.py` read the topics and judge them, and `campaign.py` is the whole. `python -m tests.chaos
--help` tells the arguments.
"""
