"""standardwebhooks: messages of a webhook of the audit are verified by their signatures.

Usage: standardwebhooks_verify.py SECRET < MESSAGES

MESSAGES is a JSON list of {"headers": {…}, "body": "…"}; what is told is the number of events in them.
"""

import json
import sys

from standardwebhooks.webhooks import Webhook

webhook = Webhook(sys.argv[1])
messages = [webhook.verify(message["body"], message["headers"]) for message in json.load(sys.stdin)]
print(json.dumps({"events": sum(len(message["data"]["events"]) for message in messages)}))
