"""Authlib: an API protected by JWTBearerTokenValidator (RFC 9068).

Usage: REQUESTS_CA_BUNDLE=CA_FILE authlib_verify.py SERVER < CASES
"""

import sys
from types import SimpleNamespace

from authlib.oauth2 import ResourceProtector
from authlib.oauth2.rfc9068 import JWTBearerTokenValidator

from cases import try_all
from published_keys import PublishedKeys

keys = PublishedKeys(sys.argv[1])


class Validator(JWTBearerTokenValidator):
    def get_jwks(self):
        return keys.get()


def verify(token, issuer, audience):
    protector = ResourceProtector()
    protector.register_token_validator(Validator(issuer=issuer, resource_server=audience))
    # The protectors of Flask and Django take the request from their framework.
    request = SimpleNamespace(headers={"Authorization": f"Bearer {token}"})
    return protector.validate_request(None, request)


try_all(verify)
