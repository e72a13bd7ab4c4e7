"""Counts how often the published keys were fetched, step by step. Reads two tokens from standard input as JSON."""

import contextlib
import json
import sys
import urllib.request

FETCHES = 'countermark_requests_total{route="/.well-known/jwks.json",status="200"} '


class Steps:
    def __init__(self, operations):
        self.operations = operations
        self.tokens = json.load(sys.stdin)
        self.told = {}

    def fetches(self):
        with urllib.request.urlopen(f"{self.operations}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        return sum(int(line.removeprefix(FETCHES)) for line in lines if line.startswith(FETCHES))

    @contextlib.contextmanager
    def __call__(self, name):
        before = self.fetches()
        yield
        self.told[name] = self.fetches() - before

    def tell(self):
        json.dump(self.told, sys.stdout)


def passes(attempt, token):
    attempt(token)


def fails(attempt, token):
    try:
        attempt(token)
    except Exception:
        return
    sys.exit("it was not refused")
