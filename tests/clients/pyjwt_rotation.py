"""PyJWT's PyJWKClient, with its own caching, verifies living tokens again and again while keys come and go.

Usage: REQUESTS_CA_BUNDLE=CA_FILE pyjwt_rotation.py SERVER VERIFICATIONS_A_SECOND TIMES_FASTER
Reads "+TOKEN" (it lives from now on) and "-TOKEN" (it does no longer), and answers each with a line. At the end of its input it prints what
came of it, as JSON.
"""

import json
import os
import select
import ssl
import sys
import time

import jwt

server, rate, faster = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])

# The caches' minutes pass in seconds.
clock = time.monotonic
started = clock()
time.monotonic = lambda: started + (clock() - started) * faster

context = ssl.create_default_context(cafile=os.environ["REQUESTS_CA_BUNDLE"])
keys = jwt.PyJWKClient(f"{server}/.well-known/jwks.json", ssl_context=context)
living, verified, refused = [], 0, []
due, number, rest, open_ = clock(), 0, b"", True
while open_:
    ready, _, _ = select.select([0], [], [], max(0.0, due - clock()) if living else None)
    if ready:
        read = os.read(0, 65536)
        open_ = bool(read)
        *lines, rest = (rest + read).split(b"\n")
        for line in lines:
            token = line[1:].decode()
            living.append(token) if line[:1] == b"+" else living.remove(token)
            print("ok", flush=True)
    elif living:
        token = living[number % len(living)]
        number, due = number + 1, max(due + 1 / rate, clock() - 1)
        try:
            key = keys.get_signing_key_from_jwt(token)
            jwt.decode(token, key, algorithms=["ES256", "EdDSA", "RS256", "PS256"], audience=server)
            verified += 1
        except Exception as error:
            refused.append(f"{jwt.get_unverified_header(token)['kid']}: {error}")
print(json.dumps({"verified": verified, "refused": refused}))
