"""`python -m driftline.agents.cli`: the command without its console script."""

from driftline.agents.cli import main

if __name__ == "__main__":
    main()
