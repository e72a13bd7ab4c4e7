"""requests: the published keys, fetched again only when they are not what is kept already (RFC 9110, section 13.1.2).

Usage: REQUESTS_CA_BUNDLE=CA_FILE requests_etag.py SERVER
"""

import json
import sys

import requests

uri = f"{sys.argv[1]}/.well-known/jwks.json"


def fetch(tag=None):
    answer = requests.get(uri, headers={"If-None-Match": tag} if tag else {}, timeout=5)
    kind, keep = answer.headers.get("Content-Type"), answer.headers["Cache-Control"]
    return answer.headers["ETag"], [answer.status_code, kind, keep, bool(answer.content)]


tag, fresh = fetch()
print(json.dumps({"fresh": fresh, "known": fetch(tag)[1], "other": fetch('"another"')[1]}))
