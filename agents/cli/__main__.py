"""`python -m agents.cli`: the command without its console script."""

from agents.cli import main

if __name__ == "__main__":
    main()
