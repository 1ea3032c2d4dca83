"""Checks one log of the gateway, written from docs/audit-log.md alone: verify.py DIRECTORY [KEY-FILE [CHECKPOINT-FILE]]"""
import base64, functools, hashlib, json, math, pathlib, re, sys
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

BEGIN = re.compile(
    rb'\{"metadata":\{"sequence":(0|[1-9]\d*),"log_name":"([^"\\]+)","log_version":"1","product":\{"name":"prebuild-gateway","vendor'
    rb'_name":"prebuild-gateway","version":"[^"\\]+"\},"version":"1\.6\.0"\},"unmapped":\{"prev":"([0-9a-f]{64})","stage":"([a-z]+)"[,}]')
ENDS = "outcome", "reject", "recovered"
sha = lambda data: hashlib.sha256(data).digest()
plain = lambda text: base64.b64decode(text, validate=True)
hashes = lambda texts: [bytes.fromhex(text) for text in texts]
root = lambda tree: functools.reduce(lambda h, t: sha(b"\1" + t + h), reversed(tree)) if tree else sha(b"")
def push(tree, size, leaf):
    while size & 1: leaf, size = sha(b"\1" + tree.pop() + leaf), size >> 1
    tree.append(leaf)
def need(good, record, why):
    if not good: raise ValueError(f"record {record}: {why}")

def opened(note, keys):  # the size and the root of a checkpoint, if one of the keys has signed it
    text, below = re.fullmatch(r"(.*\n)\n((?:— [^ \n]+ [^ \n]+\n)+)", note, re.DOTALL).groups()
    (name, size, top), good = re.fullmatch(r"([^\n]+)\n(0|[1-9]\d*)\n([^\n]+)\n", text).groups(), []
    for origin, key_id, public in (key.split("+", 2) for key in keys.splitlines()):
        need(plain(public)[0] == 1 and sha(f"{origin}\n".encode() + plain(public))[:4].hex() == key_id, "-", "no verifier key")
        own = [plain(s) for _, n, s in map(str.split, below.splitlines()) if name == n == origin and plain(s)[:4].hex() == key_id]
        good += [Ed25519PublicKey.from_public_bytes(plain(public)[1:]).verify(s[4:], text.encode()) for s in own]
    need(good, size, "a checkpoint that these keys have not signed")
    return int(size), plain(top)

def segments(directory):
    """What counts of each segment: its number, its records, and what `unmapped` of the first one says."""
    found, least, last = [], math.inf, math.inf
    for path in sorted((p for p in directory.iterdir() if re.fullmatch(r"\d{20}\.jsonl", p.name)), reverse=True):
        number, (*lines, torn) = int(path.stem), path.read_bytes().split(b"\n")
        if number < least and (lines or found):  # else it is void, or nothing is in it yet
            need(lines and (least < last or not (found and torn)), number + len(lines), "torn")
            found.insert(0, (number, lines[:least - number] if least < last else lines, json.loads(lines[0])["unmapped"]))
            least, last = min(least, found[0][2]["trusted"]), number
    return found

def verify(directory, keys, kept, given=False):  # given: the keys are not the ones beside the log
    prev, log, calls, begins, pruned, signed, last, size, tree, met = None, None, {}, {}, [], -1, None, 0, [], []
    base = next((first["trusted"] for _, _, first in segments(directory)), 0)  # from here to the first segment all is void
    for number, lines, first in segments(directory):
        if begins:
            need(size == first["trusted"] <= number, size, f"missing, or too many, before segment {number}")
            need(tree == hashes(first["tree" if size == number else "trusted_tree"]), number, "another tree"); met.append((size, root(tree)) == kept)
        prev, size, tree, begins[number] = prev if size == number else None, number, hashes(first["tree"]), first["tree"]
        need(len(tree) == number.bit_count() and first.get("signed", 0) <= first["trusted"], number, "no such tree, or signed records lost")
        for size, line in enumerate(lines, number):
            met.append((size, root(tree)) == kept and (size > number or first["trusted"] == number))
            begin = BEGIN.match(line)
            need(begin and len(line) < 65536 and int(begin[1]) == size and begin[2] == (log or begin[2]), size, "not this record")
            need(prev in (None, *hashes([begin[3].decode()])), size, "another prev")
            record, log, stage, prev = json.loads(line.decode()), begin[2], begin[4].decode(), sha(b"\0" + line)
            need((stage == "segment") == (size == number), size, "not the first record of its segment, or not the kind that is")
            uid, own = record.get("api", {}).get("request", {}).get("uid"), record["unmapped"]
            need(stage != "intent" or calls.setdefault(uid, size) == size, size, "a second intent")
            need(stage not in ENDS or calls.get(uid, 0) is not None, size, "a second end")
            calls |= {uid: None} if stage in ENDS and uid in calls else {}
            if stage == "checkpoint":
                need(own["checkpoint"].split("\n")[0].endswith("/" + log.decode()), size, "a checkpoint of another log")
                need(opened(own["checkpoint"], keys) == (size, root(tree)), size, "a checkpoint of another tree")
                signed = size
            pruned += [(size, own["size"])] if stage == "pruned" else []; need(not pruned or pruned[-1][1] <= size, size, "not before it")
            need(stage != "pruned" or own["size"] not in begins or root(hashes(begins[own["size"]])) == plain(own["root"]), size, "another root")
            push(tree, size, prev); last = last if stage == "checkpoint" else stage
        size = number + len(lines)
    need(base <= min(begins, default=0) and (not base or any(at < signed and end >= base for at, end in pruned)), base, "missing, not pruned")
    need(size and (signed > 0 or not given), size, "no record, or none that is signed")
    need(last != "shutdown" or all(at is None for at in calls.values()), size, "an intent has no end")
    need(not kept or any(met) or (size, root(tree)) == kept, size, "not the log that the checkpoint is of")
    return size

if __name__ == "__main__":
    where, key, kept = (sys.argv[1:] + [None, None])[:3]
    try:
        keys = pathlib.Path(key or where + "/key.pub").read_text()
        print("good:", verify(pathlib.Path(where), keys, kept and opened(pathlib.Path(kept).read_text(), keys), key), "records")
    except Exception as bad:
        sys.exit(f"bad: {type(bad).__name__} {bad}")
