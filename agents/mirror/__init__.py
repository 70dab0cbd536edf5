"""The mirror in Redis of what is in force: the registry, the latest figures and open alerts.

`keys.py` (names) ← `writes.py` (what a record changes) ← `intake.py` (records become writes) and
`documents.py` (the same content in memory) ← `server.py` (a connection) ← `mirror.py` (the content
in Redis) ← `comparison.py` (what differs). docs/redis.md explains every key.
"""
