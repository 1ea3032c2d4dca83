"""Records of every stage are valid by both schemas: of a gateway that is flooded, loses its log's directory, is killed in
the middle of a call, and starts again; and of a log from which what was too much is removed."""

import json
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from audit_schema import UNMAPPED, ocsf, unmapped
from gateway import SERVE, Serve, binary, sha256

ORGANIZATION = "0198c0de-0000-7000-8000-00000000acce"
PROJECT, SILENT = "0198c0de-0000-7000-8000-000000000001", "0198c0de-0000-7000-8000-000000000002"
KEY = "a-key-of-this-test"
# More than the burst that an org has without a policy.
FLOOD = 400


class Upstream(BaseHTTPRequestHandler):
    """Makes what it is asked for; of one project it says nothing."""

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if asked.get("projectId") == SILENT:
            self.server.asked.set()
            self.server.over.wait()
            return
        made = {"id": PROJECT, "metadata": {"organizationId": ORGANIZATION, "projectId": PROJECT}}
        answer = json.dumps({"prebuild": made} if self.path.endswith("/CreatePrebuild") else {}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def upstream():
    with ThreadingHTTPServer(("127.0.0.1", 0), Upstream) as server:
        server.daemon_threads = True
        server.asked, server.over = threading.Event(), threading.Event()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.over.set()
        server.shutdown()


def start(directory, upstream):
    text = SERVE.format(
        directory=directory, upstream=f"http://127.0.0.1:{upstream.server_address[1]}/api", hash=sha256(KEY)
    )
    text = text.replace("[audit]\n", "[audit]\ninstance = 'it'\nreads_pass = true\n")
    return Serve.run(directory, text, KEY)


def call(serve, method, message):
    """Whether it was answered."""
    headers = {"content-type": "application/json", "authorization": f"Bearer {KEY}"}
    request = urllib.request.Request(f"{serve.base_url}/gitpod.v1.PrebuildService/{method}", json.dumps(message).encode(), headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return bool(answer.read())
    except (urllib.error.HTTPError, ConnectionError):
        return False


def create(serve, project=PROJECT):
    return call(serve, "CreatePrebuild", {"projectId": project, "spec": {}})


def read(directory):
    lines = [line for file in sorted(directory.glob("*.jsonl")) for line in file.read_text().split("\n")[:-1]]
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def records(tmp_path_factory, upstream, eventually):
    directory = tmp_path_factory.mktemp("stages")
    audit, away = directory / "audit", directory / "away"

    first = start(directory, upstream)
    try:
        assert create(first) and call(first, "ListPrebuilds", {})
        assert not create(first, "no-project")
        audit.rename(away)
        eventually(lambda: not create(first))
        # It passes, and is missing from the log.
        assert call(first, "ListPrebuilds", {})
        away.rename(audit)
        eventually(lambda: create(first))
        threading.Thread(target=create, args=(first, SILENT), daemon=True).start()
        assert upstream.asked.wait(30)
    finally:
        first.process.kill()
        first.process.wait()
    second = start(directory, upstream)
    try:
        with ThreadPoolExecutor(8) as clients:
            answers = list(clients.map(lambda _: call(second, "ListPrebuilds", {}), range(FLOOD)))
        assert not all(answers), "the rate holds"
        second.stop()
    finally:
        second.process.kill()
    # Nothing is pruned within a day: of that `cargo test --test audit` leaves a log.
    return read(audit / "it") + read(Path(binary()).parents[1] / "tmp" / "pruned" / "gateway-0")


def stage(record):
    return record["unmapped"]["stage"]


def test_there_is_a_record_of_every_stage(records):
    assert {stage(record) for record in records} == set(UNMAPPED["properties"]["stage"]["enum"])


def test_what_a_limit_refuses_is_counted(records):
    aggregate = next(record for record in records if stage(record) == "aggregate")

    assert aggregate["api"]["response"]["error"] == "RATE_LIMITED"


def test_each_is_valid(records):
    of_class, of_ours = ocsf(), unmapped()
    for record in records:
        assert [error.message for error in of_class.iter_errors(record)] == [], record
        assert [error.message for error in of_ours.iter_errors(record["unmapped"])] == [], record
