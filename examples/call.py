"""Calls a service through Valetkey, and shows the person a link where there is something to connect.

    python3 examples/call.py http://127.0.0.1:8080/proxy/github/user "$JWT"
"""

import json
import sys
import urllib.error
import urllib.request


def call(url: str, jwt: str) -> str:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {jwt}"})
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        # Only answers of Valetkey's own have this header; everything else is the service's.
        if "Valetkey-Status" not in error.headers:
            raise
        refusal = json.load(error)
        if "auth_url" in refusal:
            return f"{refusal['message']}: {refusal['auth_url']}"
        raise SystemExit(f"{refusal['message']} ({refusal['status']}, retryable: {refusal['retryable']})") from error


if __name__ == "__main__":
    print(call(sys.argv[1], sys.argv[2]))
