"""Settings: read as people write them, refused by name, and documented one by one."""

import re
import socket
from pathlib import Path

import pytest
from pydantic import ValidationError

from penstock.core.errors import PenstockError
from penstock.machine import available_cpus, available_memory
from penstock.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "settings.md"
ROW = re.compile(r"^\| `PENSTOCK_(?P<name>\w+)` \| (?P<default>.*?) \| (?P<meaning>.*?) \|$", re.MULTILINE)


@pytest.fixture(autouse=True)
def _clean(monkeypatch, tmp_path):
    """No setting of whoever runs the tests, neither from the environment nor from an .env file."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"PENSTOCK_{name.upper()}", raising=False)
    for name in ("HTTP_ADDR", "QUEUE_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def read(monkeypatch, name, written):
    monkeypatch.setenv(f"PENSTOCK_{name.upper()}", written)
    return getattr(Settings(), name)


def documented():
    rows = [match.groupdict() for match in ROW.finditer(PAGE.read_text())]
    return [row | {"name": row["name"].lower()} for row in rows]


def test_page_and_code_name_the_same_settings():
    names = [row["name"] for row in documented()]
    assert len(names) == len(set(names))
    assert set(names) == set(Settings.model_fields)


@pytest.mark.parametrize("row", documented(), ids=lambda row: row["name"])
def test_page_tells_meaning_and_default(row, monkeypatch):
    field = Settings.model_fields[row["name"]]
    assert row["meaning"] == field.description
    default = getattr(Settings(), row["name"])
    if row["default"].startswith("`"):
        assert read(monkeypatch, row["name"], row["default"].strip("`")) == default
    elif row["default"] == "none":
        assert default in (None, ())
    else:
        assert field.default_factory is not None


def test_defaults_that_the_machine_decides():
    settings = Settings()
    assert settings.node == socket.gethostname()
    assert settings.slots == available_cpus() >= 1
    assert settings.slot_memory == int(available_memory() * 0.8 / settings.slots)
    assert Settings(memory_limit="1GiB").slot_memory == 2**30


@pytest.mark.parametrize(
    ("written", "milliseconds"),
    [("500ms", 500), ("2", 2_000), ("1.5", 1_500), ("10s", 10_000), ("5m", 300_000), (" 2 h ", 7_200_000)],
)
def test_durations(monkeypatch, written, milliseconds):
    assert read(monkeypatch, "lease", written) == milliseconds


@pytest.mark.parametrize(
    ("written", "size"), [("4096", 4_096), ("8MiB", 8 * 2**20), ("1.5kb", 1_500), ("2 GB", 2_000_000_000)]
)
def test_sizes(monkeypatch, written, size):
    assert read(monkeypatch, "max_body", written) == size


@pytest.mark.parametrize(
    ("written", "names"),
    [("a", ("a",)), ("a,b", ("a", "b")), ("a, b", ("a", "b")), ("a b", ("a", "b")), (" ,a,, ", ("a",))],
)
def test_lists(monkeypatch, written, names):
    assert read(monkeypatch, "queues", written) == names


def test_in_code_durations_are_milliseconds_and_sizes_bytes():
    settings = Settings(lease=700, max_body=2_048, queues=("a", "b"))
    assert (settings.lease, settings.max_body, settings.queues) == (700, 2_048, ("a", "b"))


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("lease", "soon"),
        ("lease", "0"),
        ("lease", "-5s"),
        ("lease", "5 fortnights"),
        ("lease", "100ms"),
        ("lease", ""),
        ("lease", "nan"),
        ("drain", "0s"),
        ("max_body", "a lot"),
        ("max_body", "0"),
        ("max_body", "1023"),
        ("memory_limit", "-1GiB"),
        ("queues", ""),
        ("queues", " , "),
        ("port", "65536"),
        ("port", "http"),
        ("slots", "0"),
        ("slots", "1025"),
        ("node", "two words"),
        ("node", ""),
        ("node", "a/b"),
        ("recycle_after", "0"),
        ("insecure", "perhaps"),
        ("api_keys", "app:submit:secret"),
        ("rate_limit", "often"),
        ("rate_burst", "0"),
        ("trusted_proxies", "somewhere"),
        ("cors_origins", "*"),
        ("cors_origins", "https://app.example/path"),
        ("hsts", "soon"),
        ("log_format", "xml"),
        ("log_level", "loud"),
    ],
)
def test_what_cannot_be_understood_is_refused_by_name(monkeypatch, name, written):
    with pytest.raises(ValidationError) as refused:
        read(monkeypatch, name, written)
    assert [error["loc"][0] for error in refused.value.errors()] == [name]


def test_every_wrong_setting_is_named_at_once(monkeypatch):
    monkeypatch.setenv("PENSTOCK_PORT", "x")
    monkeypatch.setenv("PENSTOCK_LEASE", "x")
    with pytest.raises(ValidationError) as refused:
        Settings()
    assert {error["loc"][0] for error in refused.value.errors()} == {"port", "lease"}


def test_env_file_is_read_and_the_environment_wins(monkeypatch, tmp_path):
    (tmp_path / ".env").write_text("PENSTOCK_PORT=1234\nPENSTOCK_NODE=filed\nSOMETHING_ELSE=1\n")
    monkeypatch.setenv("PENSTOCK_NODE", "environment")
    settings = Settings()
    assert (settings.port, settings.node) == (1234, "environment")


def test_given_values_win_over_the_environment(monkeypatch):
    monkeypatch.setenv("PENSTOCK_PORT", "1234")
    assert Settings(port=4321).port == 4321


def test_settings_do_not_change():
    with pytest.raises(ValidationError):
        Settings().port = 1


@pytest.mark.parametrize(
    ("written", "host", "port"),
    [
        (":8080", "127.0.0.1", 8080),
        ("0.0.0.0:8080", "0.0.0.0", 8080),
        ("localhost:0", "localhost", 0),
        ("[::1]:8080", "::1", 8080),
        ("[::]:80", "::", 80),
        ("10.0.0.1", "10.0.0.1", 8000),
        ("", "127.0.0.1", 8000),
    ],
)
def test_http_addr(monkeypatch, written, host, port):
    monkeypatch.setenv("HTTP_ADDR", written)
    settings = Settings()
    assert (settings.host, settings.port) == (host, port)


def test_own_names_win_over_http_addr_each_for_itself(monkeypatch):
    monkeypatch.setenv("HTTP_ADDR", "10.0.0.1:8080")
    monkeypatch.setenv("PENSTOCK_PORT", "1234")
    assert (Settings().host, Settings().port) == ("10.0.0.1", 1234)
    monkeypatch.setenv("PENSTOCK_HOST", "127.0.0.2")
    assert (Settings().host, Settings(port=4321).port) == ("127.0.0.2", 4321)


@pytest.mark.parametrize("written", ["8080:", ":", ":http", ":65536", "a b:80", "::1:80", "http://a:80"])
def test_an_http_addr_that_cannot_be_understood_is_named(monkeypatch, written):
    monkeypatch.setenv("HTTP_ADDR", written)
    with pytest.raises(PenstockError, match="HTTP_ADDR"):
        Settings()


@pytest.mark.parametrize(
    ("named", "queues", "served"),
    [
        (None, None, ("default", "messages")),
        ("mail", None, ("default", "mail")),
        ("mail", "long", ("long", "mail")),
        ("mail", "mail,long", ("mail", "long")),
        ("", "long", ("long",)),
        (None, "long", ("long",)),
    ],
)
def test_a_worker_serves_the_queue_of_messages(monkeypatch, named, queues, served):
    for name, value in (("QUEUE_NAME", named), ("PENSTOCK_QUEUES", queues)):
        if value is not None:
            monkeypatch.setenv(name, value)
    assert Settings().queues == served


@pytest.mark.parametrize("queues", [None, "long"])
def test_a_queue_name_that_is_none_is_named(monkeypatch, queues):
    monkeypatch.setenv("QUEUE_NAME", "two words")
    if queues:
        monkeypatch.setenv("PENSTOCK_QUEUES", queues)
    with pytest.raises(PenstockError, match="QUEUE_NAME: 'two words'"):
        Settings()
