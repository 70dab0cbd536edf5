"""What the page, the API and the reading verbs ask, from an index of the results.

`index.py` (a SQLite file) ← `intake.py` (records of topics go into it) ← `folder_source.py` and
`broker_source.py` (what is new in a folder, or on a broker) ← `read_model.py` (the answers).
An index is a copy: it can be deleted at any time and is made again from its source.
"""
