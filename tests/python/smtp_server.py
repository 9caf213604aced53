"""A real SMTP server (aiosmtpd) that keeps what it takes: one line of JSON a mail, read by Python's own parser.

Argument: JSON {"port": 0, "mails": FILE, "certificate"?: FILE, "key"?: FILE, "user"?: NAME, "password"?: TEXT,
"refuse"?: "550"}. With a certificate it takes mail over STARTTLS only; with a user only after a login. Prints {"port": …} when
it listens, and ends with its standard input."""

import asyncio
import email
import email.policy
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

settings = json.loads(sys.argv[1])


class Keep:
    async def handle_DATA(self, server, session, envelope):
        if settings.get("refuse"):
            return settings["refuse"] + " <" + envelope.rcpt_tos[0] + "> is not taken here"
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        part = lambda kind: (mail.get_body((kind,)) or mail).get_content()
        line = {
            "envelope": {"from": envelope.mail_from, "to": envelope.rcpt_tos},
            "headers": {name.lower(): str(value) for name, value in mail.items()},
            "text": part("plain"),
            "html": part("html"),
            "defects": [str(defect) for defect in mail.defects],
            "tls": session.ssl is not None,
            "user": session.auth_data.login.decode() if session.auth_data else None,
        }
        with open(settings["mails"], "a", encoding="utf-8") as mails:
            mails.write(json.dumps(line) + "\n")
        return "250 taken"


def authenticate(server, session, envelope, mechanism, data):
    fits = data.login.decode() == settings["user"] and data.password.decode() == settings["password"]
    return AuthResult(success=fits, auth_data=data if fits else None)


options = {}
if "certificate" in settings:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(settings["certificate"], settings["key"])
    options.update(tls_context=context, require_starttls=True)
if "user" in settings:
    options.update(authenticator=authenticate, auth_required=True, auth_require_tls="certificate" in settings)



async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(Keep(), loop=loop, **options), "127.0.0.1", settings.get("port") or 0)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())
