"""Which picture is made of which file: trees are kept, nothing collides, what systems leave behind is passed over."""

import time
from pathlib import Path

import pytest
from PIL import Image

from lwisp.errors import InputError
from lwisp.planning import plan


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def outputs(*sources: Path, output: Path | None, **options: object) -> list[str]:
    """Paths of the outputs below the folder that all are below."""
    jobs = plan(list(sources), output, None, **options)  # type: ignore[arg-type]
    top = output or sources[0]
    return [job.output.relative_to(top).as_posix() for job in jobs]


def test_a_folder_is_searched_with_those_below_and_its_tree_is_kept(tmp_path: Path) -> None:
    photos = tmp_path / "Photos"
    touch(photos / "a.dng", photos / "2025" / "May" / "b.NEF", photos / "2025" / "notes.txt", photos / "2026" / "b.nef")
    found = ["2025/May/b.jpg", "2026/b.jpg", "a.jpg"]
    assert outputs(photos, output=tmp_path / "Out") == found
    assert outputs(photos, output=tmp_path / "Out", recursive=False) == ["a.jpg"]
    assert outputs(photos, output=None) == ["2025/May/b-lwisp.jpg", "2026/b-lwisp.jpg", "a-lwisp.jpg"]


def test_of_several_folders_each_keeps_its_tree_under_its_name(tmp_path: Path) -> None:
    touch(tmp_path / "A" / "100" / "x.dng", tmp_path / "B" / "100" / "x.dng", tmp_path / "c.dng")
    sources = tmp_path / "A", tmp_path / "B", tmp_path / "c.dng"
    assert outputs(*sources, output=tmp_path / "Out") == ["A/100/x.jpg", "B/100/x.jpg", "c.jpg"]


def test_what_systems_leave_behind_is_passed_over(tmp_path: Path) -> None:
    photos = tmp_path / "Photos"
    touch(photos / "._a.DNG", photos / ".hidden.dng", photos / ".trash" / "x.dng", photos / "@eaDir" / "a.dng")
    touch(photos / "__MACOSX" / "a.dng", photos / "a.dng")
    (photos / "folder.dng").mkdir()
    assert outputs(photos, output=tmp_path / "Out") == ["a.jpg"]
    touch(photos / "folder.dng" / "b.dng")
    assert outputs(photos, output=tmp_path / "Out") == ["a.jpg", "folder.dng/b.jpg"]


def test_links_to_folders_are_not_followed_so_that_a_circle_ends(tmp_path: Path) -> None:
    photos = tmp_path / "Photos"
    touch(photos / "a.dng")
    (photos / "again").symlink_to(photos)
    assert outputs(photos, output=tmp_path / "Out") == ["a.jpg"]


def test_the_folder_of_the_pictures_is_not_searched(tmp_path: Path) -> None:
    touch(tmp_path / "a.png", tmp_path / "sub" / "b.png", tmp_path / "Out" / "a.png")
    suffixes = frozenset([".png"])
    assert outputs(tmp_path, output=tmp_path / "Out", suffixes=suffixes) == ["a.jpg", "sub/b.jpg"]
    assert len(outputs(tmp_path, output=tmp_path, suffixes=suffixes)) == 3


def test_files_of_one_stem_get_names_that_tell_them_apart(tmp_path: Path) -> None:
    touch(tmp_path / "IMG.CR2", tmp_path / "IMG.NEF", tmp_path / "other.NEF")
    assert outputs(tmp_path, output=tmp_path / "Out") == ["IMG_CR2.jpg", "IMG_NEF.jpg", "other.jpg"]
    assert outputs(tmp_path, output=None) == ["IMG_CR2-lwisp.jpg", "IMG_NEF-lwisp.jpg", "other-lwisp.jpg"]


def test_files_of_one_name_in_several_folders_are_told_apart_by_these(tmp_path: Path) -> None:
    files = [tmp_path / "A" / "x.dng", tmp_path / "B" / "x.dng", tmp_path / "B" / "x.nef"]
    touch(*files)
    assert outputs(*files[:2], output=tmp_path / "Out") == ["A_x.jpg", "B_x.jpg"]
    assert outputs(*files, output=tmp_path / "Out") == ["A_x_dng.jpg", "B_x_dng.jpg", "B_x_nef.jpg"]


def test_whatever_is_left_alike_is_numbered(tmp_path: Path) -> None:
    """Names that are one to a file system without case, in one folder; and a name that is taken already."""
    files = [tmp_path / "x.dng", tmp_path / "X.dng", tmp_path / "x-2.dng"]
    touch(*files)
    names = outputs(*files, output=tmp_path / "Out")
    assert len({name.lower() for name in names}) == 3
    assert names[2] == "x-2.jpg"


def dated(path: Path, moment: str) -> Path:
    tags = Image.Exif()
    tags[271], tags[272] = "Acme", "Box/1"
    tags.get_ifd(0x8769)[36867] = moment
    tags.get_ifd(0x8769)[34855] = 400
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(path, exif=tags)
    return path


def test_names_are_made_from_a_template(tmp_path: Path) -> None:
    photos = tmp_path / "Photos"
    dated(photos / "sub" / "a.jpg", "2026:05:09 14:03:01")
    dated(photos / "sub" / "b.jpg", "no date")
    suffixes = frozenset([".jpg"])

    def named(template: str) -> list[str]:
        return outputs(photos, output=tmp_path / "Out", suffixes=suffixes, name=template)

    assert named("{date}/{stem}") == ["sub/2026-05-09/a.jpg", "sub/unknown/b.jpg"]
    assert named("{number:03}_{camera}_{iso}") == ["sub/001_Acme Box_1_400.jpg", "sub/002_Acme Box_1_400.jpg"]
    assert named("{year}{month}{day}-{time}")[0] == "sub/20260509-14-03-01.jpg"
    assert named("same") == ["sub/same.jpg", "sub/same-2.jpg"]


WRONG = ["{stem:9999999999}", "{stem:2000000000}", "{number:c}", "{number:{number}}", "{stem!r}", "a\0b", "a\nb"]
"""Templates that would cost the memory, or make names that nobody can see."""


@pytest.mark.parametrize(
    "template", ["{what}", "{stem", "../{stem}", "/{stem}", "{date}/", "{stem.real}", "{0}", *WRONG]
)
def test_a_wrong_template_is_refused_before_any_work(template: str, tmp_path: Path) -> None:
    touch(tmp_path / "a.dng")
    with pytest.raises(InputError, match="--name"):
        plan([tmp_path / "a.dng"], tmp_path / "Out", None, name=template)


def test_a_template_with_the_folder_says_itself_where_it_stands(tmp_path: Path) -> None:
    touch(tmp_path / "Photos" / "2025" / "May" / "a.dng", tmp_path / "Photos" / "b.dng")
    photos, out = tmp_path / "Photos", tmp_path / "Out"
    assert outputs(photos, output=out, name="all/{folder}/{stem}") == ["all/2025/May/a.jpg", "all/b.jpg"]


def test_thousands_of_files_of_one_name_are_soon_told_apart(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.dng" for number in range(2000)]
    touch(*files)
    began = time.monotonic()
    names = outputs(*files, output=tmp_path / "Out", name="same")
    assert time.monotonic() - began < 20  # where each name is compared with all the others, hours
    assert names[:3] == ["same.jpg", "same-2.jpg", "same-3.jpg"]
    assert len(set(names)) == len(files)


def test_a_template_and_a_file_name_disagree(tmp_path: Path) -> None:
    touch(tmp_path / "a.dng")
    with pytest.raises(InputError, match="and --name disagree"):
        plan([tmp_path / "a.dng"], tmp_path / "b.jpg", None, name="{stem}")


def test_a_value_never_leads_out_of_the_folder(tmp_path: Path) -> None:
    photos = tmp_path / "Photos"
    dated(photos / "a.jpg", "2026:05:09 14:03:01")
    tags = Image.Exif()
    tags[271], tags[272] = "..", "../../x"
    Image.new("RGB", (8, 8)).save(photos / "b.jpg", exif=tags)
    names = outputs(photos, output=tmp_path / "Out", suffixes=frozenset([".jpg"]), name="{camera}/{stem}")
    assert all(".." not in Path(name).parts for name in names)
    assert all(len(Path(name).parts) == 2 for name in names)
