"""System E from outside: three equal nodes behind nginx, one store, and three names on every sum."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from support.nginx import Nginx
from support.redis_server import RedisServer
from support.wait import until

pytestmark = pytest.mark.slow

NAMES = ["alpha", "beta", "gamma"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("wizard")


@pytest.fixture(scope="module")
def redis(folder):
    with RedisServer(folder) as server:
        yield server


def start(make_node, redis):
    """Three nodes, each API and worker at once."""
    nodes = [make_node(node=name, broker_url=redis.url("wizard"), slots=1, wait=False) for name in NAMES]
    for node in nodes:
        node.wait_ready()
    return nodes


def test_three_equal_nodes_say_who_did_what_and_forget_nothing(make_node, redis, tmp_path):
    nodes = start(make_node, redis)
    front = Nginx(tmp_path, [node.port for node in nodes])
    with front, httpx.Client(base_url=front.url, timeout=60) as door:
        assert until(lambda: _answering(door, "/whoami", "node"), what="every node answers") == set(NAMES)
        _directly(door)
        _refusals(door)
        _diagnosis(nodes)
        done = _in_the_background(door)
        begun = _started_on(nodes[0], done)
        for node in nodes:
            assert node.stop() == 0
        for node in nodes:
            node.launch()
        for node in nodes:
            node.wait_ready()
        _still_there(door, done, begun)


def _directly(door):
    busy = set()

    def all_are_busy():
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda n: door.get(f"/add?a={n}&b=0.5&cost_s=0.05"), range(24)))
        assert [answer.json()["sum"] for answer in answers] == [n + 0.5 for n in range(24)]
        busy.update(answer.json()["handled_by"] for answer in answers)
        return busy == set(NAMES)

    until(all_are_busy, what="every node took some")
    late = door.request("GET", "/add?a=1&b=2&cost_s=30&wait=0.2")
    assert (late.status_code, late.json()["error"]["code"]) == (504, "TASK_TIMEOUT")


def _refusals(door):
    for method, path, status in [
        ("GET", "/add?a=1", 400),
        ("POST", "/task?a=1&b=two", 400),
        ("POST", "/task?a=1&b=2&operation=divide", 400),
        ("GET", "/tasks/nobody/status", 404),
    ]:
        answer = door.request(method, path)
        assert answer.status_code == status, (path, answer.text)
        assert answer.json()["error"]["message"]


def _diagnosis(nodes):
    for node in nodes:
        told = httpx.get(f"{node.url}/valkey_test", timeout=30).json()
        assert (told["node"], told["ping"], told["matches"]) == (node.name, True, True)


def _in_the_background(door):
    """Dozens of sums until several nodes were asked and several did some. What was told of each, by id."""
    done = {}

    def shared():
        done.update(_a_dozen(door))
        return all(len({told[who] for told in done.values()}) > 1 for who in ("initiated_by", "handled_by"))

    until(shared, what="several nodes took some")
    some = next(iter(done))
    everybody = until(
        lambda: _answering(door, f"/tasks/{some}/status", "checked_by"), what="every node looked"
    )
    assert everybody == set(NAMES), "whoever answers is named"
    return done


def _answering(door, path, who):
    """The names in some answers, if every node is among them."""
    names = {door.request("GET", path).json()[who] for _ in range(12)}
    return names if names >= set(NAMES) else None


def _a_dozen(door):
    """Sums with a cost; each is asked for until it is complete. What was told of each, by id."""
    begun = [door.request("POST", f"/task?a={n}&b={n}&cost_s=0.05") for n in range(12)]
    assert {answer.status_code for answer in begun} == {202}
    initiators = {answer.json()["task_id"]: answer.json()["initiated_by"] for answer in begun}
    done = {}
    for answer in begun:
        path = answer.headers["location"]
        told = until(lambda path=path: _complete(door.request("GET", path).json()), what=path)
        done[told["task_id"]] = told
        assert told["initiated_by"] == initiators[told["task_id"]]
    assert sorted(told["result"] for told in done.values()) == [2 * n for n in range(12)]
    return done


def _complete(told):
    assert told["status"] in {"pending", "complete"}, told
    return told if told["status"] == "complete" else None


def _started_on(node, done):
    """A sum that takes a while, asked for at one node, as the others come to a stop."""
    told = httpx.post(f"{node.url}/task?a=20&b=22&cost_s=0.5", timeout=30).json()
    assert (told["status"], told["initiated_by"]) == ("pending", node.name)
    assert told["task_id"] not in done
    return told


def _still_there(door, done, begun):
    for task_id, before in done.items():
        after = door.request("GET", f"/tasks/{task_id}/status").json()
        assert after | {"checked_by": ""} == before | {"checked_by": ""}
    path = f"/tasks/{begun['task_id']}/status"
    told = until(lambda: _complete(door.request("GET", path).json()), what="the sum of before")
    assert (told["result"], told["initiated_by"]) == (42, begun["initiated_by"])
