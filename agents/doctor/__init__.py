"""The checks of `driftline doctor`: installation, configuration, broker, state of a run, data.

One file per subject; each function yields a `CheckResult` per finding. Printing them is
`driftline.agents.cli.doctor`.
"""
