"""``penstock keys``: made once, listed without what is secret, revoked by name or id."""

import hashlib
import json

import pytest
from typer.testing import CliRunner

from penstock.cli.main import app
from penstock.core.keys import from_entry

pytestmark = pytest.mark.slow


@pytest.fixture
def penstock(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PENSTOCK_BROKER_URL", f"sqlite:///{tmp_path / 'penstock.db'}")
    monkeypatch.delenv("PENSTOCK_URL", raising=False)

    def run(*arguments):
        return CliRunner().invoke(app, [*map(str, arguments)])

    return run


def test_a_key_is_printed_once_and_only_its_hash_is_kept(penstock, tmp_path):
    made = penstock("keys", "create", "app", "--role", "submit")
    assert made.exit_code == 0, made.output
    text = made.stdout.strip()
    assert text.startswith("pk_")
    listed = penstock("keys", "list", "--json")
    (key,) = json.loads(listed.stdout)
    assert key | {"created_at": ""} == {
        "name": "app",
        "id": text.split("_")[1],
        "role": "submit",
        "client": "app",
        "sees": "own",
        "weight": 1,
        "max_running": None,
        "created_at": "",
    }
    secret = text.split("_", 2)[2].encode()
    digest = hashlib.sha256(text.encode()).hexdigest().encode()
    kept = b"".join(file.read_bytes() for file in tmp_path.glob("penstock.db*") if file.is_file())
    assert digest in kept
    assert secret not in kept
    assert digest.decode() not in listed.stdout + penstock("keys", "list").stdout


def test_options_of_a_key(penstock):
    options = ("--sees", "all", "--client", "team", "--weight", 4, "--max-running", 2)
    made = json.loads(penstock("keys", "create", "app", "--role", "submit", *options, "--json").stdout)
    told = {"client": "team", "sees": "all", "weight": 4, "max_running": 2}
    assert told.items() <= made.items()
    assert made["key"].startswith(f"pk_{made['id']}_")


def test_what_a_key_allows_holds_for_its_client(penstock):
    penstock("keys", "create", "free", "--role", "submit")
    options = ("--client", "team", "--weight", 4, "--max-running", 2)
    penstock("keys", "create", "app", "--role", "submit", *options)
    rows = [line.split() for line in penstock("clients").stdout.splitlines()]
    assert [row for row in rows if row[0] in {"team", "free"}] == [["team", "2", "4"]]


@pytest.mark.parametrize("by", ["name", "id"])
def test_revoking(penstock, by):
    made = json.loads(penstock("keys", "create", "app", "--role", "read", "--json").stdout)
    penstock("keys", "create", "other", "--role", "read")
    assert penstock("keys", "revoke", made[by]).exit_code == 0
    assert [key["name"] for key in json.loads(penstock("keys", "list", "--json").stdout)] == ["other"]
    again = penstock("keys", "revoke", made[by], "--json")
    assert (again.exit_code, json.loads(again.stdout)["error"]["code"]) == (4, "NOT_FOUND")


def test_a_detached_key_is_an_entry_of_the_setting_and_stored_nowhere(penstock):
    made = json.loads(penstock("keys", "create", "app", "--role", "read", "--detached", "--json").stdout)
    assert from_entry(made["entry"]).digest == hashlib.sha256(made["key"].encode()).hexdigest()
    assert json.loads(penstock("keys", "list", "--json").stdout) == []
    assert (
        f"PENSTOCK_API_KEYS={'app:read:'}"
        in penstock("keys", "create", "app", "--role", "read", "--detached").stdout
    )


@pytest.mark.parametrize("arguments", [("two words", "--role", "read"), ("app",), ("app", "--role", "owner")])
def test_wrong_usage(penstock, arguments):
    assert penstock("keys", "create", *arguments).exit_code == 2


def test_a_name_is_used_once(penstock):
    penstock("keys", "create", "app", "--role", "read")
    assert penstock("keys", "create", "app", "--role", "admin").exit_code == 1


def test_commands_on_the_brokers_own_machine_need_no_key(penstock):
    penstock("keys", "create", "app", "--role", "read")
    assert penstock("jobs", "--json").exit_code == 0
