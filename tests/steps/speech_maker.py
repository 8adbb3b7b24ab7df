"""Make tiny speech models: one that has learnt to hear tones as letters, and others that know nothing."""

from __future__ import annotations

import json
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from corpus_maker import _age

from mmpipe.signals.recogniser import one_thread, without_pictures

RATE_HZ = 16_000
LETTERS = "abcde"
FRAME_SAMPLES = 320  # one answer of the CTC model
_TONE_HZ = {letter: 400 + 300 * number for number, letter in enumerate(LETTERS)}
_LETTER_S, _BREAK_S, _PAUSE_S = 0.1, 0.04, 0.2
_STEPS = 120


def sing(words: Sequence[str]) -> tuple[np.ndarray, list[tuple[float, float]], list[tuple[int, int, str]]]:
    """Return words as tones, with the times of the words in seconds, and what is heard in which samples."""
    parts: list[tuple[float, str]] = [(_PAUSE_S, "|")]
    bounds = []
    for word in words:
        first = len(parts)
        parts += [part for letter in word for part in ((_LETTER_S, letter), (_BREAK_S, "<pad>"))][:-1]
        bounds.append((first, len(parts)))
        parts.append((_PAUSE_S, "|"))
    ends = np.cumsum([0, *(round(length * RATE_HZ) for length, _ in parts)])
    times_N = np.arange(ends[-1]) / RATE_HZ
    wave_N = np.zeros(ends[-1], np.float32)
    for start, end, (_, kind) in zip(ends, ends[1:], parts, strict=False):
        if kind in _TONE_HZ:
            wave_N[start:end] = 0.5 * np.sin(2 * np.pi * _TONE_HZ[kind] * times_N[start:end])
    spans = [(float(ends[first]) / RATE_HZ, float(ends[last]) / RATE_HZ) for first, last in bounds]
    heard = [(int(start), int(end), kind) for start, end, (_, kind) in zip(ends, ends[1:], parts, strict=False)]
    return wave_N, spans, heard


def write_song(path: Path, wave_N: np.ndarray) -> None:
    """Write sound as a WAV file."""
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(RATE_HZ)
        sound.writeframes((wave_N * 32_000).astype("<i2").tobytes())
    _age(path)


def make_words(number: int, seed: int = 1) -> list[str]:
    """Return words of one to three letters."""
    generator = np.random.default_rng(seed)
    return ["".join(generator.choice(list(LETTERS), generator.integers(1, 4))) for _ in range(number)]


def save_ctc(folder: Path, steps: int = _STEPS) -> Path:
    """Save a wav2vec2 model that hears tones, taught for a few seconds; with no steps it knows nothing."""
    folder.mkdir(parents=True)
    with without_pictures():
        from transformers import Wav2Vec2Config, Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC
    import torch

    vocabulary = {name: number for number, name in enumerate(("<pad>", "<s>", "</s>", "<unk>", "|", *LETTERS))}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    torch.manual_seed(0)
    config = Wav2Vec2Config(
        vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        conv_dim=(64, 32), conv_kernel=(320, 3), conv_stride=(160, 2), num_feat_extract_layers=2,
        feat_extract_activation="relu", feat_extract_norm="layer", num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2, pad_token_id=0, mask_time_prob=0.0, hidden_dropout=0.0, layerdrop=0.0,
        attention_dropout=0.0, feat_proj_dropout=0.0, activation_dropout=0.0, final_dropout=0.0,
    )  # fmt: skip
    model = Wav2Vec2ForCTC(config)
    with one_thread():
        _teach(model, vocabulary, steps)
    model.save_pretrained(folder)
    Wav2Vec2CTCTokenizer(str(folder / "vocab.json")).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(
        feature_size=1, sampling_rate=RATE_HZ, padding_value=0.0, do_normalize=False, return_attention_mask=False
    ).save_pretrained(folder)
    return folder


def _teach(model: Any, vocabulary: dict[str, int], steps: int) -> None:
    """Teach by frames, so that the times are right too."""
    import torch

    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for step in range(steps):
        wave_N, _, heard = sing(make_words(6, seed=1_000 + step))
        logits_TK = model(torch.from_numpy(wave_N)[None]).logits[0]
        middles_T = np.arange(len(logits_TK)) * FRAME_SAMPLES + FRAME_SAMPLES
        wanted_T = np.zeros(len(logits_TK), np.int64)
        for start, end, kind in heard:
            wanted_T[(middles_T >= start) & (middles_T < end)] = vocabulary[kind]
        loss = torch.nn.functional.cross_entropy(logits_TK, torch.from_numpy(wanted_T))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def save_whisper(folder: Path, word_times: bool = True) -> Path:
    """Save a Whisper model of two tiny layers that knows nothing, with a tokenizer of bytes."""
    folder.mkdir(parents=True)
    with without_pictures():
        from transformers import (
            WhisperConfig,
            WhisperFeatureExtractor,
            WhisperForConditionalGeneration,
            WhisperTokenizer,
        )
    import torch
    from tokenizers import AddedToken, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = WhisperTokenizer(vocab={letter: number for number, letter in enumerate(alphabet)}, merges=[])
    tasks = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|translate|>", "<|transcribe|>", "<|startoflm|>"]
    tasks += ["<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
    tokenizer.add_tokens([AddedToken(name, special=True) for name in tasks])
    tokenizer.add_tokens([AddedToken(f"<|{step * 0.02:.2f}|>", special=False) for step in range(1501)])
    tokenizer.pad_token = "<|endoftext|>"
    number_of = tokenizer.get_vocab()
    end = number_of["<|endoftext|>"]
    torch.manual_seed(0)
    config = WhisperConfig(
        vocab_size=len(tokenizer), d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, num_mel_bins=16, max_target_positions=32,
        pad_token_id=end, bos_token_id=end, eos_token_id=end, median_filter_width=3,
        decoder_start_token_id=number_of["<|startoftranscript|>"],
    )  # fmt: skip
    model = WhisperForConditionalGeneration(config)
    settings = model.generation_config
    settings._from_model_config = False
    settings.lang_to_id = {"<|en|>": number_of["<|en|>"]}
    settings.task_to_id = {name: number_of[f"<|{name}|>"] for name in ("transcribe", "translate")}
    settings.no_timestamps_token_id, settings.is_multilingual = number_of["<|notimestamps|>"], True
    settings.prev_sot_token_id, settings.max_length = number_of["<|startofprev|>"], 24
    settings.max_initial_timestamp_index = 50
    if word_times:
        settings.alignment_heads = [[0, 0], [0, 1]]
    for part in (model, tokenizer, WhisperFeatureExtractor(feature_size=16)):
        part.save_pretrained(folder)
    return folder
