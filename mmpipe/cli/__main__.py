"""Run the command line as a module."""

from mmpipe.cli.main import main

if __name__ == "__main__":
    main()
