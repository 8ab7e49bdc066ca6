import numpy as np
import pytest

from suprem.inference.store import BitStore, IndexStore

SHAPE = (5, 4, 3)


@pytest.mark.parametrize("count", [1, 8, 9, 117])
def test_bits_of_one_class_never_touch_another(count):
    rng = np.random.default_rng(count)
    masks = rng.random((count, *SHAPE)) < 0.4
    store = BitStore(count, SHAPE)
    store.memory[...] = np.packbits(masks, axis=0, bitorder="little").transpose(0, 3, 2, 1)
    for i in range(count):
        np.testing.assert_array_equal(store.mask(i), masks[i])
    masks[count // 2] = rng.random(SHAPE) < 0.5
    store.set_mask(count // 2, masks[count // 2])
    for i in range(count):
        np.testing.assert_array_equal(store.mask(i), masks[i])
    np.testing.assert_array_equal(store.any(), masks.any(axis=0))
    assert store.nbytes == -(-count // 8) * 60


@pytest.mark.parametrize("count", [2, 300])
def test_index_store_is_exclusive(count):
    index = np.random.default_rng(0).integers(0, count + 1, SHAPE)
    store = IndexStore(count, SHAPE)
    store.memory[0] = index.T
    new = np.zeros(SHAPE, dtype=bool)
    new[0] = True
    store.set_mask(1, new)
    np.testing.assert_array_equal(store.mask(1), new)
    expected = np.where(new, 2, np.where(index == 2, 0, index))
    for i in range(count):
        np.testing.assert_array_equal(store.mask(i), expected == i + 1)
    np.testing.assert_array_equal(store.any(), expected > 0)
    assert store.nbytes == 60 * (1 if count < 256 else 2)


def test_numbered_lets_the_higher_number_win():
    store = BitStore(3, (2, 1, 1))
    store.set_mask(0, np.array([True, True]).reshape(2, 1, 1))
    store.set_mask(1, np.array([True, False]).reshape(2, 1, 1))
    store.set_mask(2, np.array([True, True]).reshape(2, 1, 1))
    assert store.numbered([7, 3, 0]).ravel().tolist() == [7, 7]
    assert store.numbered([2, 9, 0]).ravel().tolist() == [9, 2]
    assert store.numbered([2, 9, 0]).dtype == np.uint8
    assert store.numbered([2, 300, 0]).ravel().tolist() == [300, 2]
    assert store.numbered([2, 300, 0]).dtype == np.uint16


def test_numbered_of_exclusive_classes():
    store = IndexStore(3, (4, 1, 1))
    store.memory[0, 0, 0] = [0, 1, 2, 3]
    assert store.numbered([40, 0, 5]).ravel().tolist() == [0, 40, 0, 5]
