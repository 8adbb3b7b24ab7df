"""Run the command line: `python -m mmpipe`."""

from mmpipe.cli.main import main

if __name__ == "__main__":
    main()
