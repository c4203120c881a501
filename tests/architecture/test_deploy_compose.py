"""The containers of deploy/compose.yaml are as small, shut in and looked after as is promised."""

import ipaddress
import re

import pytest

from penstock.core.units import milliseconds, size
from penstock.settings import Settings
from support.deployment import DEPLOY, ROOT, compose, services

SERVICES = services()
APIS = ["api1", "api2", "api3"]
MADE_LOCALLY = {"./.secrets/metrics.key"}


def memory(text):
    """Bytes, as container engines read them: a thousand is 1024 to them."""
    return size(f"{text}ib")


every = pytest.mark.parametrize("name", SERVICES)


def test_all_are_there():
    own = {"nginx", *APIS, "worker", "redis", "postgres", "page"}
    monitoring = {name for name, service in SERVICES.items() if service.get("profiles") == ["monitoring"]}
    assert monitoring == {"prometheus", "grafana"}
    assert set(SERVICES) == own | monitoring
    assert all("profiles" not in SERVICES[name] for name in own)


@every
def test_has_limits(name):
    service = SERVICES[name]
    assert 64 * 2**20 <= memory(service["mem_limit"]) <= 2 * 2**30
    assert 0 < float(service["cpus"]) <= 1, "more than one CPU is refused by a machine with one"
    assert 0 < service["pids_limit"] <= 1024


@every
def test_is_looked_after(name):
    service, probe = SERVICES[name], SERVICES[name]["healthcheck"]
    assert service["restart"] == "unless-stopped"
    assert probe["test"][0] in {"CMD", "CMD-SHELL"}
    assert len(probe["test"]) > 1
    assert milliseconds(probe["timeout"]) < milliseconds(probe["interval"]) <= 10_000
    assert milliseconds(probe["start_period"]) >= 30_000
    assert probe["retries"] == 3
    assert service["logging"] == {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}}


@every
def test_is_shut_in(name):
    service = SERVICES[name]
    user, _, group = service["user"].partition(":")
    assert int(user) > 0 < int(group), "nobody is root"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.keys() & {"privileged", "cap_add", "network_mode", "pid", "ipc", "devices"}
    assert not any("docker.sock" in volume for volume in service.get("volumes", ()))


@every
def test_volumes_are_there_and_files_cannot_be_changed(name):
    for volume in SERVICES[name].get("volumes", ()):
        source, _, *mode = volume.split(":")
        if source.startswith("."):
            assert mode == ["ro"], volume
            assert source in MADE_LOCALLY or (DEPLOY / source).exists(), source
        else:
            assert source in compose()["volumes"]


def test_every_volume_is_used():
    used = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", ())}
    assert set(compose()["volumes"]) <= used


def test_networks_part_what_need_not_meet():
    found = {name: set(service["networks"]) for name, service in SERVICES.items()}
    assert found == {
        "nginx": {"frontend"},
        **{key: {"frontend", "backend", "monitoring"} for key in APIS},
        **{key: {"backend"} for key in ("worker", "redis", "postgres")},
        "page": {"frontend", "backend"},
        **{key: {"monitoring"} for key in ("prometheus", "grafana")},
    }
    assert compose()["networks"]["backend"] == {"internal": True}


def test_only_the_front_door_can_be_opened_to_others():
    def ports(given):
        found = compose(given)["services"].items()
        return {name: service["ports"] for name, service in found if "ports" in service}

    expected = {
        "nginx": ["127.0.0.1:8080:8080"],
        "page": ["127.0.0.1:8501:8501"],
        "prometheus": ["127.0.0.1:9090:9090"],
        "grafana": ["127.0.0.1:3000:3000"],
    }
    assert ports({}) == expected
    assert ports({"BIND": "0.0.0.0", "PORT": "80"}) == expected | {"nginx": ["0.0.0.0:80:8080"]}


def test_an_api_asks_for_keys_and_believes_nginx_alone():
    text = (DEPLOY / "compose.yaml").read_text()
    door = SERVICES["nginx"]["networks"]["frontend"]["ipv4_address"]
    for name in APIS:
        settings = SERVICES[name]["environment"]
        assert settings["PENSTOCK_API_KEYS"] == "<PENSTOCK_API_KEYS>"
        assert settings["PENSTOCK_TRUSTED_PROXIES"] == door
        assert "--insecure" not in SERVICES[name]["command"]
    assert "PENSTOCK_INSECURE" not in text
    for secret in (
        "PENSTOCK_API_KEYS",
        "PAGE_KEY",
        "REDIS_PASSWORD",
        "POSTGRES_PASSWORD",
        "GRAFANA_PASSWORD",
    ):
        followed_by = re.findall(rf"\$\{{{secret}(..)", text)
        assert set(followed_by) == {":?"}, f"{secret} has no value of its own, here or anywhere"


def test_the_door_finds_the_apis_wherever_they_move():
    addresses = {name: SERVICES[name]["networks"]["frontend"]["ipv4_address"] for name in APIS}
    told = dict(entry.split(":") for entry in SERVICES["nginx"]["extra_hosts"])
    assert told == addresses
    servers = re.findall(
        r"^server ([\w.]+):8000 ", (DEPLOY / "nginx" / "upstream.conf").read_text(), re.MULTILINE
    )
    assert servers == APIS
    (network,) = compose()["networks"]["frontend"]["ipam"]["config"]
    spare = ipaddress.ip_network(network["ip_range"])
    fixed = [*addresses.values(), SERVICES["nginx"]["networks"]["frontend"]["ipv4_address"]]
    assert len(set(fixed)) == 4
    for address in map(ipaddress.ip_address, fixed):
        assert address in ipaddress.ip_network(network["subnet"])
        assert address not in spare, "nobody else may be given it"


def test_three_workers_unless_told_otherwise():
    assert SERVICES["worker"]["scale"] == 3
    assert compose({"WORKERS": "5"})["services"]["worker"]["scale"] == 5
    assert "container_name" not in SERVICES["worker"]
    assert not SERVICES["worker"].get("ports")


def test_what_stops_has_the_time_it_needs():
    drain_ms = Settings.model_fields["drain"].default
    assert milliseconds(SERVICES["worker"]["stop_grace_period"]) >= drain_ms + 10_000
    assert all(milliseconds(SERVICES[name]["stop_grace_period"]) >= 10_000 for name in APIS)


def test_redis_keeps_everything_and_has_room_to_rewrite_its_log():
    conf = (DEPLOY / "redis.conf").read_text()
    lines = dict(line.split(" ", 1) for line in conf.splitlines() if line and not line.startswith("#"))
    assert lines["appendonly"] == "yes"
    assert lines["appendfsync"] == "everysec"
    assert lines["save"] == '""'
    assert lines["maxmemory-policy"] == "noeviction"
    assert 2 * size(lines["maxmemory"]) <= memory(SERVICES["redis"]["mem_limit"])


def test_what_can_be_told_is_in_the_guide():
    guide = (ROOT / "docs" / "guides" / "containers.md").read_text()
    asked = "".join((DEPLOY / name).read_text() for name in ("compose.yaml", "local.sh"))
    told = set(re.findall(r"\$\{([A-Z_]+):[-+]", asked))
    assert {"WORKERS", "PORT", "PROFILE", "ENGINE"} <= told
    assert {name for name in told if not re.search(rf"\b{name}\b", guide)} == set()
