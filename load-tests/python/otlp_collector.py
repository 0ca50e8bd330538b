"""An OpenTelemetry collector for tests: takes OTLP over HTTP, and decodes it with the official messages."""

import contextlib
import gzip
import http.server
import threading

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

LIMIT = 120
MESSAGES = {
    "/v1/traces": (ExportTraceServiceRequest, ExportTraceServiceResponse),
    "/v1/metrics": (ExportMetricsServiceRequest, ExportMetricsServiceResponse),
}


class Collector:
    """What came so far, and what it is answered with. `status` other than 200 refuses everything. Listens at a port of its own, or
    with a socket that is bound."""

    def __init__(self, taken=None):
        self.requests = []
        self.status = 200
        self.retry_after = None
        self.refused = 0
        self._changed = threading.Condition()
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, answer = collector._take(self.path, self.headers, body)
                self.send_response(status)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                if status != 200 and collector.retry_after is not None:
                    self.send_header("Retry-After", str(collector.retry_after))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=taken is None)
        if taken:
            self.server.socket.close()
            self.server.socket = taken
            self.server.server_address = taken.getsockname()
            self.server.server_activate()
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.port}"

    def _take(self, path, headers, body):
        request, response = MESSAGES[path]
        with self._changed:
            if self.status != 200:
                self.refused += 1
                self._changed.notify_all()
                return self.status, b""
            assert headers["Content-Type"] == "application/x-protobuf", headers
            plain = gzip.decompress(body) if headers.get("Content-Encoding") == "gzip" else body
            self.requests.append((path, headers, plain, request.FromString(plain)))
            self._changed.notify_all()
        return 200, response().SerializeToString()

    def wait_for(self, found, what):
        """What `found` gives once it is something."""
        with self._changed:
            assert self._changed.wait_for(lambda: found(), timeout=LIMIT), f"{what} never came"
            return found()

    def spans(self, trace=None):
        """The spans that came, of one trace or of all."""
        with self._changed:
            requests = [message for path, _, _, message in self.requests if path == "/v1/traces"]
        found = (span for message in requests for resource in message.resource_spans
                 for scope in resource.scope_spans for span in scope.spans)
        return [span for span in found if trace in (None, span.trace_id.hex())]

    def whole_trace(self, trace):
        """The spans of a trace once its session is over: that span comes last."""
        return self.wait_for(
            lambda: (spans := self.spans(trace)) and any(span.name == "session" for span in spans) and spans,
            f"the session of trace {trace}")

    def metrics(self):
        """The metrics of the last push, by name."""
        with self._changed:
            pushes = [message for path, _, _, message in self.requests if path == "/v1/metrics"]
        return {metric.name: metric for resource in pushes[-1].resource_metrics
                for scope in resource.scope_metrics for metric in scope.metrics} if pushes else {}

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@contextlib.contextmanager
def collecting(taken=None):
    collector = Collector(taken)
    try:
        yield collector
    finally:
        collector.close()


def attributes(of):
    """Attributes of a span, an event or a resource as a dictionary; a name twice is a fault."""
    found = {}
    for pair in of.attributes:
        assert pair.key not in found, pair.key
        kind = pair.value.WhichOneof("value")
        value = getattr(pair.value, kind)
        found[pair.key] = [item.string_value for item in value.values] if kind == "array_value" else value
    return found
