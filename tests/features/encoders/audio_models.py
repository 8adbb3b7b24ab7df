"""Tiny random audio models with their feature extractors, as save_pretrained writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmpipe.weights.loading import quiet_transformers


@quiet_transformers()
def make_whisper(folder: Path) -> tuple[Any, Any]:
    """Save a Whisper that hears windows of two seconds."""
    import torch
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

    torch.manual_seed(0)
    config = WhisperConfig(
        vocab_size=32,
        num_mel_bins=16,
        d_model=32,
        encoder_layers=2,
        encoder_attention_heads=2,
        encoder_ffn_dim=48,
        decoder_layers=1,
        decoder_attention_heads=2,
        decoder_ffn_dim=48,
        max_source_positions=100,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )
    return _saved(folder, WhisperModel(config), WhisperFeatureExtractor(feature_size=16, chunk_length=2))


@quiet_transformers()
def make_wav2vec2(folder: Path, norm: str, groups: int = 2) -> tuple[Any, Any]:
    """Save a wav2vec2 with the group norm of wav2vec2-base or the layer norm of the large ones."""
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

    torch.manual_seed(0)
    config = Wav2Vec2Config(
        vocab_size=32,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        conv_dim=(16, 16, 16),
        conv_kernel=(10, 4, 4),
        conv_stride=(5, 4, 4),
        feat_extract_norm=norm,
        conv_bias=norm == "layer",
        do_stable_layer_norm=norm == "layer",
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=groups,  # of four, 8 channels a group meet a fault of oneDNN in bf16
    )
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=norm == "layer")
    return _saved(folder, Wav2Vec2Model(config), extractor)


@quiet_transformers()
def make_ast(folder: Path) -> tuple[Any, Any]:
    """Save an AST that hears a bit more than a second."""
    import torch
    from transformers import ASTConfig, ASTFeatureExtractor, ASTModel

    torch.manual_seed(0)
    config = ASTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        max_length=104,
        num_mel_bins=32,
    )
    return _saved(folder, ASTModel(config), ASTFeatureExtractor(max_length=104, num_mel_bins=32))


@quiet_transformers()
def make_clap(folder: Path, *, fusion: bool) -> tuple[Any, Any]:
    """Save the audio half of a CLAP that hears a second."""
    import torch
    from transformers import ClapAudioConfig, ClapAudioModelWithProjection, ClapFeatureExtractor

    torch.manual_seed(0)
    config = ClapAudioConfig(
        spec_size=32,
        num_mel_bins=16,
        patch_size=2,
        patch_stride=(2, 2),
        window_size=4,
        patch_embeds_hidden_size=16,
        depths=[1, 1],
        num_attention_heads=[2, 2],
        hidden_size=32,
        projection_dim=24,
        num_hidden_layers=2,
        enable_fusion=fusion,
        enable_patch_fusion=fusion,
        aff_block_r=2,
    )
    extractor = ClapFeatureExtractor(
        feature_size=16,
        sampling_rate=16_000,
        hop_length=480,
        max_length_s=1,
        frequency_max=7_000,
        truncation="fusion" if fusion else "rand_trunc",
    )
    return _saved(folder, ClapAudioModelWithProjection(config), extractor)


def _saved(folder: Path, network: Any, extractor: Any) -> tuple[Any, Any]:
    network.eval().save_pretrained(folder)
    extractor.save_pretrained(folder)
    return network, extractor
