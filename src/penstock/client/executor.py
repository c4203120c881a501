"""`Executor`: the interface of ``concurrent.futures`` over jobs; code for process pools moves over."""

import atexit
import os
import sys
import weakref
from collections.abc import Iterable
from concurrent import futures
from types import TracebackType
from typing import Any

from penstock.client.blocking import Client
from penstock.client.calls import Wanted, unservable, wanted
from penstock.client.dispatch import Connection, Dispatch
from penstock.client.own_node import OwnNode, refuse_within
from penstock.core.task import Task

PATIENCE_S = 60.0

_living: "weakref.WeakSet[Dispatch]" = weakref.WeakSet()


class Executor(futures.Executor):
    """Runs `@task` functions as jobs; in the place of a ``ProcessPoolExecutor``.

    ``url`` is a node's address, by default PENSTOCK_URL. Without one, the first call starts a node on this
    machine, with ``max_workers`` slots and the tasks of the called function's module and of ``modules``
    (import names or .py files). It ends with the executor and forgets its jobs. A node at an address has
    slots and modules of its own. ``api_key``: see `Client`. For ``patience_s`` a node that does not answer is
    asked again, then futures fail. ``options`` are the fields of `SubmitOptions`, for every job.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        *,
        url: str | None = None,
        api_key: str | None = None,
        modules: Iterable[str] = (),
        patience_s: float = PATIENCE_S,
        **options: Any,
    ) -> None:
        if max_workers is not None and max_workers < 1:
            raise ValueError("max_workers must be at least 1")
        address, modules = url or os.environ.get("PENSTOCK_URL") or None, tuple(modules)
        if address is None:
            refuse_within()

        def connect(first: Wanted) -> Connection:
            if address is not None:
                return Client(address, api_key=api_key, patience_s=patience_s), None
            return _own(first, modules, max_workers, patience_s)

        self._dispatch = Dispatch(connect, options)
        _living.add(self._dispatch)
        weakref.finalize(self, self._dispatch.close).atexit = False  # see `_at_exit`

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> futures.Future[Any]:
        """The future of ``fn(*args, **kwargs)``, a `@task` function or the name of a task: a `JobFuture`.

        Raises TypeError for what is no task or for arguments that do not fit, VALIDATION_ERROR for values
        that do not, RuntimeError after `shutdown`.
        """
        return self._dispatch.put(wanted(fn, args, kwargs))

    # `map` is inherited; its ``chunksize`` changes nothing, as jobs are always sent in batches.

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> bool | None:
        if kind is not None and not issubclass(kind, Exception):
            self._dispatch.cancel_all()  # Ctrl-C: what a pool's processes run ends with it, too
        return super().__exit__(kind, error, where)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more. With ``cancel_futures`` only what runs already is done, else all that was taken.

        ``wait``: return when that has happened, and the executor's own node has ended.
        """
        self._dispatch.close()
        if cancel_futures:
            self._dispatch.cancel_waiting()
        if wait:
            self._dispatch.join()


def _own(first: Wanted, modules: Iterable[str], slots: int | None, patience_s: float) -> Connection:
    named = [*dict.fromkeys([*modules, *([first.module] if first.module else [])])]
    for problem in filter(None, map(unservable, named)):
        raise problem
    node = OwnNode(named, sorted({"default", first.queue, *_queues()}), slots)
    try:
        node.wait_until_ready()
        return Client(node.url, patience_s=patience_s), node.stop
    except BaseException:
        node.stop()
        raise


def _queues() -> set[str]:
    """The queues of all tasks that this process has imported."""
    values = [value for module in [*sys.modules.values()] for value in [*vars(module).values()]]
    return {value.queue for value in values if isinstance(value, Task)}


@atexit.register
def _at_exit() -> None:
    """Finish what was taken, as executors of the standard library do."""
    dispatches = [*_living]
    for dispatch in dispatches:
        dispatch.close()
    for dispatch in dispatches:
        dispatch.join()
