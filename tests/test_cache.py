"""Decoded arrays are kept whole or not at all, and nothing damaged is believed."""

import io
import threading

import numpy as np
import pytest

from ltjax.command import paths
from ltjax.data import cache, prepared


def arrays():
    rng = np.random.default_rng(0)
    return {"images": rng.integers(0, 256, (3, 5), dtype=np.uint8), "names": np.array(["a", "bc"])}


def fail():
    raise AssertionError("decoded again")


def assert_fetched(path, decode=arrays):
    """What is fetched are `arrays()`, and nothing else lies there."""
    found = cache.fetch(path, decode, dict)
    assert found.keys() == arrays().keys()
    for name, array in arrays().items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def npz(**content):
    file = io.BytesIO()
    np.savez(file, **content)
    return file.getvalue()


def test_what_is_cached_is_not_decoded_again(tmp_path):
    path = tmp_path / "new" / "x.npz"
    assert_fetched(path)
    assert_fetched(path, fail)
    assert [p.name for p in path.parent.iterdir()] == ["x.npz"]


def test_no_damaged_byte_is_believed(tmp_path, caplog):
    path = tmp_path / "x.npz"
    cache.fetch(path, arrays, dict)
    whole = path.read_bytes()
    rebuilt = []

    def decode():
        rebuilt.append(True)
        return arrays()

    for place in range(0, len(whole), 3):
        raw = bytearray(whole)
        raw[place] ^= 0x11
        path.write_bytes(raw)
        assert_fetched(path, decode)
    assert len(rebuilt) > len(whole) / 6
    assert "is built again" in caplog.text


@pytest.mark.parametrize(
    "damage",
    [
        *(lambda whole, share=share: whole[: int(share * len(whole))] for share in (0, 0.3, 0.999)),
        lambda whole: npz(images=np.array([{"a": 1}], object)),  # Pickles are not opened.
    ],
)
def test_a_damaged_file_is_built_again(damage, tmp_path):
    path = tmp_path / "x.npz"
    path.write_bytes(damage(npz(**arrays())))
    assert_fetched(path)
    assert_fetched(path, fail)


def test_a_header_that_claims_fewer_rows_is_not_believed(tmp_path):
    """The checksum alone would not notice: it is compared at the end of a long member only."""
    path, images = tmp_path / "x.npz", np.zeros((30, 9999), np.uint8)
    path.write_bytes(npz(images=images).replace(b"(30, 9999)", b"(20, 9999)"))
    assert cache.fetch(path, lambda: {"images": images}, dict)["images"].shape == (30, 9999)


def test_what_is_of_no_use_is_decoded_again_but_not_twice(tmp_path, caplog):
    path = tmp_path / "x.npz"
    cache.fetch(path, lambda: {"other": np.zeros(1)}, dict)
    use = lambda found: found["names"].tolist()  # noqa: E731
    assert cache.fetch(path, arrays, use) == ["a", "bc"]
    assert "is of no use and is built again: 'names'" in caplog.text
    assert cache.fetch(path, fail, use) == ["a", "bc"]
    path.unlink()
    with pytest.raises(KeyError):
        cache.fetch(path, lambda: {"other": np.zeros(1)}, use)
    assert not path.exists()


def test_a_cache_that_cannot_be_written_costs_a_warning_and_leaves_nothing(
    tmp_path, monkeypatch, caplog
):
    def full(fd):
        raise OSError(28, "No space left on device")

    (tmp_path / "file").write_text("in the way")
    assert_fetched(tmp_path / "file" / "x.npz")
    monkeypatch.setattr(paths.os, "fsync", full)
    assert_fetched(tmp_path / "x.npz")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    warnings = [r for r in caplog.records if "not kept for the next start" in r.getMessage()]
    assert len(warnings) == 2
    assert "No space left" in caplog.text


def test_many_writers_at_once_leave_one_whole_file(tmp_path):
    path = tmp_path / "x.npz"
    barrier, done = threading.Barrier(8), []

    def decode():
        barrier.wait()  # All have seen that there is no file.
        return arrays()

    def start():
        assert_fetched(path, decode)
        done.append(True)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 8
    assert_fetched(path, fail)
    assert [p.name for p in tmp_path.iterdir()] == ["x.npz"]


@pytest.mark.parametrize("names", [prepared.CACHE, prepared.DATA])
def test_a_directory_is_given_or_from_the_environment(names, tmp_path, monkeypatch):
    setting, variable, default = names
    monkeypatch.setenv(variable, str(tmp_path))
    assert prepared.directory(None, names) == tmp_path
    assert str(prepared.directory("~/there", names)).endswith("/there")
    assert "~" not in str(prepared.directory("~/there", names))
    with pytest.raises(ValueError, match=f"{setting} 's3://bucket' is not local"):
        prepared.directory("s3://bucket", names)
    monkeypatch.setenv(variable, "gs://bucket")
    with pytest.raises(ValueError, match=f"{variable} 'gs://bucket' is not local"):
        prepared.directory(None, names)
    monkeypatch.delenv(variable)
    assert str(prepared.directory(None, names)).endswith(default.removeprefix("~"))
