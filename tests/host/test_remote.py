"""Asking the holder of the lease: over what it speaks, at the address it wrote down."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from instar_host import LeaseHeld
from instar_host.lease import Holder
from instar_host.remote import RemoteHost
from tests.loopback import LoopbackServer, QuietHandler, running

CERTIFICATE = Path(__file__).with_name("loopback_tls.pem")


class Echo(QuietHandler):
    """Says what it was asked, and with which token."""

    def get(self) -> None:
        """As JSON."""
        said = f'["{self.path}", "{self.headers["authorization"]}"]'
        self.answer(200, said.encode(), content_type="application/json")


def encrypted(server: LoopbackServer) -> LoopbackServer:
    """`server`, speaking TLS with a certificate that nobody signed, for another name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return server


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_holder_is_asked_over_what_it_speaks(scheme: str) -> None:
    """An application with TLS of its own was said to answer no HTTP."""
    server = LoopbackServer(Echo)
    with running(encrypted(server) if scheme == "https" else server) as there:
        address = f"{scheme}://127.0.0.1:{there.server_address[1]}/instar"
        answer = RemoteHost(Holder(pid=7, address=address), "t").get("/plugins")
    assert answer == ["/instar/plugins", "Bearer t"]


@pytest.mark.parametrize("address", [None, "", "http://", "http://[", "http://x:99999", "ftp://x"])
def test_an_address_that_is_none_is_an_answer_in_words(address: str | None) -> None:
    """Whatever stands in the lease's file."""
    with pytest.raises(LeaseHeld, match="process 7 holds the lease and answers no HTTP"):
        RemoteHost(Holder(pid=7, address=address), "t").get("/plugins")


def test_tls_asked_of_a_holder_that_speaks_none_is_no_answer() -> None:
    """In words again, and nothing was sent in the clear."""
    with running(LoopbackServer(Echo)) as there:
        address = f"https://127.0.0.1:{there.server_address[1]}"
        with pytest.raises(LeaseHeld, match="does not answer at https://"):
            RemoteHost(Holder(pid=7, address=address), "t").get("/plugins")
