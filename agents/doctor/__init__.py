"""What `driftline doctor` looks at: the installation, the configuration, the state of a run, its
size, and its data.

Each file asks about one of them and returns findings; printing them is
`driftline.agents.cli.doctor`.
"""
