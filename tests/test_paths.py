import errno
import os
import pathlib

import pytest

from ltjax.command import paths


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("~", "HOME"),
        ("~/a/b", "HOME/a/b"),
        (pathlib.Path("~/a"), "HOME/a"),
        ("a/~/b", "a/~/b"),
        ("a~", "a~"),
        (b"a/b", "a/b"),
        ("/a:b/c", "/a:b/c"),
        ("a:b", "a:b"),
        ("x/gs:/b", "x/gs:/b"),
    ],
)
def test_a_path_is_local_and_its_tilde_is_the_home(given, meant, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert paths.local(given) == pathlib.Path(meant.replace("HOME", "/home/me"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("gs://bucket/x", "out 'gs://bucket/x' is not local.*copy from or to gs://"),
        (pathlib.Path("gs://bucket/x"), "out 'gs:/bucket/x' is not local"),
        ("s3://b/x", "not local"),
        ("hf://user/x", "not local"),
        ("https://a.b/x", "not local"),
        ("file:///home/me/x", "not local"),
        ("", "out must name a file or directory"),
        ("a\0b", "out must name a file or directory"),
        (None, "out must be a path; got None"),
        (3, "out must be a path; got 3"),
        ("~nobody-of-this-name/x", "names the home directory of nobody"),
    ],
)
def test_other_paths_are_refused_in_one_line(given, message):
    with pytest.raises(ValueError, match=message) as caught:
        paths.local(given, what="out")
    assert "\n" not in str(caught.value)


def test_a_file_is_written_whole_or_left_as_it_was(tmp_path, monkeypatch):
    file = tmp_path / "it"
    for content in ("tëxt", "tëxt".encode(), lambda opened: opened.write("tëxt".encode())):
        paths.write_whole(file, content)
        assert file.read_text("utf-8") == "tëxt"
        file.write_text("old")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for call in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, call, full)
            with pytest.raises(OSError, match=r"No space left on device: '.*/it'"):
                paths.write_whole(file, "new")
        assert file.read_text() == "old"
        assert list(tmp_path.iterdir()) == [file]
