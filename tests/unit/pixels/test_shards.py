import pickle
from pathlib import Path

import numpy as np
import pytest

from medaudit.core.errors import DataError
from medaudit.pixels.packed import ShardReader, write_shards


def images(n: int, size: int = 4) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


@pytest.mark.parametrize(("n", "files"), [(1, 1), (5, 1), (6, 2), (10, 2), (11, 3)])
def test_round_trip(tmp_path: Path, n: int, files: int) -> None:
    expected = images(n)
    assert write_shards(iter(expected), tmp_path, size=4, per_shard=5) == n
    assert len(list(tmp_path.iterdir())) == files
    reader = ShardReader(tmp_path)
    assert len(reader) == n
    assert reader.shape == (4, 4, 3)
    assert np.array_equal(np.stack([reader[i] for i in range(n)]), expected)
    backwards = list(range(n))[::-1]
    assert np.array_equal(reader.take(backwards), expected[::-1])


def test_shards_are_plain_npy(tmp_path: Path) -> None:
    write_shards(images(3), tmp_path, size=4)
    assert np.array_equal(np.load(tmp_path / "00000.npy"), images(3))


def test_what_is_read_is_a_copy(tmp_path: Path) -> None:
    write_shards(images(2), tmp_path, size=4)
    reader = ShardReader(tmp_path)
    reader[0][:] = 7
    assert np.array_equal(reader[0], images(2)[0])


def test_pickle_carries_the_folder_only(tmp_path: Path) -> None:
    write_shards(images(50), tmp_path, size=4)
    packed = pickle.dumps(ShardReader(tmp_path))
    assert len(packed) < 1000
    assert np.array_equal(pickle.loads(packed)[49], images(50)[49])  # noqa: S301  # own bytes


def test_out_of_range(tmp_path: Path) -> None:
    write_shards(images(2), tmp_path, size=4)
    reader = ShardReader(tmp_path)
    for index in (2, -1):
        with pytest.raises(IndexError, match=r"indices must lie in 0\.\.1"):
            reader[index]


def test_no_half_shard_after_an_error(tmp_path: Path) -> None:
    odd = [images(1)[0], np.zeros((3, 4, 3), dtype=np.uint8)]
    with pytest.raises(ValueError, match=r"expected uint8 \(4, 4, 3\), got uint8 \(3, 4, 3\)"):
        write_shards(odd, tmp_path, size=4)
    assert list(tmp_path.iterdir()) == []


def test_folders_without_whole_shards(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no shards"):
        ShardReader(tmp_path)
    write_shards(images(2), tmp_path, size=4)
    path = tmp_path / "00000.npy"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DataError, match="not a shard"):
        ShardReader(tmp_path)
    np.save(path, np.zeros((2, 4, 4)))
    with pytest.raises(DataError, match="expected uint8"):
        ShardReader(tmp_path)
