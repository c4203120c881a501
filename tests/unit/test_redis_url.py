"""Broker URLs for Redis: every form that the settings page names, and clear refusals without a password."""

import importlib
import re
from pathlib import Path

import pytest

from penstock.app.broker import make_broker, without_password
from penstock.brokers.redis.url import parse
from penstock.core.errors import ErrorCode, PenstockError
from penstock.ports import BrokerOptions
from penstock.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "settings.md"
OPTION = re.compile(r"`(\w+)=[^`]+`")


def understood(url, **expected):
    """Check the fields of a URL's target that are named."""
    target = parse(url, "ns")
    assert {name: getattr(target, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("rest", "addresses", "database"),
    [
        ("host", [("host", 6379)], 0),
        ("host:7000", [("host", 7000)], 0),
        ("host/3", [("host", 6379)], 3),
        ("host:7000/3?replicas=0", [("host", 7000)], 3),
        ("10.0.0.1:7000/", [("10.0.0.1", 7000)], 0),
        ("[::1]", [("::1", 6379)], 0),
        ("[2001:db8::7]:7000/2", [("2001:db8::7", 7000)], 2),
        ("user:pass@[::1]:7000", [("::1", 7000)], 0),
        (":7000", [("localhost", 7000)], 0),
        ("HOST.Example:7000", [("host.example", 7000)], 0),
    ],
)
@pytest.mark.parametrize("scheme", ["redis", "rediss", "valkey", "valkeys"])
def test_one_server(scheme, rest, addresses, database):
    understood(
        f"{scheme}://{rest}",
        kind="alone",
        addresses=tuple(addresses),
        database=database,
        tls=scheme.endswith("s") and scheme != "redis",
        replicas=0,
        namespace="ns",
    )


@pytest.mark.parametrize(
    ("rest", "addresses", "database"),
    [
        ("a/main", [("a", 26379)], 0),
        ("a,b:7000,[::1],[::2]:7001/main/4", [("a", 26379), ("b", 7000), ("::1", 26379), ("::2", 7001)], 4),
        ("u:p@a,b/main/0", [("a", 26379), ("b", 26379)], 0),
    ],
)
@pytest.mark.parametrize("scheme", ["redis", "rediss", "valkey", "valkeys"])
def test_sentinels_name_the_primary_of_a_service(scheme, rest, addresses, database):
    understood(
        f"{scheme}+sentinel://{rest}",
        kind="sentinel",
        addresses=tuple(addresses),
        service="main",
        database=database,
        tls=scheme in {"rediss", "valkeys"},
        replicas=1,
    )


@pytest.mark.parametrize("path", ["", "/", "/0"])
@pytest.mark.parametrize("scheme", ["redis", "rediss", "valkey", "valkeys"])
def test_a_cluster_has_one_database(scheme, path):
    understood(
        f"{scheme}+cluster://a,b:7000,[::1]:7001{path}",
        kind="cluster",
        addresses=(("a", 6379), ("b", 7000), ("::1", 7001)),
        database=0,
        tls=scheme in {"rediss", "valkeys"},
        replicas=0,
    )


@pytest.mark.parametrize(
    ("who", "username", "password"),
    [
        ("", None, None),
        ("secret@", "secret", None),
        (":secret@", None, "secret"),
        ("ada:secret@", "ada", "secret"),
        (":p%40ss%2Fw%3Ard%3F%23%5B%25@", None, "p@ss/w:rd?#[%"),
        ("%C3%A4da:gr%C3%BC%C3%9Fe%20%2B+@", "äda", "grüße ++"),
        ("ada:a:b@", "ada", "a:b"),
    ],
)
@pytest.mark.parametrize("rest", ["host/0", "a,b"])
def test_user_and_password(who, username, password, rest):
    scheme = "redis+cluster" if "," in rest else "redis"
    understood(f"{scheme}://{who}{rest}", username=username, password=password)


def test_options():
    understood(
        "rediss+sentinel://a/main?namespace=n.s-1_x&replicas=2&tls_ca=%2Fca.crt&tls_cert=/c.crt&tls_key=/c.key"
        "&tls_verify=false&sentinel_username=eve&sentinel_password=p%26%3Dss%2B",
        namespace="n.s-1_x",
        replicas=2,
        tls_ca="/ca.crt",
        tls_cert="/c.crt",
        tls_key="/c.key",
        tls_verify=False,
        sentinel_username="eve",
        sentinel_password="p&=ss+",
    )


def test_without_options_certificates_are_checked_and_the_setting_names_the_namespace():
    understood("rediss://host", tls_verify=True, tls_ca=None, namespace="ns", sentinel_password=None)
    understood("redis+sentinel://a/main?replicas=0", replicas=0)


def test_the_settings_page_names_every_option():
    table = PAGE.read_text().partition("Options follow after `?`")[2].partition("\n## ")[0]
    named = {name for row in table.splitlines() if row.startswith("|") for name in OPTION.findall(row)}
    with pytest.raises(PenstockError) as refused:
        parse("redis://host?nosuch=1", "ns")
    assert set(refused.value.message.partition("may stand ")[2].split(", ")) == named


@pytest.mark.parametrize("scheme", ["redis", "rediss", "valkey", "valkeys"])
def test_every_scheme_has_an_adapter(scheme):
    broker = importlib.import_module(f"penstock.brokers.{scheme}").connect(
        f"{scheme}://host", BrokerOptions(), lambda: 0
    )
    assert broker._link.base == "{penstock}"


BAD = [
    "redis://",
    "redis:///0",
    "redis://,",
    "redis://a,b/0",
    "redis://host:port/0",
    "redis://host:-1/0",
    "redis://host:65536/0",
    "redis://host/zero",
    "redis://host/-1",
    "redis://host/0/1",
    "redis://host/\N{ARABIC-INDIC DIGIT THREE}",
    "redis://[::1",
    "redis://host?replicas=many",
    "redis://host?tls_verify=perhaps",
    "redis://host?namespace=a{b}",
    "redis://host?namespace=two%20words",
    "redis://host?nosuch=1",
    "redis://host#1",
    "redis+sentinel://a",
    "redis+sentinel://a/",
    "redis+sentinel://a/main/x",
    "redis+sentinel://a/main/0/1",
    "redis+cluster://a/1",
    "redis+cluster://",
    "redis+nosuch://host",
]


@pytest.mark.parametrize("url", BAD)
def test_a_url_that_makes_no_sense_is_refused(url):
    with pytest.raises(PenstockError, match=r"^broker URL: ") as refused:
        parse(url, "ns")
    assert refused.value.code is ErrorCode.INVALID_REQUEST


@pytest.mark.parametrize(
    "url",
    [
        "redis://:se/cret@host:6379/0",
        "redis://user:1/cret@host/0",
        "redis://:se?cret@host:6379/0",
        "redis://:se?cr&et@host:6379/0",
        "redis://:se#cret@host:6379/0",
        "redis://user:1#cret@host:6379/0",
        "redis://:se[cret@host:6379/0",
        "redis://:se]cret@host:6379/0",
        "redis+sentinel://user:1/cret@host/main",
        "redis+cluster://a,:cret,b/0",
        "redis:cret@host",
        ":cret@host:6379",
        "redis+nosuch://:cret@host",
        "nosuch://:cret@host",
        "redis://:cret@host/zero",
        "redis://:cret@host?cret=1",
    ],
)
def test_no_refusal_repeats_a_password(url):
    with pytest.raises(PenstockError) as refused:
        make_broker(Settings(broker_url=url), None)
    assert refused.value.code is ErrorCode.INVALID_REQUEST
    assert "cr" not in refused.value.message.lower().replace("%2f", "")


def test_a_url_is_shown_without_user_password_and_options():
    shown = without_password("redis+sentinel://ada:p%40ss@a,b/main/0?sentinel_password=x")
    assert shown == "redis+sentinel://a,b/main/0"
