"""How PyJWT's PyJWKClient keeps keys: after each step, how often the server had been asked for them in it.

Usage: REQUESTS_CA_BUNDLE=CA_FILE pyjwt_caching.py SERVER OPERATIONS < [GOOD TOKEN, TOKEN OF AN UNKNOWN KEY]
"""

import os
import ssl
import sys
import time

import jwt

from steps import Steps, fails, passes

server, operations = sys.argv[1:]
steps = Steps(operations)
good, unknown = steps.tokens

# What time has passed is made up: with the machine's own seconds in it, a slow step would make 299 s into 300.
later = 0
started = time.monotonic()
time.monotonic = lambda: started + later

context = ssl.create_default_context(cafile=os.environ["REQUESTS_CA_BUNDLE"])
keys = jwt.PyJWKClient(f"{server}/.well-known/jwks.json", ssl_context=context)
find = keys.get_signing_key_from_jwt

with steps("a hundred tokens"):
    for _ in range(100):
        passes(find, good)
with steps("an unknown key at once"):
    fails(find, unknown)
later = 31
with steps("an unknown key after 31 s"):
    fails(find, unknown)
with steps("another one"):
    fails(find, unknown)
later = 31 + 299
with steps("299 s after that"):
    passes(find, good)
later = 31 + 301
with steps("301 s after that"):
    passes(find, good)
home, keys.uri = keys.uri, "https://localhost:1/"
later += 299
with steps("away, keys fresh"):
    passes(find, good)
later += 2
with steps("away, keys too old"):
    fails(find, good)
keys.uri = home
with steps("back"):
    passes(find, good)
steps.tell()
