"""The HTTP API: what the page and other programs ask, answered from the read model.

`route.py` says what a route is, `routes/` has a file of them for each subject, `answers/` their
types, and `route_table.py` lists them all. `app.py` puts them behind `guard.py`; `follower.py`
keeps the read model up to date and wakes `events.py`.
"""
