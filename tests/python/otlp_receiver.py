"""A collector of traces that keeps what it gets: one line of JSON a request, read by OpenTelemetry's own protobuf types.

Argument: JSON {"requests": FILE, "certificate"?: FILE, "key"?: FILE, "answers"?: [STATUS, …]}. With a certificate it takes HTTPS only. The first
requests get these answers, all further ones 200. Prints {"port": …} when it listens, and ends with its standard input."""

import http.server
import json
import ssl
import sys
import threading

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

settings = json.loads(sys.argv[1])
answers = list(settings.get("answers", []))
lock = threading.Lock()


class Collector(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        request = ExportTraceServiceRequest()
        request.ParseFromString(body)
        unknown = [field for resource in request.resource_spans for field in left_out(resource)]
        line = {
            "path": self.path,
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "tls": isinstance(self.connection, ssl.SSLSocket),
            "unknown": unknown,
            "resource_spans": MessageToDict(request)["resourceSpans"],
            "body": body.hex(),
        }
        with lock:
            status = answers.pop(0) if answers else 200
            line["answer"] = status
            with open(settings["requests"], "a", encoding="utf-8") as requests:
                requests.write(json.dumps(line) + "\n")
        answer = ExportTraceServiceResponse().SerializeToString() if status == 200 else b"not now"
        self.send_response(status)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


def left_out(resource):
    """Fields that these types don't know: there must be none."""
    known = type(resource).FromString(resource.SerializeToString())
    known.DiscardUnknownFields()
    return [] if known.SerializeToString() == resource.SerializeToString() else [resource.schema_url or "unknown field"]


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
if "certificate" in settings:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(settings["certificate"], settings["key"])
    server.socket = context.wrap_socket(server.socket, server_side=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(json.dumps({"port": server.server_address[1]}), flush=True)
sys.stdin.read()
