"""Run the command line as a module."""

from mmpipe.cli.main import main

main()
