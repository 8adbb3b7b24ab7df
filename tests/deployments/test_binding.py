"""Beyond this machine nobody comes without a password; what browsers send is known."""

from __future__ import annotations

import socket

import pytest

from deployments.binding import Access, address_of, check_access, free_port, is_loopback, origin_of
from mmpipe.errors import ConfigError


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "prefect.example.org", "128.0.0.1"])
def test_no_open_door_without_a_password(host: str) -> None:
    with pytest.raises(ConfigError, match="--shared"):
        check_access(Access(host=host), has_database=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_this_machine_alone_needs_none(host: str) -> None:
    assert is_loopback(host)
    check_access(Access(host=host), has_database=False)


@pytest.mark.parametrize(
    ("access", "has_database", "word"),
    [
        (Access(is_shared=True), False, "--postgres"),
        (Access(is_shared=True, host="0.0.0.0"), True, "--url"),
        (Access(is_shared=True, host="::"), True, "--url"),
        (Access(url="https://prefect.example.org"), True, "goes with --shared"),
        (Access(is_shared=True, url="prefect.example.org"), True, "is not like"),
        (Access(is_shared=True, url="https://prefect.example.org/path"), True, "is not like"),
    ],
)
def test_what_cannot_work_or_is_not_safe_is_refused(access: Access, has_database: bool, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        check_access(access, has_database=has_database)


@pytest.mark.parametrize(
    ("access", "origin", "address"),
    [
        (Access(), "http://127.0.0.1:4200", "http://127.0.0.1:4200"),
        (Access(is_shared=True, host="192.0.2.7"), "http://192.0.2.7:4200", "http://192.0.2.7:4200"),
        (Access(is_shared=True, host="2001:db8::7"), "http://[2001:db8::7]:4200", "http://[2001:db8::7]:4200"),
        (
            Access(is_shared=True, host="0.0.0.0", url="https://prefect.example.org/"),
            "https://prefect.example.org",
            "http://127.0.0.1:4200",
        ),
    ],
)
def test_browsers_and_clients_have_their_addresses(access: Access, origin: str, address: str) -> None:
    check_access(access, has_database=True)
    assert origin_of(access, 4200) == origin
    assert address_of(4200, access.host) == address


def test_a_taken_port_is_passed_over() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port(5200)))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_port(port) > port


def test_an_address_that_is_not_ours_is_said() -> None:
    with pytest.raises(ConfigError, match=r"192\.0\.2\.77: cannot listen there"):
        free_port(5200, "192.0.2.77")
