"""Traces: a call's spans reach an OTLP collector, and join the caller's trace."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from client import Client
from gitpod.v1.prebuild_pb2 import ListPrebuildsRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"


class Collector(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path == "/v1/traces":
            self.server.exports.append(ExportTraceServiceRequest.FromString(body))
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def collector():
    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        server.exports = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def dev_env(collector):
    port = collector.server_address[1]
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}", "OTEL_BSP_SCHEDULE_DELAY": "100"}


@pytest.fixture(scope="module")
def spans(collector, channel, org, eventually):
    headers = [("traceparent", f"00-{TRACE}-{CALLER}-01")]
    Client(channel, org.key).ListPrebuilds(ListPrebuildsRequest(), headers=headers)

    def both():
        resources = [spans for export in collector.exports for spans in export.resource_spans]
        found = [span for spans in resources for scope in spans.scope_spans for span in scope.spans]
        # The gateway asks upstream about the orgs at start, too: spans of other traces.
        found = [span for span in found if span.trace_id.hex() == TRACE]
        return len(found) >= 2 and {span.kind: span for span in found}

    return eventually(both)


def test_the_server_span_is_a_child_of_the_callers(spans):
    server = spans[Span.SPAN_KIND_SERVER]
    assert server.name == "gitpod.v1.PrebuildService/ListPrebuilds"
    assert (server.trace_id.hex(), server.parent_span_id.hex()) == (TRACE, CALLER)


def test_the_client_span_of_the_upstream_attempt_is_a_child_of_the_server_span(spans):
    server, client = spans[Span.SPAN_KIND_SERVER], spans[Span.SPAN_KIND_CLIENT]
    assert (client.trace_id.hex(), client.parent_span_id) == (TRACE, server.span_id)


def test_the_audit_record_has_the_trace_id(dev, spans, eventually):
    eventually(lambda: [record for record in dev.audit_records() if record["unmapped"].get("trace_id") == TRACE])
