"""A reference set as CSV files: what is written is read, and what is wrong is told by file, row and field."""

import pytest

from penstock.tasks.habitat.files import read_folder, write_folder
from penstock.tasks.habitat.problems import BadReference
from penstock.tasks.habitat.reference import assemble, packaged, packaged_rows


@pytest.fixture
def folder(tmp_path):
    write_folder(tmp_path, packaged_rows())
    return tmp_path


def change(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_what_is_written_is_read(folder):
    assert assemble(read_folder(folder)) == packaged()


def test_a_spreadsheets_byte_order_mark_is_no_part_of_the_header(folder):
    path = folder / "banks.csv"
    path.write_text(path.read_text(), encoding="utf-8-sig")
    assert assemble(read_folder(folder)) == packaged()


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda f: (f / "srm.csv").unlink(), "srm, file: No such file"),
        (lambda f: (f / "srm.csv").write_bytes(b"\xff\xfe\x00"), "srm, file: is no CSV in UTF-8"),
        (lambda f: (f / "srm.csv").write_text('tier,srm\n"local,1\n'), "srm, file: is no CSV"),
        (lambda f: (f / "srm.csv").write_text(""), "srm, header: must be tier,srm"),
        (
            lambda f: change(f / "banks.csv", "bank,lpa,nca", "bank,lpa"),
            "banks, header: must be bank,lpa,nca",
        ),
        (
            lambda f: change(f / "srm.csv", "adjacent,0.75", "adjacent,0.75,9"),
            "srm, row 2, row: has too many",
        ),
        (lambda f: change(f / "srm.csv", "adjacent,0.75", "adjacent"), "srm, row 2, srm: is missing"),
    ],
)
def test_a_file_that_is_no_table_is_refused(folder, harm, told):
    harm(folder)
    with pytest.raises(BadReference, match=told):
        read_folder(folder)
