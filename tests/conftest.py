"""What all tests share lies in ``support`` and ``conformance/kit``; pytest finds both on its path."""

import pytest

pytest.register_assert_rewrite("support", "kit")
