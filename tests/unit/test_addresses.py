"""Only trusted proxies may say for whom they ask."""

import pytest

from penstock.core.addresses import counted, networks, origin

TRUSTED = networks(["10.0.0.0/8", "fd00::/8", "192.0.2.7"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("203.0.113.5", [], "203.0.113.5"),
        ("203.0.113.5", ["198.51.100.1"], "203.0.113.5"),  # a stranger says what he likes
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6, 198.51.100.1"], "198.51.100.1"),  # the client wrote the first itself
        ("10.0.0.1", ["6.6.6.6, 198.51.100.1, 10.9.9.9"], "198.51.100.1"),
        (
            "10.0.0.1",
            ["6.6.6.6, 198.51.100.1, 192.0.2.7"],
            "198.51.100.1",
        ),  # ends with a proxy's own, as on Fly.io
        ("10.0.0.1", ["6.6.6.6", "198.51.100.1"], "198.51.100.1"),  # two headers are one list
        ("10.0.0.1", ["10.0.0.2, 10.0.0.3"], "10.0.0.2"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["unknown"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1, garbage"], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("fd00::1", ["[2001:db8::1]"], "2001:db8::1"),
        ("192.0.2.7", ["198.51.100.1"], "198.51.100.1"),
        ("192.0.2.8", ["198.51.100.1"], "192.0.2.8"),
        ("unknown", ["198.51.100.1"], "unknown"),
    ],
)
def test_origin(peer, forwarded, expected):
    assert origin(peer, forwarded, TRUSTED) == expected


def test_nobody_is_trusted_by_default():
    assert origin("127.0.0.1", ["198.51.100.1"], ()) == "127.0.0.1"


def test_addresses_of_one_customer_count_as_one():
    assert counted("2001:db8:1:2:3::4") == counted("2001:db8:1:2::ffff") == "2001:db8:1:2::/64"
    assert counted("2001:db8:1:3::4") != counted("2001:db8:1:2::4")
    assert counted("::ffff:1.2.3.4") == counted("1.2.3.4") == "1.2.3.4"
    assert counted("unknown") == "unknown"


def test_a_wrong_network_is_named():
    with pytest.raises(ValueError, match="somewhere"):
        networks(["somewhere"])
