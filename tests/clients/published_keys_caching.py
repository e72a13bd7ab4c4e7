"""How PublishedKeys, for joserfc and Authlib, keeps keys, and what the two do without it: see steps.py.

Usage: REQUESTS_CA_BUNDLE=CA_FILE published_keys_caching.py SERVER OPERATIONS < [GOOD TOKEN, TOKEN OF AN UNKNOWN KEY]
"""

import sys
import time

import requests
from authlib.oauth2.rfc9068 import JWTBearerTokenValidator
from joserfc import jwt
from joserfc.jwk import KeySet

from published_keys import PublishedKeys
from steps import Steps, fails, passes

server, operations = sys.argv[1:]
steps = Steps(operations)
good, unknown = steps.tokens

# What time has passed is made up: with the machine's own seconds in it, a slow step would make 299 s into 300.
later = 0
started = time.monotonic()
time.monotonic = lambda: started + later

keys = PublishedKeys(server)


def verify(token):
    jwt.decode(token, keys.get())


class Forgetful(JWTBearerTokenValidator):
    def get_jwks(self):
        return KeySet.import_key_set(requests.get(keys.uri, timeout=5).json())


with steps("a hundred tokens"):
    for _ in range(100):
        passes(verify, good)
with steps("unknown keys"):
    for _ in range(10):
        fails(verify, unknown)
later = 299
with steps("299 s"):
    passes(verify, good)
later = 301
with steps("301 s"):
    passes(verify, good)
validator = Forgetful(issuer=server, resource_server=server)
with steps("Authlib, ten tokens, get_jwks without a memory"):
    for _ in range(10):
        passes(validator.authenticate_token, good)
steps.tell()
