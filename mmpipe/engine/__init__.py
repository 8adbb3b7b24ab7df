"""Run a function over many items in worker processes that may die, hang or grow without taking anything else along."""
