"""What a release has beside its weights, and who vouches for it."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from mmpipe.config.table import Flag, Table


class ReleaseConfig(Table):
    """What a release has beside its weights, and who vouches for it."""

    onnx: Flag = Field(True, description="also write model.onnx, where mmpipe[onnx] is installed")
    sign_key: Path | None = Field(
        None, description="file of an Ed25519 private key (PEM) that signs every release; or MMPIPE_SIGN_KEY"
    )
    public_key: Path | None = Field(None, description="file of the public key (PEM) that signatures are checked with")
    require_signature: Flag = Field(
        False, description="promote and ask only versions that `public_key` says are signed"
    )

    @model_validator(mode="after")
    def _a_signature_needs_a_key(self) -> Self:
        if self.require_signature and self.public_key is None:
            raise ValueError("require_signature = true needs public_key, the file of the key to check with")
        return self
