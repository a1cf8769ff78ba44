"""The MAC of a line and of the chain: golden vectors, meaning, injectivity."""

from __future__ import annotations

import hmac
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from instar_threadline.record import signing

TOKEN = "test-auth-token"
KEY = signing.derive_key(TOKEN)
INBOX = {
    "id": "m-1",
    "timestamp": "2026-05-01T10:00:00.000Z",
    "from": "fp-dawn",
    "senderName": "Dawn ☀ é",
    "trustLevel": "trusted",
    "threadId": "t-1",
    "text": 'line1\nline2\t"q" \\ / \u2028 \u0001 \u007f \U0001f600',
}
OUTBOX = {
    "id": "o-1",
    "timestamp": "2026-05-01T10:00:01.000Z",
    "from": "echo",
    "senderName": "echo",
    "trustLevel": "self",
    "threadId": "t-1",
    "text": "reply",
    "to": "fp-dawn",
    "recipientName": "Dawn",
}


def test_keys_are_derived_as_the_format_says() -> None:
    """Golden vectors: the key of a token, and of the empty one (which the keyring refuses)."""
    assert KEY.hex() == "55cea32823e91d2c38913e2aa45c0af729c9a38242de7f016f4543950827a247"
    empty = "0c5b67fc02a613d4abbe69129ae6a9e15517b6c614a5b95a52e08671ded46eae"
    assert signing.derive_key("").hex() == empty


def test_lines_are_signed_as_the_format_says() -> None:
    """Golden vectors: inbox, outbox, outbox with an outcome."""
    vectors = (
        (INBOX, "cdbbf2e083628585fbaffc1540b6c26d07fa37c1e71292de800778e28c964def"),
        (OUTBOX, "f39fc3f1959e7beab4ff3d13e16326e0a657b0ecab9aaeb9fa3826fb0a3478e7"),
        (
            {**OUTBOX, "outcome": "relay-sent"},
            "16df996883853068bf3b704664638845c02a6b2bd8d18baa3b01736906dd50d2",
        ),
    )
    for members, mac in vectors:
        line, signed = signing.sign(members, KEY)
        assert signed == mac
        assert signing.verifies(line, KEY)
        assert json.loads(line) == {**members, "hmac": mac}


def test_order_is_part_of_the_signature() -> None:
    """A record whose members stand in another order does not verify."""
    line, _ = signing.sign(INBOX, KEY)
    members = json.loads(line)
    turned = dict(reversed(members.items()))
    assert not signing.verifies(json.dumps(turned).encode(), KEY)


def test_another_spelling_of_the_same_members_verifies() -> None:
    """One MAC per meaning: spaces and escapes do not matter, the members and their order do."""
    line, _ = signing.sign(INBOX, KEY)
    assert signing.verifies(json.dumps(json.loads(line), ensure_ascii=True, indent=1).encode(), KEY)


def test_a_lone_surrogate_is_signed_as_javascript_writes_it() -> None:
    """E-01: text cut through an emoji verifies in a line that escapes the lone half."""
    body = {"id": "x", "text": "cut \ud83d"}
    line, _ = signing.sign(body, KEY)
    assert b"\\ud83d" in line
    assert signing.verifies(line, KEY)
    assert signing.whole_text(body["text"]) == "cut \ufffd"


def test_a_line_verifies_until_a_word_of_it_changes() -> None:
    """D7-5, D7-6, D7-8: untouched yes; another text, or another token's key, no."""
    line, _ = signing.sign(INBOX, KEY)
    assert signing.verifies(line, KEY)
    changed = json.dumps(json.loads(line) | {"text": "something else"}).encode()
    assert not signing.verifies(changed, KEY)
    assert not signing.verifies(line, signing.derive_key("another token"))


def test_what_is_no_record_does_not_verify() -> None:
    """D7-7: garbage, null, a missing, short or foreign MAC: false, never an exception."""
    line, mac = signing.sign(INBOX, KEY)
    bad = (
        b"", b"null", b"[]", b"{}", b'{"hmac":1}',
        b'{"hmac":"deadbeef"}', b"\xff\xfe", b"[" * 100_000,
        line.replace(mac.encode(), b"deadbeef" * 8), line.replace(b"m-1", b"m-2"), line[:-1],
        line.replace(mac.encode(), mac.upper().encode()), b'{"hmac":"\xc3\xa9"}',
    )  # fmt: skip
    assert not any(signing.verifies(one, KEY) for one in bad)
    assert not signing.verifies(line, signing.derive_key("another token"))


def test_every_flipped_bit_breaks_a_line() -> None:
    """S2, one line: no single flipped bit leaves a line that verifies."""
    line, _ = signing.sign({**INBOX, "text": "plain words"}, KEY)
    for at in range(len(line)):
        for bit in range(8):
            flipped = bytearray(line)
            flipped[at] ^= 1 << bit
            assert not signing.verifies(bytes(flipped), KEY), (at, bit)


@given(st.binary(max_size=64), st.binary(max_size=300))
def test_a_prepared_key_gives_the_same_mac(key: bytes, body: bytes) -> None:
    """What is done once a key is HMAC-SHA256, whatever the key and the body; also twice."""
    mac = signing.LineMac(key)
    expected = hmac.digest(key, body, "sha256").hex()
    assert (mac.hex(body), mac.hex(body)) == (expected, expected)


FIELD = st.one_of(st.integers(), st.binary(max_size=6), st.text(max_size=6))


@given(st.lists(FIELD, max_size=4), st.lists(FIELD, max_size=4))
def test_packing_is_injective(one: list[Any], other: list[Any]) -> None:
    """S8: two different sequences of fields are never the same bytes to sign."""
    same = [(type(f), f) for f in one] == [(type(f), f) for f in other]
    assert (signing.packed(*one) == signing.packed(*other)) == same


@given(st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=30), max_size=6))
def test_what_is_signed_verifies_and_reads_back(members: dict[str, str]) -> None:
    """Any members of any text sign, verify and read back as they were."""
    members.pop("hmac", None)
    line, _ = signing.sign(members, KEY)
    assert b"\n" not in line
    assert signing.verifies(line, KEY)
    assert {k: v for k, v in json.loads(line).items() if k != "hmac"} == members
