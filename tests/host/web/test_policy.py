"""Who may speak to us: the pure rules, row by row."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instar_host.web.policy import (
    Policy,
    Refusal,
    bind_refusal,
    body_refusal,
    host_refusal,
    normal_host,
    origin_refusal,
    query_refusal,
    target_refusal,
    token_refusal,
)

ALLOWED = frozenset({"phone.lan", "192.168.1.5"})
POLICY = Policy(token="right", agent_name="me")


def hosts(*values: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"host", value) for value in values]


def status(refusal: Refusal | None) -> int:
    """200 for no refusal, so that tables read as answers."""
    return 200 if refusal is None else refusal.status


@pytest.mark.parametrize(
    ("value", "answer"),
    [
        (b"127.0.0.1", 200),
        (b"127.0.0.1:4042", 200),
        (b"127.8.9.10:1", 200),
        (b"localhost", 200),
        (b"LocalHost:65535", 200),
        (b"[::1]", 200),
        (b"[::1]:4042", 200),
        (b"[0:0:0:0:0:0:0:1]:80", 200),
        (b"phone.lan:4042", 200),
        (b"PHONE.LAN", 200),
        (b"192.168.1.5:4042", 200),
        (b"evil.example", 403),
        (b"127.0.0.1.evil.example", 403),
        (b"localhost.evil.example", 403),
        (b"evil.localhost", 403),
        (b"192.168.1.6", 403),
        (b"0.0.0.0", 403),
        (b"127.1", 403),
        (b"2130706433", 403),
        (b"0x7f.0.0.1", 403),
        (b"[::ffff:127.0.0.1]", 403),
        (b"[fe80::1]", 403),
        (b"localhost.", 400),
        (b"127.0.0.1.", 400),
        (b"", 400),
        (b" 127.0.0.1", 400),
        (b"127.0.0.1 ", 400),
        (b"127.0.0.1:", 400),
        (b"127.0.0.1:0", 400),
        (b"127.0.0.1:65536", 400),
        (b"127.0.0.1:4042:1", 400),
        (b"127.0.0.1:+80", 400),
        (b"::1", 400),
        (b"[::1", 400),
        (b"[::1%25lo]", 400),
        (b"user@localhost", 400),
        (b"localhost/", 400),
        (b"localhost,evil.example", 400),
        (b"loc\xe4lhost", 400),
        ("\uff4cocalhost".encode(), 400),
    ],
)
def test_only_loopback_and_named_hosts_are_answered(value: bytes, answer: int) -> None:
    """W1: a Host header is one well-formed name that we go by, in no other spelling."""
    assert status(host_refusal(hosts(value), ALLOWED)) == answer


def test_there_is_exactly_one_host_header() -> None:
    """W1: none and two are refused even when each would do."""
    assert status(host_refusal([], ALLOWED)) == 400
    assert status(host_refusal(hosts(b"localhost", b"localhost"), ALLOWED)) == 400


@pytest.mark.parametrize(
    "target", [b"http://evil.example/health", b"http://127.0.0.1/health", b"*", b"", b"evil:443"]
)
def test_a_request_target_is_a_path(target: bytes) -> None:
    """W1: an absolute form would carry a second host."""
    assert status(target_refusal(target, target.decode())) == 400
    assert target_refusal(b"/health", "/health") is None


@pytest.mark.parametrize(
    ("headers", "answer"),
    [
        ({}, 200),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "none"}, 200),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": ""}, 403),
        ({"sec-fetch-site": "SAME-ORIGIN"}, 403),
        ({"origin": "http://localhost:4042"}, 200),
        ({"origin": "http://LOCALHOST:4042"}, 200),
        ({"origin": "null"}, 403),
        ({"origin": ""}, 403),
        ({"origin": "https://localhost:4042"}, 403),
        ({"origin": "http://localhost"}, 403),
        ({"origin": "http://localhost:4043"}, 403),
        ({"origin": "http://127.0.0.1:4042"}, 403),
        ({"origin": "http://localhost:4042.evil.example"}, 403),
        ({"origin": "http://localhost:4042", "sec-fetch-site": "cross-site"}, 403),
        ({"origin": "http://evil.example", "sec-fetch-site": "same-origin"}, 403),
    ],
)
def test_another_site_cannot_make_a_browser_speak_for_us(
    headers: dict[str, str], answer: int
) -> None:
    """W2: Sec-Fetch-Site and Origin, each on its own, are enough to refuse."""
    sent = [*hosts(b"localhost:4042"), *((k.encode(), v.encode()) for k, v in headers.items())]
    assert status(origin_refusal(sent, "http")) == answer


@pytest.mark.parametrize(
    ("host", "origin", "scheme", "answer"),
    [
        (b"ledger.lan", b"https://ledger.lan", "http", 200),
        (b"ledger.lan:8443", b"https://ledger.lan:8443", "http", 200),
        (b"ledger.lan:443", b"https://ledger.lan", "http", 200),
        (b"ledger.lan", b"https://ledger.lan:8443", "http", 403),
        (b"ledger.lan:80", b"https://ledger.lan", "http", 403),
        (b"ledger.lan", b"https://evil.example", "http", 403),
        (b"ledger.lan", b"ftp://ledger.lan", "http", 403),
        (b"ledger.lan", b"http://ledger.lan", "https", 403),
        (b"localhost", b"https://localhost", "http", 403),
        (b"phone.lan", b"https://phone.lan", "http", 403),
    ],
)
def test_our_page_behind_a_proxy_that_ends_tls_is_ours(
    host: bytes, origin: bytes, scheme: str, answer: int
) -> None:
    """Only under a name that was allowed, and never the other way round: what is not encrypted may
    have been written by anybody on the way.
    """
    sent = [(b"host", host), (b"origin", origin)]
    assert status(origin_refusal(sent, scheme, frozenset({"ledger.lan"}))) == answer


def test_a_default_port_is_the_same_origin_written_or_not() -> None:
    """W2: http means port 80 and https 443 on either side."""
    sent = [(b"host", b"phone.lan"), (b"origin", b"http://phone.lan:80")]
    assert origin_refusal(sent, "http") is None
    sent = [(b"host", b"phone.lan:443"), (b"origin", b"https://phone.lan")]
    assert origin_refusal(sent, "https") is None


@pytest.mark.parametrize(
    ("value", "answer"),
    [
        (b"Bearer right", 200),
        (b"Bearer wrong", 403),
        (b"Bearer righ", 403),
        (b"Bearer right ", 403),
        (b"Bearer  right", 403),
        (b"Bearer ", 403),
        (b"Bearer r\xefght\xff", 403),
        (b"Bearer " + b"x" * 1_000_000, 403),
        (b"bearer right", 401),
        (b"BEARER right", 401),
        (b"Bearer", 401),
        (b"Bearerright", 401),
        (b"Basic right", 401),
        (b"right", 401),
        (b"", 401),
    ],
)
def test_the_token_is_the_whole_value_after_bearer(value: bytes, answer: int) -> None:
    """W3, D8: 401 for no bearer token, 403 for a wrong one, never anything else."""
    assert status(token_refusal([(b"authorization", value)], POLICY)) == answer


def test_no_or_two_authorization_headers_are_no_token() -> None:
    """W3: two right headers are still refused; which one counts differs between programs."""
    right = (b"authorization", b"Bearer right")
    assert status(token_refusal([], POLICY)) == 401
    assert status(token_refusal([right, right], POLICY)) == 401


def test_the_refusals_use_the_words_of_the_reference() -> None:
    """D8: scripts of the original match on these sentences."""
    missing = token_refusal([], POLICY)
    wrong = token_refusal([(b"authorization", b"Bearer no")], POLICY)
    assert missing is not None
    assert wrong is not None
    assert missing.error == "Missing or invalid Authorization header"
    assert missing.headers[0][0] == "www-authenticate"
    assert wrong.error == "Invalid auth token"


@pytest.mark.parametrize(
    ("authorization", "agent", "answer", "error"),
    [
        (b"Bearer right", b"me", 200, ""),
        (b"Bearer right", None, 200, ""),
        (b"Bearer right", b"other", 403, "agent_id_mismatch"),
        (b"Bearer wrong", b"other", 403, "agent_id_mismatch"),
        (b"Bearer wrong", b"me", 403, "Invalid auth token"),
        (None, b"other", 401, "Missing or invalid Authorization header"),
        (b"bearer right", b"other", 401, "Missing or invalid Authorization header"),
    ],
)
def test_the_agent_is_checked_before_the_token_and_after_the_form(
    authorization: bytes | None, agent: bytes | None, answer: int, error: str
) -> None:
    """D8: a request meant for another agent learns so, whatever token it carries."""
    sent = [(b"authorization", authorization)] if authorization is not None else []
    sent += [(b"x-instar-agentid", agent)] if agent is not None else []
    refusal = token_refusal(sent, POLICY)
    assert status(refusal) == answer
    if refusal is not None:
        assert refusal.error == error
        assert refusal.expected == ("me" if error == "agent_id_mismatch" else None)


def test_without_a_configured_token_nobody_is_asked_for_one() -> None:
    """D8: no token configured means open, which `bind_refusal` allows on loopback only."""
    assert token_refusal([], Policy(token="")) is None


@pytest.mark.parametrize(
    "query", [b"token=right", b"a=1&access_token=x", b"TOKEN=x", b"%74oken=x", b"token", b"bearer="]
)
def test_a_token_in_the_address_is_refused(query: bytes) -> None:
    """W3: whether right or wrong, in any spelling."""
    assert status(query_refusal(query)) == 400
    assert query_refusal(b"since=0&limit=20") is None


@pytest.mark.parametrize(
    ("headers", "answer"),
    [
        ({}, 200),
        ({"content-length": "0"}, 200),
        ({"content-length": "10", "content-type": "application/json"}, 200),
        ({"content-length": "10", "content-type": "Application/JSON; charset=UTF-8"}, 200),
        ({"transfer-encoding": "chunked", "content-type": "application/json"}, 200),
        ({"content-length": "10"}, 415),
        ({"content-length": "10", "content-type": "text/plain"}, 415),
        ({"content-length": "10", "content-type": "application/x-www-form-urlencoded"}, 415),
        ({"content-length": "10", "content-type": "application/json; charset=latin-1"}, 415),
        ({"content-length": "10", "content-type": "application/json, text/plain"}, 415),
        ({"content-length": "101", "content-type": "application/json"}, 413),
        ({"content-length": "-1", "content-type": "application/json"}, 400),
        ({"content-length": "1e3", "content-type": "application/json"}, 400),
        (
            {
                "content-length": "10",
                "content-type": "application/json",
                "content-encoding": "gzip",
            },
            415,
        ),
    ],
)
def test_a_body_is_plain_json_of_bounded_length(headers: dict[str, str], answer: int) -> None:
    """W4, W5: what the headers say is enough to refuse forms, text, compression and size."""
    sent = [(k.encode(), v.encode()) for k, v in headers.items()]
    assert status(body_refusal(sent, "PATCH", 100)) == answer


def test_a_get_has_no_body() -> None:
    """W5: what nobody will read is refused rather than swallowed."""
    sent = [(b"content-length", b"10"), (b"content-type", b"application/json")]
    assert status(body_refusal(sent, "GET", 100)) == 400


@pytest.mark.parametrize(
    ("host", "token", "allow", "served"),
    [
        ("127.0.0.1", "t", (), True),
        ("127.0.0.1", "", (), True),
        ("::1", "t", (), True),
        ("localhost", "t", (), True),
        ("0.0.0.0", "t", ("phone.lan",), True),
        ("0.0.0.0", "t", (), False),
        ("0.0.0.0", "", ("phone.lan",), False),
        ("::", "", (), False),
        ("192.168.1.5", "t", (), False),
        ("", "t", ("phone.lan",), False),
        ("not a host", "t", ("phone.lan",), False),
    ],
)
def test_other_machines_are_let_in_only_on_purpose(
    host: str, token: str, allow: tuple[str, ...], *, served: bool
) -> None:
    """W13: beyond loopback it takes a token and a list of names."""
    policy = Policy(token=token, allow_hosts=frozenset(allow))
    assert (bind_refusal(host, policy) is None) is served


@pytest.mark.parametrize("name", ["a b", "", "name:80", "name.", "[::1]:80", "na/me", "ä.lan"])
def test_an_allowed_host_is_a_bare_name(name: str) -> None:
    """A name with a port or a slash would never match; it is refused where it is given."""
    with pytest.raises(ValueError, match=r"not a host name|does not appear"):
        normal_host(name)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                [
                    b"host",
                    b"origin",
                    b"authorization",
                    b"content-length",
                    b"content-type",
                    b"sec-fetch-site",
                ]
            ),
            st.binary(max_size=40),
        )
    ),
    st.binary(max_size=60),
)
def test_no_header_makes_the_guard_stumble(
    headers: list[tuple[bytes, bytes]], query: bytes
) -> None:
    """Every rule answers any bytes with a refusal or None."""
    host_refusal(headers, ALLOWED)
    origin_refusal(headers, "http")
    token_refusal(headers, POLICY)
    body_refusal(headers, "POST", 100)
    query_refusal(query)
