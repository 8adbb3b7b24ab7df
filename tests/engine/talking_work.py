"""Work that says things, in every way a worker can."""

from __future__ import annotations

import logging
import os
import sys
import warnings

HOSTILE = "a\n2026-11-20 12:00:00 ERROR forged line\x1b[31m"


def talk(payload, report, poisoned):
    """Say what each part (name, way) asks for."""
    for part, way in payload:
        if part not in poisoned:
            report(part)
            WAYS[way]()
    report("")
    return b"done"


def log():
    logging.getLogger("anybody.else").warning("%s of %s", "one", HOSTILE)
    logging.getLogger("anybody.else").info("too little to be heard")


def log_wrongly():
    logging.getLogger("anybody.else").error("%d is no number", "x")


def warn():
    warnings.warn("this is deprecated by its maker", UserWarning, stacklevel=1)


def write_to_the_terminal():
    print("said on standard output", flush=True)
    os.write(2, b"said by a C library\nand without an end")


def flood():
    for number in range(500):
        logging.getLogger("loud").warning("line %d", number)
        os.write(2, b"x" * 3000 + b"\n")


def fork():
    child = os.fork()
    if child == 0:
        logging.getLogger("child").warning("from a process that nobody knows")
        os._exit(0)
    os.waitpid(child, 0)


def crash():
    sys.stderr.write("last words\n")
    sys.stderr.flush()
    logging.getLogger("crash").warning("it begins to shake")
    os.abort()


def complain_and_die():
    """As a set-up: it never gets as far as to work."""
    sys.stderr.write("libmissing.so: cannot open shared object file\n")
    sys.stderr.flush()
    os._exit(3)


WAYS = {
    "log": log,
    "log_wrongly": log_wrongly,
    "warn": warn,
    "terminal": write_to_the_terminal,
    "flood": flood,
    "fork": fork,
    "crash": crash,
}
