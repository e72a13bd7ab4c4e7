"""Authlib: an API protected by introspection (RFC 7662). Revocation is seen at once, and the scope holds what the account's
role permits now.

Usage: REQUESTS_CA_BUNDLE=CA_FILE authlib_introspect.py SERVER < CASES
"""

import sys
from types import SimpleNamespace

import requests
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2 import ResourceProtector
from authlib.oauth2.rfc7662 import IntrospectTokenValidator

from cases import try_all

metadata = requests.get(f"{sys.argv[1]}/.well-known/oauth-authorization-server", timeout=5).json()


class Validator(IntrospectTokenValidator):
    """client_id is the id of the API's own account, client_secret that account's token."""

    def __init__(self, client_id, client_secret):
        super().__init__()
        self.session = OAuth2Session(client_id, client_secret)

    def introspect_token(self, token_string):
        answer = self.session.introspect_token(metadata["introspection_endpoint"], token=token_string)
        answer.raise_for_status()
        return answer.json()


def introspect(token, client_id, client_secret, scopes=None):
    protector = ResourceProtector()
    protector.register_token_validator(Validator(client_id, client_secret))
    request = SimpleNamespace(headers={"Authorization": f"Bearer {token}"})
    return protector.validate_request(scopes, request)


def revoke(token, client_id, client_secret=None):
    """Whoever holds a token may end it; a secret is not asked for, and does no harm."""
    session = OAuth2Session(client_id, client_secret)
    answer = session.revoke_token(metadata["revocation_endpoint"], token=token, token_type_hint="access_token")
    return answer.status_code


try_all(lambda do, **case: {"introspect": introspect, "revoke": revoke}[do](**case))
