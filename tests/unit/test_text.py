import pytest

from penstock.core.progress import Progress
from penstock.core.text import described, encodable, printable


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_control_characters_do_not_reach_a_terminal():
    assert printable("a\x1b[2Jb\x07\x9bc\td\n") == "a\ufffd[2Jb\ufffd\ufffdc\td\n"
    assert printable("Grüße, 世界") == "Grüße, 世界"


def test_file_names_that_are_no_unicode_can_be_sent():
    assert encodable("bad \udce9").encode() == b"bad \\udce9"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("no"), "ValueError: no"),
        (ValueError(), "ValueError"),
        (Mute(), "Mute"),
        (OSError("bad \udce9"), "OSError: bad \\udce9"),
    ],
)
def test_every_error_can_be_described(error, said):
    assert described(error) == said


def test_a_progress_message_is_always_text():
    reports = []
    Progress(reports.append).update(0.5, 42)
    assert reports[0].message == "42"
