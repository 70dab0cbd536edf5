"""What a service that serves predictions asks: which version decides, at which threshold, and how
it is doing. From the mirror in Redis, or from the results in process.

`answers.py` (what is answered) ← `redis_source.py`, `results_source.py` (where from) ←
`serving.py`.
"""
