from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from align import plan
from align.plan import bytes_per_pass, bytes_per_token, packs, token_budget


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


def test_sizes_listed_layer_by_layer_count_as_the_largest():
    config = SimpleNamespace(hidden_size=100, intermediate_size=[200, 300, 100], vocab_size=1000)
    config.num_experts_per_tok = [1, 2]
    assert bytes_per_token(config, 2) == 2 * (800 + 1800) + 8000 + 10240


def test_gemma_3n_which_lists_its_layers_sizes_has_a_budget():
    from transformers import Gemma3nTextConfig

    config = Gemma3nTextConfig(hidden_size=64, intermediate_size=[96, 128], num_hidden_layers=2, vocab_size=500)
    assert bytes_per_token(config, 2) == 2 * (8 * 64 + 3 * 128) + 8 * 500 + 10240


def test_the_budget_follows_the_free_memory_up_to_what_pays(monkeypatch):
    config = SimpleNamespace(hidden_size=100, intermediate_size=300, vocab_size=1000)
    config.get_text_config = lambda: config
    causal = SimpleNamespace(config=config, dtype=torch.float32, device=torch.device("cpu"))
    for free, tokens in [(25040 * 200, 100), (10**12, plan.CPU_TOKENS), (0, 1)]:
        monkeypatch.setattr(plan, "free_memory", lambda device, free=free: free)
        assert token_budget(causal) == tokens


def test_a_coarse_models_float32_output_layer_comes_first(monkeypatch):
    config = SimpleNamespace(hidden_size=100, intermediate_size=300, vocab_size=1000)
    config.get_text_config = lambda: config
    assert bytes_per_pass(config, 2) == 4 * 1000 * 100
    assert bytes_per_pass(config, 4) == 0
    causal = SimpleNamespace(config=config, dtype=torch.bfloat16, device=torch.device("cpu"))
    each = 2 * (800 + 900) + 8000 + 10240
    for free, tokens in [(2 * (400_000 + 30 * each), 30), (2 * 399_999, 1)]:
        monkeypatch.setattr(plan, "free_memory", lambda device, free=free: free)
        assert token_budget(causal) == tokens


def test_on_a_gpu_the_mask_of_a_forest_counts_by_pairs_of_tokens(monkeypatch):
    config = SimpleNamespace(hidden_size=100, intermediate_size=300, vocab_size=1000)
    config.get_text_config = lambda: config
    causal = SimpleNamespace(config=config, dtype=torch.float32, device=torch.device("cuda"))
    for tokens in (10, 20_000):
        # 25,040 bytes a token, as above, and 4 for each pair; a thousandth more, so that rounding does not decide
        free = int(2 * 1.001 * (25_040 * tokens + 4 * tokens**2))
        monkeypatch.setattr(plan, "free_memory", lambda device, free=free: free)
        assert tokens <= token_budget(causal) <= 1.001 * tokens


def test_free_memory_of_this_machine_is_known():
    assert plan.free_memory(torch.device("cpu")) > 2**20


def test_processes_on_one_machine_share_its_memory(monkeypatch):
    alone = plan.free_memory(torch.device("cpu"))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert plan.free_memory(torch.device("cpu")) == pytest.approx(alone / 4, rel=0.2)  # others use memory meanwhile
