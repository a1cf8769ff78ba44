"""Credentials never get past redaction; what merely looks random does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instar_threadline.bridge.hygiene import clean_body
from instar_threadline.bridge.redact import RedactionError, redact, redact_with

SECRETS = {
    "anthropic-key": "sk-ant-" + "api03-" + "A1b2C3d4E5f6G7h8I9j0K1l2M3n4",
    "openai-key": "sk-" + "proj-" + "Abcdefghijklmnop1234567890",
    "aws-access-key": "AKIA" + "IOSFODNN7EXAMPLE",
    "github-token": "ghp_" + "a1B2" * 9,
    "github-pat": "github_pat_" + "A1b2c3d4_" * 6,
    "gitlab-token": "glpat-" + "A1b2C3d4E5f6G7h8I9j0",
    "slack-token": "xoxb-" + "1234567890-abcdefghij",
    "google-key": "AIza" + "SyA1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q",
    "stripe-key": "sk_" + "live_" + "A1b2C3d4E5f6G7h8I9j0K1l2",
    "huggingface-token": "hf_" + "AbCdEfGhIjKlMnOpQrStUvWxYzAbCdEfGh",
    "npm-token": "npm_" + "A1b2" * 9,
    "telegram-token": "123456789:" + "AAEhBOweik9ai2o01ABCdefGHIjklMNOpqr",
    "jwt": "eyJhbGciOiJIUzI1NiJ9."
    "eyJzdWIiOiIxMjM0NTY3ODkwIn0."
    "dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
    "bearer-token": "Bearer " + "abcdefghijklmnopqrstuvwxyz0123",
    "private-key": "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nabc\n-----END RSA PRIVATE KEY-----",
    "password": 'password = "correct-horse-battery"',
}
DECOYS = [
    "commit 3f786850e387550fdab836ed7e6dc881de23001b",
    "fingerprint a1b2c3d4e5f60718293a4b5c6d7e8f90",
    "id 6ba7b810-9dad-11d1-80b4-00c04fd430c8",
    "The password is in the vault; ask for the token there.",
    "risk-free-approach-to-task-scheduling-of-agents",
    "2026-11-22T10:00:00.000Z 12:34:56 127.0.0.1:4042",
    "def token(self) -> str: return self._token",
]


@pytest.mark.parametrize(("kind", "secret"), SECRETS.items())
@pytest.mark.parametrize("around", ["{}", "use {}, please", "KEY={}\nnext", "({})"])
def test_known_formats_are_taken_out(kind: str, secret: str, around: str) -> None:
    """A credential of a known provider is replaced wherever it stands, and counted by kind."""
    result = redact(around.format(secret))
    assert secret not in result.text
    assert sum(result.counts.values()) >= 1
    assert "⟦redacted:" in result.text


@pytest.mark.parametrize("decoy", DECOYS)
def test_what_people_need_to_read_stays(decoy: str) -> None:
    """Hashes, ids, times and prose are not mistaken for credentials."""
    assert redact(decoy).text == decoy


def test_an_invisible_character_within_a_secret_hides_nothing() -> None:
    """What is shown has no controls and no directions: without them it would be whole again."""
    key, own = "ghp_" + "a1B2" * 9, "a passphrase of this host"
    for split in ("\u200e", "\x00", "\u202e", "\x1b"):
        hidden = f"{key[:9]}{split}{key[9:]} {own[:9]}{split}{own[9:]}"
        shown = clean_body(redact(hidden, [own]).text)
        assert key not in shown
        assert own not in shown


def test_a_web_token_within_a_word_is_taken_out() -> None:
    """Also when something with a dash stands right before it."""
    token = SECRETS["jwt"]
    assert token not in redact(f"my-session-{token}").text


def test_url_userinfo_is_taken_out() -> None:
    """The password of a URL goes, its host stays."""
    assert redact("postgres://app:hunter22@db/x").text == "postgres://⟦redacted:url-password⟧@db/x"


@given(
    st.text(min_size=8, max_size=40).filter(lambda s: s.strip() and "⟦" not in s),
    st.text(),
    st.text(),
)
def test_a_secret_of_this_host_never_leaves(secret: str, before: str, after: str) -> None:
    """A known secret is gone from any text, exactly, wherever it stands."""
    assert secret not in redact(before + secret + after, [secret]).text.replace(
        "⟦redacted:known-secret⟧", "\x00"
    )


@given(st.text())
def test_redaction_is_stable(text: str) -> None:
    """Redacting twice changes nothing more."""
    once = redact(text).text
    assert redact(once).text == once


def test_redactors_are_chained_and_counted() -> None:
    """Each further redactor sees what the one before it left, and is counted when it changed
    something.
    """
    chain = [("a", lambda text: text.replace("x", "y")), ("b", lambda text: text.replace("y", "z"))]
    result = redact_with("x", chain)
    assert (result.text, dict(result.counts)) == ("z", {"by a": 1, "by b": 1})


def test_a_redactor_cannot_bring_a_secret_back() -> None:
    """What a redactor returns is redacted once more."""
    key = "ghp_" + "a1B2" * 9
    assert key not in redact_with("", [("evil", lambda _text: key)]).text


@pytest.mark.parametrize("answer", [None, 7, b"bytes"])
def test_nonsense_from_a_redactor_blocks_the_message(answer: object) -> None:
    """A redactor that does not answer with a text blocks the message, and the error shows none
    of it.
    """
    with pytest.raises(RedactionError, match="bad") as caught:
        redact_with("the secret text", [("bad", lambda _text: answer)])  # type: ignore[list-item,return-value]
    assert "secret text" not in str(caught.value)


def test_an_error_of_a_redactor_blocks_the_message() -> None:
    """A redactor that raises blocks the message; its own words, which may quote the text, are
    dropped.
    """

    def broken(text: str) -> str:
        raise ValueError(text)

    with pytest.raises(RedactionError) as caught:
        redact_with("the secret text", [("broken", broken)])
    assert caught.value.__cause__ is None
    assert "secret text" not in str(caught.value)


def test_a_long_text_costs_linear_time() -> None:
    """A megabyte that begins many patterns and finishes none does not hang redaction."""
    for bait in ("a:", "sk-", "eyJ", "-eyJ", "://a", "-----BEGIN ", "password="):
        redact(bait * (200_000 // len(bait)))
