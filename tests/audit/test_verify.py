"""Ten thousand ways of tampering with an exported log, by a fixed seed: the independent verifier finds each. The export is made by
the test that runs this (tests/it/audit.rs), and named by VALETKEY_AUDIT_EXPORT; its anchors by VALETKEY_AUDIT_ANCHORS."""

import copy
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

import verify

WAYS = 10_000


@pytest.fixture(scope="module")
def export():
    lines = Path(os.environ["VALETKEY_AUDIT_EXPORT"]).read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def anchors():
    return Path(os.environ["VALETKEY_AUDIT_ANCHORS"]).read_text().splitlines()


def flip(text, dice):
    at = dice.randrange(len(text))
    other = dice.choice([letter for letter in "0123456789abcdefXYZ_-{}\"\n" if letter != text[at]])
    return text[:at] + other + text[at + 1 :]


def tamper(lines, dice):
    """Changes the export; says how."""
    entries = [at for at, line in enumerate(lines) if "sealed" in line]
    signed = [at for at, line in enumerate(lines) if "head" in line or "heads" in line]
    way, at = dice.randrange(100), dice.choice(entries)
    if way < 50:
        lines[at]["sealed"] = flip(lines[at]["sealed"], dice)
    elif way < 58:
        lines[at]["id"] = flip(lines[at]["id"], dice)
    elif way < 64:
        time, nth = lines[at]["position"].split("-")
        lines[at]["position"] = "%d-%s" % (int(time) ^ 1 << dice.randrange(20), nth)
    elif way < 80:
        del lines[at]
    elif way < 90:
        same = [other for other in entries if lines[other]["shard"] == lines[at]["shard"] and other != at]
        other = dice.choice(same or [other for other in entries if other != at])
        for part in ("id", "sealed"):
            lines[at][part], lines[other][part] = lines[other][part], lines[at][part]
    elif way < 94:
        lines[at]["shard"] = "%02x" % ((int(lines[at]["shard"], 16) + 1 + dice.randrange(255)) % 256)
    elif way < 98:
        at = dice.choice(signed)
        name = "head" if "head" in lines[at] else "heads"
        lines[at][name] = flip(lines[at][name], dice)
    else:
        del lines[dice.choice(signed)]
    return "way %d at line %d" % (way, at + 1)


def test_the_export_is_as_it_was_signed(export, anchors):
    assert sum("sealed" in line for line in export) > 20
    assert verify.verify(export, anchors) == []


def test_ten_thousand_ways_of_tampering_are_all_found(export, anchors):
    dice = random.Random(20261129)
    for number in range(WAYS):
        lines = [dict(line) for line in export]
        way = tamper(lines, dice)
        assert lines != export
        assert verify.verify(lines, anchors), "%d: %s is not found" % (number, way)


def test_a_log_that_was_put_back_whole_is_found_by_its_anchors(export, anchors):
    emptied = [line for line in export if "public_key" in line]
    assert verify.verify(emptied) == []
    assert verify.verify(emptied, anchors)


def test_another_key_is_told_from_the_one_that_was_noted(export):
    noted = copy.deepcopy(export[0])["public_key"]
    assert verify.verify(export, pinned=noted) == []
    assert verify.verify(export, pinned="d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")


def test_the_command_says_it_by_its_exit_code(export, tmp_path):
    script = Path(verify.__file__)
    run = lambda file: subprocess.run([sys.executable, script, file], capture_output=True, text=True)
    good = run(os.environ["VALETKEY_AUDIT_EXPORT"])
    assert (good.returncode, good.stdout) == (0, "The log is as it was signed\n")
    cut = tmp_path / "cut.jsonl"
    entry = next(at for at, line in enumerate(export) if "sealed" in line)
    cut.write_text("\n".join(json.dumps(line) for at, line in enumerate(export) if at != entry))
    bad = run(cut)
    assert bad.returncode == 1 and "instead of" in bad.stdout
