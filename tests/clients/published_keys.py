"""The published keys for joserfc and Authlib, which leave fetching and keeping them to whoever uses them."""

import time

import requests
from joserfc.jwk import KeySet


class PublishedKeys:
    """Fetched when they are first needed, and again when five minutes are over."""

    def __init__(self, server, lifespan=300):
        metadata = requests.get(f"{server}/.well-known/oauth-authorization-server", timeout=5)
        metadata.raise_for_status()
        self.uri = metadata.json()["jwks_uri"]
        self.lifespan = lifespan
        self.fetched = None

    def get(self):
        if self.fetched is None or time.monotonic() > self.fetched + self.lifespan:
            answer = requests.get(self.uri, timeout=5)
            answer.raise_for_status()
            self.keys = KeySet.import_key_set(answer.json())
            self.fetched = time.monotonic()
        return self.keys
