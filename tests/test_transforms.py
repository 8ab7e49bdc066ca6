"""Random changes of patches: probabilities, geometry against independent references, labels only ever permuted."""

import numpy as np
import pytest
import scipy.ndimage
import torch

from suprem.errors import UnknownNameError
from suprem.transforms import Changes, Profile, apply_changes, draw_changes, profile

TURN_Z = ((0.0, -1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0))


def _patch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor([0, 7, 300, 65535], dtype=torch.int32)[torch.randint(4, (12, 12, 9), generator=generator)]
    return torch.rand(12, 12, 9, generator=generator), labels


def test_default_profile_has_the_probabilities_of_the_paper() -> None:
    drawn = [draw_changes(profile("default"), seed) for seed in range(4000)]
    turned = [d.quarter_turns for d in drawn if d.quarter_turns]
    shifts = [d.shift for d in drawn if d.shift]
    assert len(turned) / 4000 == pytest.approx(0.1, abs=0.02)
    assert set(turned) == {1, 2, 3}
    assert len(shifts) / 4000 == pytest.approx(0.2, abs=0.03)
    assert max(map(abs, shifts)) <= 0.1
    assert not any(d.mirrored or d.matrix or d.blur or d.noise or d.gamma != 1 for d in drawn)


def test_same_seed_same_changes_and_arguments_untouched() -> None:
    image, labels = _patch()
    before = image.clone(), labels.clone()
    everything = Profile(1, 1, flip=1, affine=1, gamma=1, blur=1, noise=1)
    first, second = (apply_changes(draw_changes(everything, 5), image, labels) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert torch.equal(image, before[0])
    assert torch.equal(labels, before[1])
    assert not torch.equal(first[0], image)


def test_strong_profile_makes_no_new_index() -> None:
    image, labels = _patch()
    for seed in range(60):
        moved, indices = apply_changes(draw_changes(profile("strong"), seed), image, labels)
        assert set(indices.unique().tolist()) <= {0, 7, 300, 65535}
        assert indices.dtype == labels.dtype
        assert moved.shape == indices.shape == image.shape


def test_mirror_and_quarter_turn_equal_numpy() -> None:
    image, labels = _patch()
    moved, indices = apply_changes(Changes(quarter_turns=1, mirrored=True), image, labels)
    np.testing.assert_array_equal(moved, np.rot90(image.numpy()[::-1], 1, (0, 1)))
    np.testing.assert_array_equal(indices, np.rot90(labels.numpy()[::-1], 1, (0, 1)))


def test_affine_equals_scipy() -> None:
    image, labels = _patch()
    matrix = np.array(TURN_Z) * 0.9
    moved, _ = apply_changes(Changes(matrix=tuple(map(tuple, matrix.tolist()))), image, labels)
    middle = (np.array(image.shape) - 1) / 2
    expected = scipy.ndimage.affine_transform(image.numpy(), matrix, middle - matrix @ middle, order=1)
    np.testing.assert_allclose(moved, expected, atol=1e-5)


def test_drawn_matrices_never_reflect() -> None:
    matrices = [draw_changes(Profile(affine=1), seed).matrix for seed in range(50)]
    sizes = [np.linalg.det(np.array(m)) for m in matrices]
    assert all(0.85**3 - 1e-9 <= s <= 1.15**3 + 1e-9 for s in sizes)


def test_blur_equals_scipy() -> None:
    image, labels = _patch()
    moved, _ = apply_changes(Changes(blur=0.8), image, labels)
    expected = scipy.ndimage.gaussian_filter(image.numpy(), 0.8, mode="nearest", radius=3)
    np.testing.assert_allclose(moved, expected, atol=1e-5)


def test_only_half_turns_where_x_and_y_differ() -> None:
    turns = {draw_changes(Profile(rotate90=1), seed, square=False).quarter_turns for seed in range(20)}
    assert turns == {2}


def test_unknown_profile_is_rejected() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'strong'"):
        profile("strng")
