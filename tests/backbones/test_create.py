"""Options that cannot work are one sentence, wherever the network notices."""

from typing import Any

import pytest

from suprem.backbones import create_model
from suprem.errors import ConfigurationError


@pytest.mark.parametrize(
    ("backbone", "options"),
    [
        ("unet", {"base_channels": "wide"}),
        ("unet", {"base_channels": 1.5}),
        ("segresnet", {"blocks_down": 3}),
        ("segresnet", {"dropout_prob": 5}),
        ("segresnet", {"init_filters": 8.0}),
        ("swinunetr", {"window_size": 0}),
        ("swinunetr", {"num_heads": [1.5, 3, 6, 12]}),
        ("swinunetr", {"feature_size": 12, "num_heads": [3, 3, 3, 3], "drop_rate": 7}),
    ],
)
def test_an_option_that_cannot_work_is_named(backbone: str, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        create_model(backbone, num_classes=2, **options)
    assert all(name in str(caught.value) for name in options)
