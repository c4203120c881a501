"""How a server is set up so that it may lose or delete jobs, said in words for its operator."""

import hiredis

from penstock.brokers.redis.line import Line, ask


async def dangers(line: Line) -> tuple[str, ...]:
    """Warnings about this server; none if it does not let us look. Raises OSError while it loads its data."""
    found: dict[str, str] = {}
    try:
        for section in ("persistence", "memory"):
            text = (await ask(line, "INFO", section)).decode()
            found |= dict(each.split(":", 1) for each in text.splitlines() if ":" in each)
    except hiredis.ReplyError:
        return ()
    if found.get("loading") == "1":  # it would also say that it has no append-only file
        raise ConnectionError("is still loading its data")
    return tuple(_warnings(found))


def _warnings(found: dict[str, str]) -> list[str]:
    warnings = []
    if found.get("aof_enabled") == "0":
        warnings.append("appendonly is off: a restart of the server forgets jobs; set it to yes")
    if found.get("aof_last_write_status", "ok") != "ok":
        warnings.append("the server could not write its append-only file; is its disk full?")
    policy = found.get("maxmemory_policy", "noeviction")
    if found.get("maxmemory", "0") != "0" and policy != "noeviction":
        warnings.append(f"maxmemory-policy {policy} deletes jobs when memory is short; set it to noeviction")
    return warnings
