"""A stand-in of GitHub, Slack and a Forgejo on loopback: as much of each as their SDKs, git and an OAuth client speak.

It has one person, who is signed in and agrees to everything. What it is called with it keeps, so that tests see which credential went
with which call. It knows nothing of Valetkey.
"""

import base64
import hashlib
import json
import os
import secrets
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

CLIENT_SECRET = "a-client-secret-of-the-stand-in"
REPOSITORIES = ["octocat/hello-world", "octocat/of-the-second-page"]


class Provider:
    """The running stand-in; `calls` are (method, path, `Authorization`) of all that reached an API."""

    def __init__(self, repositories: Path):
        self.repositories = repositories
        self.calls: list[tuple[str, str, str]] = []
        self.codes: dict[str, dict] = {}
        self.tokens: dict[str, set[str]] = {}
        provider = self

        class Handler(_Handler):
            """Requests of this stand-in."""

            owner = provider

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        """Ends it."""
        self._server.shutdown()
        self._server.server_close()

    def service(self, name: str) -> dict:
        """What a service of this name must say to reach the stand-in in place of the real one."""
        at = {
            "github": {"base_url": "/github", "authorize_url": "/authorize", "token_url": "/token/github", "userinfo_url": "/github/user"},
            "slack": {"base_url": "/slack", "authorize_url": "/authorize", "token_url": "/token/slack", "userinfo_url": "/slack/auth.test"},
            "codeberg": {"base_url": "/codeberg", "authorize_url": "/authorize", "token_url": "/token/codeberg"},
        }[name]
        return {key: self.url + path for key, path in at.items()} | {"client_id": f"{name}-client"}


class _Handler(BaseHTTPRequestHandler):
    owner: Provider
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Nothing: tests print what they need."""

    def do_GET(self):
        self.route()

    def do_POST(self):
        self.route()

    def route(self):
        """By the first segment of the path: OAuth, or one of the APIs."""
        self.at = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(length) if length else self.chunks()
        _, first, *rest = self.at.path.split("/")
        if first == "authorize":
            return self.authorize(dict(parse_qsl(self.at.query)))
        if first == "token":
            return self.token(rest[0], dict(parse_qsl(self.body.decode())))
        presented = self.headers.get("Authorization", "")
        self.owner.calls.append((self.command, self.at.path, presented))
        granted = self.owner.tokens.get(presented.rpartition(" ")[2])
        if granted is None:
            refused = {"ok": False, "error": "invalid_auth"} if first == "slack" else {"message": "Bad credentials"}
            return self.json(200 if first == "slack" else 401, refused, {"WWW-Authenticate": 'Basic realm="stand-in"'})
        return getattr(self, first)("/" + "/".join(rest), granted)

    def chunks(self) -> bytes:
        """A body of unknown length."""
        body = b""
        while self.headers.get("Transfer-Encoding") == "chunked":
            size = int(self.rfile.readline(), 16)
            body += self.rfile.read(size)
            self.rfile.readline()
            if size == 0:
                break
        return body

    def json(self, status: int, body, headers: dict | None = None):
        """An answer."""
        text = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(text)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    def authorize(self, asked: dict):
        """The person agrees at once."""
        code = secrets.token_urlsafe()
        self.owner.codes[code] = asked
        back = asked["redirect_uri"] + "?" + urlencode({"code": code, "state": asked["state"]})
        self.send_response(302)
        self.send_header("Location", back)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def token(self, vendor: str, form: dict):
        """The code becomes a token, for the client that asked, with the verifier of its challenge."""
        basic = base64.b64decode(self.headers.get("Authorization", "").removeprefix("Basic ")).decode()
        client, _, secret = basic.partition(":") if basic else (form.get("client_id"), "", form.get("client_secret"))
        asked = self.owner.codes.pop(form.get("code"), None)
        if not asked or (client, secret) != (asked["client_id"], CLIENT_SECRET) or form["redirect_uri"] != asked["redirect_uri"]:
            return self.json(400, {"error": "invalid_grant"})
        if "code_challenge" in asked:
            digest = hashlib.sha256(form["code_verifier"].encode()).digest()
            if base64.urlsafe_b64encode(digest).decode().rstrip("=") != asked["code_challenge"]:
                return self.json(400, {"error": "invalid_grant"})
        token = f"standin-{vendor}-{secrets.token_hex(8)}"
        scopes = set(asked.get("scope", "").replace(",", " ").split())
        self.owner.tokens[token] = scopes
        kind = {"ok": True, "token_type": "bot"} if vendor == "slack" else {"token_type": "bearer"}
        return self.json(200, {"access_token": token, "scope": ",".join(sorted(scopes)), **kind})

    def github(self, path: str, granted: set):
        """GitHub's REST API. URLs in bodies are the real GitHub's, as it sends them whoever asks."""
        headers = {"X-OAuth-Scopes": ", ".join(sorted(granted))}
        query = parse_qs(self.at.query)
        if path == "/user":
            return self.json(200, {"id": 1, "login": "octocat", "url": "https://api.github.com/users/octocat"}, headers)
        if path == "/user/repos":
            page = int(query.get("page", ["1"])[0])
            if page < len(REPOSITORIES):
                headers["Link"] = f'<{self.owner.url}/github/user/repos?page={page + 1}>; rel="next"'
            name = REPOSITORIES[page - 1]
            repository = {"id": page, "name": name.split("/")[1], "full_name": name, "url": f"https://api.github.com/repos/{name}"}
            return self.json(200, [repository], headers)
        if path == "/repos/octocat/hello-world/issues":
            issue = {"number": 1, "title": "Found a bug", "url": "https://api.github.com/repos/octocat/hello-world/issues/1"}
            return self.json(200, [issue], headers)
        if path == "/notifications" and "notifications" in granted:
            thread = {"id": "1", "subject": {"title": "Greetings"}, "repository": {"full_name": REPOSITORIES[0]}}
            return self.json(200, [thread], headers)
        return self.json(404, {"message": "Not Found"}, headers)

    def slack(self, path: str, granted: set):
        """Slack's Web API."""
        if path == "/auth.test":
            return self.json(200, {"ok": True, "user_id": "U1", "user": "ada", "team": "Example"})
        if path == "/chat.postMessage" and "chat:write" not in granted:
            return self.json(200, {"ok": False, "error": "missing_scope", "needed": "chat:write"})
        if path == "/chat.postMessage":
            form = parse_qs(self.body.decode())
            return self.json(200, {"ok": True, "channel": form["channel"][0], "ts": "1503435956.000247"})
        return self.json(200, {"ok": False, "error": "unknown_method"})

    def codeberg(self, path: str, _granted: set):
        """A Forgejo: its API, and git by git's own server."""
        if path == "/api/v1/repos/ada/notes":
            return self.json(200, {"full_name": "ada/notes", "private": True})
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.owner.repositories),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": self.at.query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(self.body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        answer = subprocess.run(["git", "http-backend"], input=self.body, env=environment, capture_output=True, check=True).stdout
        head, _, body = answer.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
        self.send_response(int(headers.pop("Status", "200").split()[0]))
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
