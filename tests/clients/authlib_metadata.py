"""Authlib: its models of both metadata documents, member by member, and what they find wrong.

Usage: REQUESTS_CA_BUNDLE=CA_FILE authlib_metadata.py SERVER
"""

import json
import sys

import requests
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from authlib.oidc.discovery import OpenIDProviderMetadata


def findings(metadata):
    for member in metadata.REGISTRY_KEYS:
        try:
            getattr(metadata, f"validate_{member}", lambda: None)()
        except ValueError as error:
            yield str(error)


def of(kind, name):
    return list(findings(kind(requests.get(f"{sys.argv[1]}/.well-known/{name}", timeout=5).json())))


print(
    json.dumps(
        {
            "oauth": of(AuthorizationServerMetadata, "oauth-authorization-server"),
            "openid": of(OpenIDProviderMetadata, "openid-configuration"),
        }
    )
)
