"""Times as people write them on the command line."""

from datetime import UTC, datetime, timedelta

from penstock.core.units import milliseconds


def moment(text: str) -> str:
    """A time, or how long ago that is."""
    try:
        ago = timedelta(milliseconds=milliseconds(text))
    except ValueError:
        return text  # the node says what is wrong with it, if anything is
    return (datetime.now(UTC) - ago).isoformat()
