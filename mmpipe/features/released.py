"""A release of ours as an extractor: what its network embeds of one modality, or the encoder that it is.

A config says `extractor = "release:NAME@VERSION"`. The process that plans finds the release, checks it, and puts the
table `release` beside it: a folder of this machine, and what the network reads. Workers read that folder alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, JsonValue

from mmpipe.config import Goal, Table
from mmpipe.config.retrieving import RetrieveOptions
from mmpipe.errors import ConfigError, StoreError
from mmpipe.features.encoders.device import TorchDevice
from mmpipe.features.extractor import Extractor, fingerprint, micro_batch_of, units_of, uses_device
from mmpipe.features.trained.spec import spec_from_json
from mmpipe.io import sha256_file
from mmpipe.types import ClipMedia, FeatureKind, FeatureSchema, FeatureValue, Modality, digest_of
from mmpipe.weights.folder import read_json

PREFIX = "release:"
RELEASE = "release"  # the key of a table that a plan adds
WEIGHTS_NAME, CONFIG_NAME = "model.safetensors", "config.json"
_FUSED = "mmpipe-fusion"
_ON_CPU = TorchDevice(name="cpu", dtype="float32")
# From a value [T, D] to embeddings [S, W], and the row of the value that each stands for.
Embed = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


class BaseFeature(Table):
    """The feature that a release's network reads, as it was made then."""

    name: str = Field(description="in the config of then")
    table: dict[str, JsonValue] = Field(default_factory=dict, description="its table, resolved")
    fingerprint: str = Field(description="of the values that the network learnt from")


class ReleaseFolder(Table):
    """A release that was found and checked."""

    name: str = Field(description="NAME@LABEL")
    sha256: str = Field(description="of all its files as they were published")
    weights_sha256: str = Field(description="of model.safetensors")
    folder: str = Field(description="on this machine")
    base: BaseFeature


class ReleasedParams(Table):
    """What is taken of a release."""

    modality: Modality | None = Field(None, description="of a fused model: whose embedding; none: it reads one alone")
    input: str = Field("", description="of a fused model that reads several features of the modality: which of them")
    pool: Literal["mean", "none"] = Field("mean", description="of a trained encoder: one vector, or every segment")
    release: ReleaseFolder = Field(exclude=True)


class Released:
    """Embeddings by a release; the digest of the release and what its input is made by are in the fingerprint."""

    name = RELEASE
    version = 1
    Params = ReleasedParams

    def __init__(self, params: ReleasedParams) -> None:
        self.params = params
        release = params.release
        self.base = _base_of(release)
        self.modality = self.base.modality
        self.needs = self.base.needs
        self.micro_batch = micro_batch_of(self.base)
        self.uses_device = uses_device(self.base)
        self.weights_sha256 = digest_of(RELEASE, release.sha256, release.base.fingerprint)
        config = read_json(Path(release.folder) / CONFIG_NAME)
        self.is_fused = config.get("model_type") == _FUSED
        if self.is_fused and params.pool == "none":
            raise ConfigError(
                f"{release.name} is a fused model: it has one embedding per clip, and pool must be 'mean'"
            )
        dim = _fused_dim(config["spec"]) if self.is_fused else spec_from_json(config).width
        made = f"{'the' if self.is_fused else 'experimental'} {self.modality} embedding of {release.name}"
        self.schema = FeatureSchema(
            feature=f"{self.name}@{self.version}",
            modality=self.modality,
            kind=FeatureKind.SEQUENCE if params.pool == "none" else FeatureKind.VECTOR,
            dim=dim,
            description=f"{made}, from {release.base.name}",
        )
        self._embed: Embed | None = None

    @property
    def units(self) -> tuple[int, int]:
        """Return what the extractor of the input says of itself."""
        return units_of(self.base)

    def setup(self, device: str) -> None:
        """Load the network and what makes its input, once; the network is small and stays on the CPU."""
        folder = Path(self.params.release.folder)
        data = folder / WEIGHTS_NAME
        if not data.is_file():
            raise ConfigError(f"{self.params.release.name} is gone: {data} is missing. Plan again.")
        if sha256_file(data) != self.params.release.weights_sha256:
            raise StoreError(f"{data} has other content than was published. Run `mmpipe verify`.")
        self.base.setup(device)
        self._embed = _fused(folder, self.params.release.base) if self.is_fused else _encoder(folder)

    def extract(self, batch: Sequence[ClipMedia]) -> list[FeatureValue]:
        """Return an embedding per clip, each computed alone: no clip changes another's."""
        return [self._value(found) for found in self.base.extract(batch)]

    def _value(self, found: FeatureValue) -> FeatureValue:
        assert self._embed, "setup comes first"
        x_TD = np.atleast_2d(found.array)
        z_SW, rows_S = self._embed(x_TD)
        if self.params.pool == "mean":
            return FeatureValue(array=z_SW.mean(axis=0, dtype=np.float64).astype(np.float32))
        assert found.times_ns is not None, "a trained encoder reads sequences"
        return FeatureValue(array=z_SW, times_ns=found.times_ns[rows_S])


def parse_release(text: str) -> tuple[str, str]:
    """Return name and version of `release:NAME@VERSION`; raise ConfigError where a version is missing."""
    name, _, version = text.removeprefix(PREFIX).partition("@")
    if not name or not version[:1].isdigit():
        raise ConfigError(
            f"{text!r} names no version: write {PREFIX}{name or 'NAME'}@3 or @3-0a1b2c3d. An alias such as @production "
            "moves, and values would change meaning with it."
        )
    return name, version


def _base_of(release: ReleaseFolder) -> Extractor:
    """Return what makes the network's input; refuse one that makes other values than the network learnt from."""
    from mmpipe.features.naming import make_feature  # which knows the registry, and so this file

    base = make_feature(release.base.name, release.base.table)
    if fingerprint(base) != release.base.fingerprint:
        raise ConfigError(
            f"{release.name} was trained on another {release.base.name} than the one installed makes: its weights, "
            "parameters, version or dtype differ. Use the mmpipe and the models that trained it, or train it again."
        )
    return base


def _fused_dim(spec: Mapping[str, Any]) -> int:
    """Return the size of what a fused model embeds of one modality: an encoder's, or that of its shared space."""
    if spec.get("goal") == Goal.RETRIEVE:
        return RetrieveOptions(**spec.get("goal_options", {})).dim
    return int(spec["encoder"]["width"])


def _encoder(folder: Path) -> Embed:
    import torch

    from mmpipe.features.trained.files import load_encoder

    network = load_encoder(folder)

    def embed(x_TD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with _ON_CPU.computing():
            found = network.encode(torch.tensor(x_TD))
            return found.z_SW.numpy(), found.rows_S.numpy()

    return embed


def _fused(folder: Path, base: BaseFeature) -> Embed:
    import torch

    from mmpipe.fusion.files import load_model

    model = load_model(folder)
    (feature,) = (name for name in model.spec.features if name.rpartition("@")[0] == base.name)

    def embed(x_TD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with _ON_CPU.computing():
            x_1TD = torch.tensor(x_TD, dtype=torch.float32)[None]
            z_1W = model.embed(feature, x_1TD, torch.ones(x_1TD.shape[:2], dtype=torch.bool))
            return z_1W.numpy(), np.zeros(1, np.int64)

    return embed
