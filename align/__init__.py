"""The model side: option probabilities of a language model for each persona, and LoRA effect alignment.

torch, transformers and peft live only here, and are imported where they are used.
"""

from __future__ import annotations
