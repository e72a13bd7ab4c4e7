"""requests: introspection (RFC 7662), by bearer token or by HTTP Basic, and revocation (RFC 7009).

Usage: REQUESTS_CA_BUNDLE=CA_FILE requests_introspect.py SERVER < CASES
"""

import sys

import requests

from cases import try_all

server = sys.argv[1]


class Bearer(requests.auth.AuthBase):
    def __init__(self, token):
        self.token = token

    def __call__(self, request):
        request.headers["Authorization"] = f"Bearer {self.token}"
        return request


def introspect(token, client_id, client_secret, basic):
    auth = (client_id, client_secret) if basic else Bearer(client_secret)
    answer = requests.post(f"{server}/oauth2/introspect", data={"token": token}, auth=auth, timeout=5)
    answer.raise_for_status()
    return answer.json()


def revoke(token):
    return requests.post(f"{server}/oauth2/revoke", data={"token": token}, timeout=5).status_code


try_all(lambda do, **case: {"introspect": introspect, "revoke": revoke}[do](**case))
