"""`audit verify` against a verifier that was written from docs/audit-log.md alone: of every log they say the same.

The logs are those of a real gateway, and others that are made here from the same page, with all that can happen to a log;
and copies of them in which something was changed.
"""

import base64
import hashlib
import importlib.util
import json
import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from gitpod.v1.prebuild_pb2 import CreatePrebuildRequest, ListPrebuildsRequest, PrebuildSpec
from google.protobuf.duration_pb2 import Duration

TAMPERINGS = 50

path = Path(__file__).parents[1] / "audit" / "verify.py"
spec = importlib.util.spec_from_file_location("verify", path)
verify = importlib.util.module_from_spec(spec)
spec.loader.exec_module(verify)


class Log:
    """A log that is written as the page says."""

    def __init__(self, directory):
        self.directory = directory
        directory.mkdir()
        self.sign_as("audit.example.com")
        self.size, self.tree, self.prev, self.trees, self.call = 0, [], b"\0" * 32, {}, 0
        self.segment()

    def sign_as(self, site):
        self.key, self.origin = Ed25519PrivateKey.generate(), f"{site}/{self.directory.name}"
        public = b"\1" + self.key.public_key().public_bytes_raw()
        self.key_id = verify.sha(f"{self.origin}\n".encode() + public)[:4]
        with (self.directory / "key.pub").open("a") as keys:
            keys.write(f"{self.origin}+{self.key_id.hex()}+{base64.b64encode(public).decode()}\n")

    def record(self, stage, uid=None, **unmapped):
        metadata = {"sequence": self.size, "log_name": self.directory.name, "log_version": "1"}
        metadata["product"] = {"name": "prebuild-gateway", "vendor_name": "prebuild-gateway", "version": "1.2.3"}
        metadata["version"] = "1.6.0"
        record = {"metadata": metadata, "unmapped": {"prev": self.prev.hex(), "stage": stage, **unmapped}, "class_uid": 6003}
        if uid is not None:
            record["api"] = {"operation": "x/Y", "request": {"uid": f"request-{uid}"}}
        line = json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode()
        with self.file.open("ab") as file:
            file.write(line + b"\n")
        self.trees[self.size] = list(self.tree)
        self.prev = hashlib.sha256(b"\0" + line).digest()
        verify.push(self.tree, self.size, self.prev)
        self.size += 1

    def segment(self, trusted=None, **signed):
        self.file = self.directory / f"{self.size:020}.jsonl"
        trees = {"tree": [h.hex() for h in self.tree], "trusted": self.size if trusted is None else trusted}
        if trusted is not None:
            trees["trusted_tree"] = [h.hex() for h in self.trees[trusted]]
        self.record("segment", **trees, **signed, open_from=self.size)

    def calls(self, count):
        for _ in range(count):
            self.call += 1
            self.record("intent", self.call)
            self.record("outcome", self.call)

    def note(self):
        text = f"{self.origin}\n{self.size}\n{base64.b64encode(verify.root(self.tree)).decode()}\n"
        signature = base64.b64encode(self.key_id + self.key.sign(text.encode())).decode()
        return f"{text}\n— {self.origin} {signature}\n"

    def checkpoint(self):
        self.record("checkpoint", checkpoint=self.note())

    def pruned(self, size):
        root = base64.b64encode(verify.root(self.trees[size])).decode()
        self.record("pruned", first=0, size=size, root=root)


def plain(log):
    for _ in range(3):
        log.calls(3)
        log.checkpoint()
        log.segment()
    log.calls(2)
    log.checkpoint()


def failed(log):
    plain(log)
    trusted = log.size
    log.calls(2)
    log.segment(trusted)
    log.calls(1)
    log.checkpoint()


def pruned(log):
    plain(log)
    first = sorted(log.directory.glob("*.jsonl"))[2]
    log.pruned(int(first.stem))
    log.checkpoint()
    for file in sorted(log.directory.glob("*.jsonl"))[:2]:
        file.unlink()


def cut(log):
    log.calls(2)
    file = log.file
    log.segment(0)
    log.calls(1)
    log.checkpoint()
    file.write_bytes(file.read_bytes()[:-100])


def ended(log):
    plain(log)
    log.record("intent", "crashed")
    log.segment()
    log.record("recovered", "crashed", intent=log.size - 2)
    log.checkpoint()
    log.record("shutdown")


def rotated(log):
    plain(log)
    for site in ("audit.example.com", "audit.example.org"):
        log.sign_as(site)
        log.segment()
        log.calls(1)
        log.checkpoint()


@pytest.fixture(params=[plain, failed, pruned, cut, ended, rotated])
def made(request, tmp_path):
    log = Log(tmp_path / "gateway-0")
    request.param(log)
    kept = tmp_path / "kept"
    kept.write_text(log.note())
    return log.directory, kept


@pytest.fixture(scope="module")
def written(dev, client, org, eventually, tmp_path_factory):
    """A copy of the log of a real gateway, in which there is a checkpoint already; it is also what was kept."""
    request = CreatePrebuildRequest(project_id=org.projects[0], spec=PrebuildSpec(timeout=Duration(seconds=3600)))
    for _ in range(5):
        client.CreatePrebuild(request)
        client.ListPrebuilds(ListPrebuildsRequest())

    def checkpoint():
        records = [json.loads(line) for file in sorted(dev.audit.rglob("*.jsonl")) for line in file.read_text().splitlines()]
        notes = [record["unmapped"]["checkpoint"] for record in records if record["unmapped"]["stage"] == "checkpoint"]
        return notes and int(notes[-1].split("\n")[1]) > 15 and notes[-1]

    note = eventually(checkpoint)
    [directory] = {file.parent for file in dev.audit.rglob("*.jsonl")}
    place = tmp_path_factory.mktemp("written")
    (place / "kept").write_text(note)
    return Path(shutil.copytree(directory, place / directory.name)), place / "kept"


def ours(binary, directory, kept=None):
    """None if the log is good, else the number of the first bad record, or what is said in its place."""
    command = [binary, "audit", "verify", directory] + (["--checkpoint", kept] if kept else [])
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    is_bad = "BAD" in done.stdout or "LOST" in done.stdout or bool(done.stderr)
    assert (done.returncode == 1) == is_bad, done.stdout + done.stderr
    return None if done.returncode == 0 else done.stdout + done.stderr


def theirs(directory, kept=None):
    try:
        key = (directory / "key.pub").read_text()
        verify.verify(directory, key, kept and verify.opened(kept.read_text(), key))
    except Exception as bad:
        return f"{type(bad).__name__}: {bad}"
    return None


def agree(binary, directory, kept):
    """Whether the log is good, with what was kept and without it."""
    verdicts = []
    for kept in (None, kept):
        mine, other = ours(binary, directory, kept), theirs(directory, kept)
        assert (mine is None) == (other is None), f"{mine} against {other}"
        verdicts.append(mine is None)
    return verdicts


def tamper(directory, chance):
    """Something is changed in one of the files, in a way that has a name."""
    file = chance.choice(sorted(directory.glob("*.jsonl")))
    lines = file.read_bytes().splitlines(keepends=True)
    at, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    way = chance.choice(["byte", "bit", "delete", "swap", "duplicate", "insert", "cut", "drop", "rename", "digit", "torn", "merge"])
    content, where = b"".join(lines), chance.randrange(sum(map(len, lines)))
    digits = [match.start() for match in re.finditer(rb"\d", content)]
    digit = chance.choice(digits)
    new = {
        "byte": content[:where] + bytes([chance.randrange(256)]) + content[where + 1 :],
        "bit": content[:where] + bytes([content[where] ^ 1 << chance.randrange(8)]) + content[where + 1 :],
        "delete": b"".join(lines[:at] + lines[at + 1 :]),
        "swap": b"".join(lines[other] if n == at else lines[at] if n == other else line for n, line in enumerate(lines)),
        "duplicate": b"".join(lines[: at + 1] + lines[at:]),
        "insert": b"".join(lines[:at] + [chance.choice([b"\n", b"{}\n", b"null\n", b"[\n"])] + lines[at:]),
        "cut": content[:where],
        "digit": content[:digit] + str(chance.randrange(10)).encode() + content[digit + 1 :],
        "torn": content + b'{"metadata":',
        "merge": content.replace(b"\n", b"", 1),
    }
    if way in new:
        file.chmod(0o600)
        file.write_bytes(new[way])
    elif way == "drop":
        file.unlink()
    else:
        file.rename(file.with_name(f"{chance.randrange(60):020}.jsonl"))
    return way


def tampered(binary, directory, kept, place):
    chance, found = random.Random(directory.name), 0
    for round in range(TAMPERINGS):
        copy = place / str(round) / directory.name
        shutil.copytree(directory, copy)
        way = tamper(copy, chance)
        try:
            found += agree(binary, copy, kept).count(False)
        except AssertionError as error:
            raise AssertionError(f"round {round}, {way}: {error}") from error
        shutil.rmtree(copy)
    return found


def test_they_agree_on_logs_that_are_good(gateway_binary, made):
    assert agree(gateway_binary, *made) == [True, True]


def test_they_agree_that_a_record_removes_only_what_is_before_it(gateway_binary, tmp_path):
    log = Log(tmp_path / "gateway-0")
    plain(log)
    log.record("pruned", first=0, size=log.size + 1, root=base64.b64encode(verify.root([])).decode())
    log.checkpoint()
    assert agree(gateway_binary, log.directory, None) == [False, False]


def test_they_agree_on_a_checkpoint_of_just_what_is_trusted_before_a_void_range(gateway_binary, tmp_path):
    log = Log(tmp_path / "gateway-0")
    plain(log)
    kept, trusted = tmp_path / "kept", log.size
    kept.write_text(log.note())
    log.calls(2)
    log.segment(trusted)
    log.checkpoint()
    assert agree(gateway_binary, log.directory, kept) == [True, True]


def test_they_agree_on_logs_that_are_not(gateway_binary, made, tmp_path):
    assert tampered(gateway_binary, *made, tmp_path / "copies") > TAMPERINGS


def test_the_other_one_finds_what_ours_was_tried_with(gateway_binary):
    """Of the ten thousand tamperings of tests/audit/tampered.rs `cargo test` leaves a hundred of each way, or all of them."""
    left = list((Path(gateway_binary).parents[1] / "tmp" / "tampered").iterdir())
    ways = {log.name.split("-")[0] for log in left}
    assert len(left) in (1400, 10_000) and len(ways) == 14, "run `cargo test --test audit` first"
    for log in left:
        assert theirs(log / "gateway-0", log / "kept"), log.name


def test_they_agree_that_signed_records_are_lost(gateway_binary, tmp_path):
    log = Log(tmp_path / "gateway-0")
    plain(log)
    trusted = log.size
    log.segment()
    file, signed = log.file, log.size
    log.segment(trusted, signed=signed)
    file.unlink()
    assert agree(gateway_binary, log.directory, None) == [False, False]


def test_they_agree_on_the_log_of_a_gateway(gateway_binary, written):
    assert agree(gateway_binary, *written) == [True, True]


def test_they_agree_on_a_log_of_a_gateway_that_was_changed(gateway_binary, written, tmp_path):
    assert tampered(gateway_binary, *written, tmp_path / "copies") > TAMPERINGS


def test_a_proof_is_checked_by_the_page(gateway_binary, made):
    """RFC 9162, section 2.1.3.2."""
    directory, _ = made
    key = (directory / "key.pub").read_text()
    first = int(min(directory.glob("*.jsonl")).stem)
    lines = max(directory.glob("*.jsonl")).read_bytes().splitlines()
    index = int(max(directory.glob("*.jsonl")).stem) + 1
    command = [gateway_binary, "audit", "prove", directory, "--record", str(index)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    head, note = done.stdout.split("\n\n", 1)
    form, extra, number, *path = head.split("\n")
    assert (form, number) == ("c2sp.org/tlog-proof@v1", f"index {index}") and index > first
    record = base64.b64decode(extra.removeprefix("extra "))
    assert record == lines[1]
    size, root = verify.opened(note, key)
    fold, last, have = index, size - 1, verify.sha(b"\0" + record)
    for part in map(base64.b64decode, path):
        assert last > 0
        if fold & 1 or fold == last:
            have = verify.sha(b"\1" + part + have)
            while not fold & 1 and fold:
                fold, last = fold >> 1, last >> 1
        else:
            have = verify.sha(b"\1" + have + part)
        fold, last = fold >> 1, last >> 1
    assert (last, have) == (0, root)
