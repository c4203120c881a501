"""What a task refuses, asked in one line."""

import pytest

from penstock.core.errors import ErrorCode, PenstockError


def refusal(task, params) -> dict[str, str]:
    """Field and problem of everything that is wrong with ``params``."""
    with pytest.raises(PenstockError) as refused:
        task.parse(params)
    assert refused.value.code is ErrorCode.VALIDATION_ERROR
    return {each["field"]: each["problem"] for each in refused.value.details["fields"]}
