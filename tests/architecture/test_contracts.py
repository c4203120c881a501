"""Adapters have exactly the verbs of their port, and the package shows exactly what it promises."""

import importlib
import inspect
import pkgutil
import typing

import pytest

import penstock
from penstock import brokers, history_port, ports, worker_ports
from penstock.executors.process import ProcessExecutor
from penstock.history.store import SqlHistory
from penstock.ports import BrokerOptions

ADAPTERS = [entry.name for entry in pkgutil.iter_modules(brokers.__path__)]


def verbs(port):
    functions = {name: member for name, member in vars(port).items() if inspect.isfunction(member)}
    return {name: function for name, function in functions.items() if not name.startswith("_")}


def shape(function):
    """Names, kinds, defaults and types of the parameters, and whether to await the answer."""
    hints = typing.get_type_hints(function)
    parameters = inspect.signature(function).parameters.values()
    told = [(each.name, each.kind, each.default, hints.get(each.name)) for each in parameters]
    return told, inspect.iscoroutinefunction(function)


def assert_implements(adapter, port):
    for name, promised in verbs(port).items():
        kept = getattr(adapter, name, None)
        assert kept is not None, f"{adapter.__name__} lacks {name}"
        assert shape(kept) == shape(promised), f"{adapter.__name__}.{name}"
        answer, expected = (typing.get_type_hints(each)["return"] for each in (kept, promised))
        if expected is worker_ports.Child:
            assert_implements(answer, expected)
        else:
            assert answer == expected, f"{adapter.__name__}.{name}"


def test_there_are_ports_and_adapters_to_compare():
    assert len(verbs(ports.Broker)) > 15
    assert "sqlite" in ADAPTERS


@pytest.mark.parametrize("scheme", ADAPTERS)
def test_broker_has_every_verb_as_promised(scheme):
    connect = importlib.import_module(f"penstock.brokers.{scheme}").connect
    hints = typing.get_type_hints(connect)
    assert hints["options"] is BrokerOptions
    assert_implements(hints["return"], ports.Broker)


@pytest.mark.parametrize("scheme", ADAPTERS)
def test_broker_has_no_verb_of_its_own(scheme):
    adapter = typing.get_type_hints(importlib.import_module(f"penstock.brokers.{scheme}").connect)["return"]
    assert set(verbs(adapter)) == set(verbs(ports.Broker))


def test_executor_has_every_verb_as_promised():
    assert_implements(ProcessExecutor, worker_ports.Executor)


def test_history_has_every_verb_as_promised_and_no_other():
    assert_implements(SqlHistory, history_port.History)
    assert set(verbs(SqlHistory)) == set(verbs(history_port.History))


def test_every_verb_says_what_it_promises():
    for port in (ports.Broker, worker_ports.Executor, worker_ports.Child, history_port.History):
        for name, verb in verbs(port).items():
            assert inspect.getdoc(verb), f"{port.__name__}.{name}"


def test_public_surface():
    assert penstock.__all__ == [
        "AsyncClient",
        "Client",
        "DoNotRetry",
        "Executor",
        "JobCancelled",
        "JobFailed",
        "JobView",
        "PenstockError",
        "Progress",
        "SoftTimeout",
        "Task",
        "__version__",
        "task",
    ]
    shown = {name for name, value in vars(penstock).items() if name[0] != "_" and not inspect.ismodule(value)}
    assert shown - {"version"} == set(penstock.__all__) - {"__version__"}
    for name in penstock.__all__:
        assert getattr(penstock, name) is not None
