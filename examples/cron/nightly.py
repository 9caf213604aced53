#!/usr/bin/env python3
"""What waits for a person at GitHub, for a cron job to mail them. Nobody is there to click a link, so it asks first.

The person's JWT is in $JWT. Exit code 1 and a link: something must be connected before the next night.
"""

import json
import os
import sys
import urllib.request

VALETKEY = os.environ.get("VALETKEY_URL", "http://127.0.0.1:8080")


def call(path: str, body: dict | None = None):
    """The JSON of an answer; POST where there is a body."""
    headers = {"Authorization": f"Bearer {os.environ['JWT']}", "Content-Type": "application/json"}
    request = urllib.request.Request(VALETKEY + path, headers=headers, data=json.dumps(body).encode() if body else None)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def main() -> None:
    """Preflight, then the work."""
    (github,) = call("/preflight", {"services": [{"service": "github", "scopes": ["notifications"]}]})["services"]
    if github["status"] != "ready":
        sys.exit(f"{github['message']}: {github.get('auth_url', github['status'])}")
    for thread in call("/proxy/github/notifications"):
        print(f"{thread['repository']['full_name']}: {thread['subject']['title']}")


if __name__ == "__main__":
    main()
