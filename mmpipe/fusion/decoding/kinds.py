"""Which models of transformers can write about a clip, and where one lies."""

from __future__ import annotations

import inspect

from mmpipe.config.generating import GenerateOptions
from mmpipe.errors import ConfigError
from mmpipe.weights.folder import ModelFolder, find_model
from mmpipe.weights.loading import quiet_transformers

TABLE = "goal_options"
SEQ2SEQ, PICTURES = "AutoModelForSeq2SeqLM", "AutoModelForImageTextToText"


def find_writer(options: GenerateOptions) -> ModelFolder:
    """Find the model that the options name; raise ConfigError where it is not there, or another than it was."""
    folder = find_model(options.model, options.revision, offline=options.offline, table=TABLE)
    if options.sha256 not in ("", folder.sha256):
        raise ConfigError(
            f"{TABLE}.model = {options.model!r} has the digest {folder.sha256}, expected {options.sha256}: it is "
            "another model now. Put the files back, or train anew without sha256"
        )
    return folder


def network_kind(folder: ModelFolder) -> str:
    """Return the class of transformers that an architecture is loaded by; raise ConfigError where none can write so."""
    with quiet_transformers():
        import transformers
        from transformers.models.auto import modeling_auto as known

        model_type = folder.read_json("config.json").get("model_type", "")
        if model_type in known.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES:
            return SEQ2SEQ
        name = known.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES.get(model_type)
        if name is None:
            raise ConfigError(
                f"{TABLE}.model is a {model_type!r}: transformers knows it neither as an encoder-decoder of text "
                f"({SEQ2SEQ}) nor as a model of pictures and text ({PICTURES}). Name a T5, BART, LLaVA, .."
            )
        begins = getattr(getattr(transformers, name), "prepare_inputs_for_generation", None)
    if begins is None or "inputs_embeds" not in inspect.signature(begins).parameters:
        raise ConfigError(
            f"{TABLE}.model is a {model_type!r}, whose `generate` does not go on from embeddings (`inputs_embeds`): "
            "nothing can be put before its text. Name a LLaVA, T5, BART, .."
        )
    return PICTURES
