"""Load a network from a model's folder: safetensors only, no code of the model's, nothing from the network."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from mmpipe.errors import ConfigError
from mmpipe.weights.folder import ModelFolder

SPARE = ("pooler.", "masked_spec_embed")  # who pools in another way, or masks nothing, does not use them
CLOSED: dict[str, Any] = {
    "local_files_only": True,
    "trust_remote_code": False,
}  # nothing is fetched, no code of a model is run


def load_transformers(
    model: ModelFolder, kind: str, dtype: Any, device: str, table: str = "model", may_lack: Sequence[str] = SPARE
) -> Any:
    """Return a network of transformers on a device, ready to compute: `kind` names its class, e.g. "AutoModel".

    `dtype` is torch's; `may_lack` starts the names of weights that are not used. Raise ConfigError where the folder
    holds no such model, or not all of its weights: transformers would draw the missing ones at random.
    """
    with quiet_transformers():
        import transformers

        try:
            found, told = getattr(transformers, kind).from_pretrained(
                model.folder, use_safetensors=True, dtype=dtype, output_loading_info=True, **CLOSED
            )
        except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
            raise ConfigError(f"{table}.model = {model.name!r} cannot be loaded as {kind}: {error}") from error
    lacking = sorted(name for name in told["missing_keys"] if not name.startswith(tuple(may_lack)))
    if lacking:
        way = ' Set pool = "cls" or "mean".' if all("pooler" in name for name in lacking) else ""
        raise ConfigError(
            f"{table}.model = {model.name!r} lacks {len(lacking)} weights of a {type(found).__name__}, "
            f"as {lacking[0]}: with random ones its values would say nothing.{way}"
        )
    return found.to(device).eval()


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep transformers from loading torchvision and from telling its thoughts on stderr.

    No encoder here needs torchvision, and one that was made for another torch ends the import.
    """
    hidden = "torchvision" not in sys.modules
    if hidden:
        sys.modules["torchvision"] = None  # type: ignore[assignment]
    try:
        from transformers.utils import logging

        verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        finally:
            logging.set_verbosity(verbosity)
            if bars:
                logging.enable_progress_bar()
    finally:
        if hidden:
            sys.modules.pop("torchvision", None)
