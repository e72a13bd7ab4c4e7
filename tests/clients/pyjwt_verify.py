"""PyJWT: tokens are verified by the published keys, with the claims that RFC 9068 demands.

Usage: REQUESTS_CA_BUNDLE=CA_FILE pyjwt_verify.py SERVER < CASES
"""

import json
import os
import ssl
import sys
import urllib.request

import jwt

from cases import try_all

server = sys.argv[1]
context = ssl.create_default_context(cafile=os.environ["REQUESTS_CA_BUNDLE"])
with urllib.request.urlopen(f"{server}/.well-known/oauth-authorization-server", context=context) as answer:
    metadata = json.load(answer)
# Keeps the keys for five minutes, and asks again for a kid that it doesn't know, twice a minute at the most.
keys = jwt.PyJWKClient(metadata["jwks_uri"], ssl_context=context)


def verify(token, issuer, audience, algorithms):
    return jwt.decode(
        token,
        keys.get_signing_key_from_jwt(token),
        algorithms=algorithms,
        issuer=issuer,
        audience=audience,
        options={"require": ["iss", "aud", "exp", "iat", "sub", "jti", "client_id"]},
    )


try_all(verify)
