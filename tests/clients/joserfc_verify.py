"""joserfc: tokens are verified by the published keys, with the claims that RFC 9068 demands.

Usage: REQUESTS_CA_BUNDLE=CA_FILE joserfc_verify.py SERVER < CASES
"""

import sys

from joserfc import jwt

from cases import try_all
from published_keys import PublishedKeys

keys = PublishedKeys(sys.argv[1])


def verify(token, issuer, audience, algorithms):
    # What is not on its list of recommended algorithms (ES256 and RS256 are) has to be named.
    token = jwt.decode(token, keys.get(), algorithms=algorithms)
    if token.header["typ"] != "at+jwt":
        raise ValueError("not an access token")
    demanded = jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": issuer},
        aud={"essential": True, "value": audience},
        exp={"essential": True},
        iat={"essential": True},
        sub={"essential": True},
        jti={"essential": True},
        client_id={"essential": True},
    )
    demanded.validate(token.claims)
    return token.claims


try_all(verify)
