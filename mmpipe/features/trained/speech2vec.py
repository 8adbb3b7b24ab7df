"""`audio-speech2vec`: an encoder-decoder that hears one stretch of sound and says how its neighbours sound.

After Chung & Glass 2018 (Speech2Vec, skip-gram): theirs cuts speech at the words of an alignment, this one into
segments of equal length, because there is none.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from mmpipe.features.trained.recurrent import Encoded, last_state, recurrent
from mmpipe.features.trained.spec import EncoderSpec

_PLACE_SIZE = 8  # numbers that tell the decoder which neighbour is meant


class Speech2Vec(nn.Module):
    """Learns to predict the segments within `neighbours` of one, frame by frame, from its embedding alone.

    Axes: B clips, T rows, D numbers, S segments of a clip, N segments of a batch, L rows of a segment, W width.
    """

    mean_D: Tensor
    scale_D: Tensor

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__()
        self.spec = spec
        self.register_buffer("mean_D", torch.zeros(spec.input_dim))
        self.register_buffer("scale_D", torch.ones(spec.input_dim))
        self.encoder = recurrent(spec, spec.input_dim, spec.width // 2, bidirectional=True)
        self.places = nn.Embedding(2 * spec.neighbours + 1, _PLACE_SIZE)
        self.decoder = recurrent(spec, spec.width + _PLACE_SIZE, spec.width)
        self.head = nn.Linear(spec.width, spec.input_dim)

    def fit_input(self, x_ND: Tensor) -> None:
        """Take up mean and spread of the training rows; a column that never changes is switched off."""
        deviation_D = x_ND.double().std(0, correction=0)
        self.mean_D.copy_(x_ND.double().mean(0))
        self.scale_D.copy_(torch.where(deviation_D > 1e-6, 1 / deviation_D.clamp(min=1e-6), 0.0))

    def loss(self, x_BTD: Tensor, mask_BT: Tensor) -> Tensor:
        """Return the mean squared error of the neighbours, in units of the training rows' spread."""
        clips = [self._segments(x_BTD[clip, mask_BT[clip]]) for clip in range(len(x_BTD)) if mask_BT[clip].any()]
        ends = [0, *torch.tensor([len(clip) for clip in clips]).cumsum(0).tolist()]
        pairs = [
            (first + heard, first + told, told - heard + self.spec.neighbours)
            for first, end in pairwise(ends)
            for heard in range(end - first)
            for told in range(max(0, heard - self.spec.neighbours), min(end - first, heard + self.spec.neighbours + 1))
            if told != heard
        ]
        segments_NLD = torch.cat(clips)
        heard_P, told_P, place_P = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 3).unbind(1)
        given_PK = torch.cat([self._embed(segments_NLD)[heard_P], self.places(place_P)], dim=1)
        hidden_PLW, _ = self.decoder(given_PK[:, None].expand(-1, self.spec.segment_rows, -1).contiguous())
        return (self.head(hidden_PLW) - segments_NLD[told_P]).square().mean()

    def encode(self, x_TD: Tensor) -> Encoded:
        """Return one embedding per segment; what is left at the end of a clip belongs to none but in a short clip."""
        segments_SLD = self._segments(x_TD)
        size = self.spec.segment_rows
        rows_S = torch.arange(len(segments_SLD)) * size + min(size, len(x_TD)) // 2
        return Encoded(z_SW=self._embed(segments_SLD), rows_S=rows_S)

    def _embed(self, segments_NLD: Tensor) -> Tensor:
        _, state = self.encoder(segments_NLD)
        return last_state(state)

    def _segments(self, x_TD: Tensor) -> Tensor:
        """Return whole segments, standardised; a clip that is shorter than one is filled up with the mean."""
        scaled_TD = (x_TD.float() - self.mean_D) * self.scale_D
        size = self.spec.segment_rows
        if len(scaled_TD) < size:
            scaled_TD = nn.functional.pad(scaled_TD, (0, 0, 0, size - len(scaled_TD)))
        whole = len(scaled_TD) // size * size
        return scaled_TD[:whole].reshape(-1, size, scaled_TD.shape[1])
