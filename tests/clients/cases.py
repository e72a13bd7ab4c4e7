"""Reads what to try from standard input, a list of keyword arguments, and prints what came of each; both are JSON."""

import json
import sys


def try_all(attempt):
    json.dump([outcome(attempt, case) for case in json.load(sys.stdin)], sys.stdout)


def outcome(attempt, case):
    try:
        return {"ok": attempt(**case)}
    except Exception as error:  # whatever the library refuses with is what is asked for
        return {"refused": type(error).__name__, "why": str(error)}
