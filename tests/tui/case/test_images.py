"""Which files of the spool are the images of a result, and what is said when they cannot be read."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scanside.runtime.appliance.config import Config
from scanside.runtime.appliance.store import worklist
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.errors import InputError
from scanside.runtime.images.read import read_image
from scanside.runtime.images.write import write_mask
from scanside.tui.case import images as case_images
from scanside.tui.case.data import CaseData, read_case
from scanside.tui.case.images import ImageCache, Wanted, read_wanted, wanted_by_rules
from tests.runtime.study.tiny_study import DWI_GRID, T2W_GRID, images
from tests.support.sentences import assert_one_sentence
from tests.tui.case.made import latest


def data_of(config: Config) -> CaseData:
    with Database(config.database) as database:
        return read_case(database, config, worklist.cases(database)[0].case_id)


def wanted(data: CaseData, sequence: str) -> Wanted:
    return next(one for one in data.wanted if one.sequence == sequence)


@pytest.mark.parametrize("sequence", ["t2w", "dwi", "adc"])
def test_the_image_that_was_used_is_the_one_that_is_shown(reviewed: Config, sequence: str) -> None:
    """DWI with b = 50 and 800 is one series: the high b-value is the one of the result."""
    data = data_of(reviewed)
    assert [one.sequence for one in data.wanted] == ["t2w", "dwi", "adc"]
    shown = read_wanted(wanted(data, sequence))
    expected = images()[sequence]
    assert np.array_equal(shown.stack.image, expected.data[0]), "axial already: nothing is turned"
    assert shown.stack.geometry.difference(T2W_GRID if sequence == "t2w" else DWI_GRID) is None
    assert shown.caution is None and shown.stack.lesions is not None
    role = "t2w" if sequence == "t2w" else "dwi"
    mask = read_image(reviewed.results / str(data.case.result) / f"{role}_mask.nii.gz")
    assert np.array_equal(shown.stack.lesions > 0, mask.data[0] > 0)


def test_before_there_is_a_result_the_rules_choose(reviewed: Config) -> None:
    data = data_of(reviewed)
    found = wanted_by_rules(data.instances, reviewed.spool, data.case.case_id)
    assert {one.sequence: one.b for one in found} == {"t2w": None, "b0": 50.0, "dwi": 800.0, "adc": None}
    by_rules = read_wanted(next(one for one in found if one.sequence == "dwi"))
    assert np.array_equal(by_rules.stack.image, images()["dwi"].data[0])
    assert by_rules.stack.lesions is None and by_rules.caution is None


def test_a_file_that_is_cut_off_is_a_sentence_without_folders(own: Config) -> None:
    one = wanted(data_of(own), "t2w")
    one.files[3].write_bytes(one.files[3].read_bytes()[:2000])
    with pytest.raises(InputError) as caught:
        read_wanted(one)
    assert_one_sentence(str(caught.value), "5 't2_tse_tra_fs'", one.files[3].name)
    assert str(own.service.data) not in str(caught.value)


def test_a_slice_that_is_missing_is_a_sentence(own: Config) -> None:
    one = wanted(data_of(own), "t2w")
    gone = replace(one, files=tuple(file for n, file in enumerate(one.files) if n != 4))
    with pytest.raises(InputError) as caught:
        read_wanted(gone)
    assert_one_sentence(str(caught.value), "5 't2_tse_tra_fs'")
    with pytest.raises(InputError, match="no longer in the spool"):
        read_wanted(replace(one, files=()))
    one.files[0].unlink()
    with pytest.raises(InputError, match="5 't2_tse_tra_fs'"):
        read_wanted(one)


def test_without_its_outline_an_image_is_still_shown(own: Config) -> None:
    one = wanted(data_of(own), "t2w")
    mask = one.masks[0][0]
    other = replace(T2W_GRID, origin=(0.0, 0.0, 0.0))
    write_mask(np.zeros(T2W_GRID.shape, np.uint8), other, mask)
    shown = read_wanted(one)
    assert shown.stack.lesions is None and shown.caution is not None and "origin" in shown.caution
    mask.write_bytes(b"rubbish")
    assert "There is no outline: t2w_mask.nii.gz" in str(read_wanted(one).caution)
    mask.unlink()
    assert read_wanted(one).caution == "There is no outline: t2w_mask.nii.gz is missing."


def test_images_are_read_once_and_only_so_many_are_kept(
    reviewed: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = data_of(reviewed)
    t2w, dwi = wanted(data, "t2w"), wanted(data, "dwi")
    reads: list[str] = []
    real = case_images.read_wanted
    monkeypatch.setattr(case_images, "read_wanted", lambda one: reads.append(one.sequence) or real(one))
    roomy = ImageCache()
    first = roomy.read(t2w, 1)
    assert roomy.read(t2w, 1) is first and reads == ["t2w"]
    assert roomy.read(t2w, 2) is not first, "the files have changed"
    narrow = ImageCache(room=first.stack.nbytes + 1)
    narrow.read(t2w, 1)
    narrow.read(dwi, 1)
    assert len(narrow) == 1 and narrow.nbytes <= first.stack.nbytes + 1
    tiny = ImageCache(room=1)
    assert tiny.read(t2w, 1) is tiny.read(t2w, 1), "the one that is looked at is kept, however large"


def test_a_damaged_report_is_a_sentence_and_the_rest_is_read(own: Config) -> None:
    data = data_of(own)
    path = own.results / str(data.case.result) / "result.json"
    for content, words in ((b"{", "damaged"), (b'{"schema": "other/9"}', "schema"), (None, "cannot be read")):
        path.unlink() if content is None else path.write_bytes(content)
        broken = data_of(own)
        assert broken.report is None and broken.trouble is not None
        assert_one_sentence(broken.trouble, "result.json", words)
        assert {one.sequence for one in broken.wanted} >= {"t2w", "dwi"}, "by the rules"
        assert broken.items and broken.history


def test_deleted_images_are_not_looked_for(own: Config) -> None:
    case_id = data_of(own).case.case_id
    with Database(own.database) as database, database.transaction() as write:
        write.execute("UPDATE studies SET deleted = 1")
    data = data_of(own)
    assert latest(own, case_id).deleted is not None
    assert data.wanted == () and "deleted after retention" in str(data.no_images) and data.report is None


def test_a_case_that_is_not_there_is_an_error(reviewed: Config, tmp_path: Path) -> None:
    with Database(reviewed.database) as database, pytest.raises(InputError, match="NOONE"):
        read_case(database, reviewed, "NOONE")
