"""An independent verifier of Valetkey's audit log, written from docs/AUDIT.md alone.

    valetkey report audit --raw --config valetkey.yaml > export.jsonl
    python verify.py export.jsonl [--key HEX] [--anchors FILE]

Takes no secret. --key is the public key as it was noted when the log began: without it, whoever wrote the export chose it.
Exit code 0: the log is as it was signed. 1: it isn't, and what is wrong is printed.
"""

import argparse
import base64
import hashlib
import json
import re
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

GOOD = set()  # signatures that were found right
ANCHOR = re.compile(r"valetkey-audit-anchor-1 [A-Za-z0-9 :,-]*")


def unhex(text, length):
    if not re.fullmatch("[0-9a-f]{%d}" % (2 * length), text):
        raise ValueError("no hexadecimal digits")
    return bytes.fromhex(text)


def lengthy(field):
    return len(field).to_bytes(8, "big") + field


def beginning(shard):
    return hashlib.sha256(b"valetkey audit chain 1" + bytes([shard])).digest()


def follow(digest, entry):
    at, nth = entry["position"]
    position = at.to_bytes(8, "big") + nth.to_bytes(8, "big")
    return hashlib.sha256(digest + lengthy(position) + lengthy(entry["id"]) + lengthy(entry["sealed"])).digest()


class Key:
    def __init__(self, text):
        self.text, self.key = text, Ed25519PublicKey.from_public_bytes(unhex(text, 32))

    def verifies(self, message, signature):
        try:
            known = (self.text, message, signature)
            if known not in GOOD:
                self.key.verify(unhex(signature, 64), message.encode())
                GOOD.add(known)
            return True
        except (InvalidSignature, ValueError):
            return False

    def signed(self, label, text):
        """What a signed text says, or None."""
        body, feed, signature = text.partition("\n")
        return json.loads(body) if feed and self.verifies(label + "\n" + body, signature) else None


def entry(line):
    text = line["sealed"]
    sealed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if base64.urlsafe_b64encode(sealed).decode().rstrip("=") != text:
        raise ValueError("no base64url")
    at, nth = (int(part) for part in re.fullmatch(r"(\d+)-(\d+)", line["position"]).groups())
    return {"position": (at, nth), "id": unhex(line["id"], 16), "sealed": sealed}


def shown(position):
    return "the beginning" if position == (0, 0) else "%d-%d" % position


def check_shard(shard, key, head, entries, expected):
    """Yields what is wrong. `expected`: pairs of a count and (who says so, hash or its first half) from elsewhere."""
    where = "shard %02x: " % shard
    marks = [{"at": 0, "nth": 0, "count": 0, "hash": beginning(shard).hex()}]
    if head is not None:
        said = key.signed("valetkey audit head 1", head)
        if said is None or said["shard"] != shard:
            yield where + "what is signed of it was changed, or is another's"
            return
        marks = said["marks"]
    places = [(mark["at"], mark["nth"]) for mark in marks]
    count, digest, passed = marks[0]["count"], unhex(marks[0]["hash"], 32), places[0]
    ahead, last, ids = list(zip(places, marks))[1:], None, set()
    expected = sorted(pair for pair in expected if pair[0] >= count)

    def against():
        while expected and expected[0][0] <= count:
            known, (who, half) = expected.pop(0)
            if known == count and not digest.hex().startswith(half):
                yield where + "%s knows other entries up to %s" % (who, shown(passed))

    def pass_mark():
        nonlocal count, digest, passed
        place, mark = ahead.pop(0)
        between = " after %s and up to %s" % (shown(passed), shown(place))
        if count != mark["count"]:
            yield where + "%d entries instead of %d," % (count, mark["count"]) + between
        elif digest.hex() != mark["hash"]:
            yield where + "an entry was changed, or entries stand in another order," + between
        count, digest, passed = mark["count"], unhex(mark["hash"], 32), place

    yield from against()
    for one in entries:
        if last is not None and one["position"] <= last:
            yield where + "an entry stands where it doesn't belong, at " + shown(one["position"])
            continue
        last = one["position"]
        if one["id"] in ids:
            yield where + "an entry is there twice, the second time at " + shown(last)
        ids.add(one["id"])
        if last <= places[0]:
            continue  # left over from cutting
        while ahead and last > ahead[0][0]:
            yield from pass_mark()
        count, digest = count + 1, follow(digest, one)
        yield from against()
    while ahead:
        yield from pass_mark()
        yield from against()
    for known, (who, _) in expected:
        yield where + "%s knows of %d entries, and there were only %d" % (who, known, count)


def anchors(key, lines):
    for number, line in enumerate(lines, 1):
        found = ANCHOR.search(line)
        if not found:
            continue
        fields = found.group().split(" ")
        if len(fields) < 5 or not key.verifies(" ".join(fields[:4]), fields[4]):
            yield "line %d of the anchors isn't signed by this key" % number
            continue
        for shard, count, half in (one.split(":") for one in fields[3].split(",") if one):
            yield int(fields[1]), int(fields[2]), int(shard, 16), int(count), half


def verify(lines, anchor_lines=(), pinned=None):
    """All that is wrong with an export, which is a list of parsed lines."""
    findings = []
    key = Key(pinned or next(line["public_key"] for line in lines if "public_key" in line))
    heads, shards = None, {shard: [None, []] for shard in range(256)}
    for number, line in enumerate(lines, 1):
        try:
            if line.get("public_key", key.text) != key.text:
                findings.append("the export was signed by another key")
            if "heads" in line:
                heads = line["heads"]
            elif "head" in line:
                shards[int(line["shard"], 16)][0] = line["head"]
            elif "sealed" in line:
                shards[int(line["shard"], 16)][1].append(entry(line))
        except (ValueError, KeyError, AttributeError):
            findings.append("line %d of the export can't be read" % number)
    whole = key.signed("valetkey audit heads 1", heads) if heads else None
    if whole is None and (heads or any(head for head, _ in shards.values())):
        findings.append("what is signed over all shards was changed, or is missing")
    expected, newest = {}, (0, 0)
    for standing in (whole or {"shards": []})["shards"]:
        mark, shard = standing["head"], standing["shard"]
        expected.setdefault(shard, []).append((mark["count"], ("what is signed over all shards", mark["hash"])))
        head = key.signed("valetkey audit head 1", shards[shard][0] or "")
        if head is None or head["marks"][-1]["count"] < mark["count"]:
            findings.append("shard %02x: what is signed of it is missing, or older than it should be" % shard)
    for anchor in anchors(key, anchor_lines):
        if isinstance(anchor, str):
            findings.append(anchor)
            continue
        sequence, time, shard, count, half = anchor
        newest = max(newest, (sequence, time))
        expected.setdefault(shard, []).append((count, ("an anchor of %d" % time, half)))
    if newest[0] > (whole or {"sequence": 0})["sequence"]:
        findings.append("an anchor has the number %d, and the log only %d" % (newest[0], (whole or {}).get("sequence", 0)))
    for shard, (head, entries) in shards.items():
        if head or entries or shard in expected:
            findings.extend(check_shard(shard, key, head, entries, expected.get(shard, [])))
    return findings


def main():
    parser = argparse.ArgumentParser(description="Verifies an export of Valetkey's audit log.")
    parser.add_argument("export")
    parser.add_argument("--key"), parser.add_argument("--anchors")
    args = parser.parse_args()
    lines = [json.loads(line) for line in open(args.export, encoding="utf-8") if line.strip()]
    anchor_lines = open(args.anchors, encoding="utf-8", errors="replace").readlines() if args.anchors else []
    findings = verify(lines, anchor_lines, args.key)
    for finding in findings:
        print(finding)
    print("The log is as it was signed" if not findings else "%d things are wrong" % len(findings))
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
