"""Ways to adapt pre-trained weights by training a part of them."""

from suprem.adapters.lora import add_lora, has_lora, load_lora, merge_lora, save_lora
from suprem.adapters.strategies import STRATEGIES, Strategy, apply_strategy

__all__ = [
    "STRATEGIES",
    "Strategy",
    "add_lora",
    "apply_strategy",
    "has_lora",
    "load_lora",
    "merge_lora",
    "save_lora",
]
