from __future__ import annotations

from types import SimpleNamespace

import torch
from hypothesis import given
from hypothesis import strategies as st

from align import plan
from align.plan import bytes_per_token, packs, token_budget


def test_packs_worked_by_hand():
    # largest first: 50 | 40 40 (2 x 40 <= 100) | 30 20 10 (3 x 30 <= 100)
    assert packs([10, 40, 30, 120, 40, 20], 100) == [[3], [1, 4], [2, 5, 0]]


@given(st.lists(st.integers(1, 200), max_size=30), st.integers(1, 400))
def test_every_item_is_in_one_pack_and_padding_stays_in_the_budget(sizes, budget):
    found = packs(sizes, budget)
    assert sorted(i for pack in found for i in pack) == list(range(len(sizes)))
    for pack in found:
        assert len(pack) == 1 or len(pack) * max(sizes[i] for i in pack) <= budget


def test_bytes_per_token_worked_by_hand():
    config = SimpleNamespace(hidden_size=100, intermediate_size=300, vocab_size=1000)
    # float32: 4 x (8 x 100 + 3 x 300) inside a layer, 8 x 1000 for logits, 5 x 2048 for the mask
    assert bytes_per_token(config, 4) == 6800 + 8000 + 10240
    config.num_experts_per_tok = 2
    assert bytes_per_token(config, 2) == 2 * (800 + 1800) + 8000 + 10240


def test_the_budget_follows_the_free_memory_up_to_what_pays(monkeypatch):
    config = SimpleNamespace(hidden_size=100, intermediate_size=300, vocab_size=1000)
    config.get_text_config = lambda: config
    causal = SimpleNamespace(config=config, dtype=torch.float32, device=torch.device("cpu"))
    for free, tokens in [(25040 * 200, 100), (10**12, plan.CPU_TOKENS), (0, 1)]:
        monkeypatch.setattr(plan, "free_memory", lambda device, free=free: free)
        assert token_budget(causal) == tokens


def test_free_memory_of_this_machine_is_known():
    assert plan.free_memory(torch.device("cpu")) > 2**20
