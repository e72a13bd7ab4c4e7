"""What schemathesis has to know of Countermark that no OpenAPI document can say."""

import ipaddress
import json
import os
import re

import schemathesis
from hypothesis import strategies as st

# The account that examines: it may do everything, also to itself.
ME = {os.environ["EXAMINER_ID"], os.environ["EXAMINER_NAME"]}
TOKENS = [os.environ["EXAMINER_TOKEN"]]

NAME = re.compile("[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?")
# What there is; what has to go together; and 1.0, which is an integer to JSON Schema alone.
BEYOND_A_SCHEMA = (
    "there is no role ",
    "there is no team ",
    "it is not a next_cursor ",
    "it is no mark of an export ",
    "it is another one than in the path",
    "not PEM: ",
    "the PEM is damaged",
    "more than 64 KiB: ",
    "a private key that exists does not go into the token",
    "invalid type: floating point ",
)
ROLES = ["auditor", "admin"]


def network(address, prefix):
    return str(ipaddress.ip_network((address, prefix), strict=False))


schemathesis.openapi.format(
    "cidr",
    st.one_of(
        st.builds(network, st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address), st.integers(0, 32)),
        st.builds(
            network,
            st.integers(0, 2**96 - 1).map(lambda low: ipaddress.IPv6Address((0x20010DB8 << 96) | low)),
            st.integers(32, 128),
        ),
    ),
)


@schemathesis.hook
def map_body(context, body):
    # Made-up names of roles and teams are nobody's, and all that is asked for would be refused.
    # What is meant to be wrong stays so.
    role = body.get("role") if isinstance(body, dict) else None
    teams = body.get("teams", {}) if isinstance(body, dict) else None
    is_name = lambda text: isinstance(text, str) and NAME.fullmatch(text)
    are_names = isinstance(teams, dict) and all(is_name(name) and is_name(of) for name, of in teams.items())
    if is_name(role) and are_names and len(role) % 2:
        body["role"] = ROLES[len(role) // 2 % len(ROLES)]
        body.pop("teams", None)
    return body


@schemathesis.auth(refresh_interval=None)
class Newest:
    """The examiner's token, which renewals change."""

    def get(self, case, context):
        return TOKENS[-1]

    def set(self, case, token, context):
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {token}"}


@schemathesis.hook
def before_call(context, case, kwargs):
    # Whoever ends himself sees nothing but 401 from then on. Somebody else is asked for instead.
    if case.method.upper() in ("PATCH", "DELETE") and (case.path_parameters or {}).get("account") in ME:
        case.path_parameters["account"] = "somebody-else"
    # A case that was made before a renewal has the token of then.
    headers = case.headers or {}
    if headers.get("Authorization", "").removeprefix("Bearer ") in TOKENS[:-1]:
        headers["Authorization"] = "Bearer " + TOKENS[-1]


@schemathesis.hook
def after_call(context, case, response):
    if response.status_code == 201 and case.path.endswith("/token"):
        issued = json.loads(response.content)
        if issued["account"]["id"] in ME:
            TOKENS.append(issued["token"])


@schemathesis.hook
def filter_failure(context, failure, case, response):
    # A schema says what one text looks like.
    if failure.code == "ST202" and response.status_code == 422:
        errors = json.loads(response.content)["errors"]
        return not all(error["message"].startswith(BEYOND_A_SCHEMA) for error in errors)
    return True
