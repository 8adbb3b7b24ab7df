"""Where notices go: one block of the server, which alone keeps the address and its secrets."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit
from uuid import UUID

from prefect.blocks.notifications import SlackWebhook
from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import ObjectNotFound
from pydantic import SecretStr

from mmpipe.errors import ConfigError

VARIABLE = "MMPIPE_NOTIFY_URL"
BLOCK = "mmpipe-notices"
# Of all blocks of Prefect this one takes every address that Apprise knows (mailtos://, slack://, json://, ...), keeps
# it secret, and does not put it into the log when it cannot be reached, as the block "Custom Webhook" does.
BLOCK_TYPE = SlackWebhook
_BLOCK_TYPE_SLUG = "slack-webhook"
_PLAIN = {"http": "json", "https": "jsons"}


def ensure_target(client: SyncPrefectClient, environment: Mapping[str, str] = os.environ) -> UUID | None:
    """Return the block that notices go to, made or mended from the environment; None where there is none at all.

    Without the variable a block that is there stays: a command that was started without its secrets silences nobody.
    """
    found = read_block(client)
    if address := environment.get(VARIABLE, "").strip():
        wanted = notify_address(address)
        if found is None or found[1] != wanted:
            return _save_block(wanted)
    return found[0] if found else None


def read_block(client: SyncPrefectClient) -> tuple[UUID, str] | None:
    """Return the block's number and address."""
    try:
        document = client.read_block_document_by_name(BLOCK, _BLOCK_TYPE_SLUG, include_secrets=True)
    except ObjectNotFound:
        return None
    return document.id, str(document.data.get("url", ""))


def notify_address(address: str) -> str:
    """Return an address as the block takes it: a web address that Apprise has no name for gets notices as JSON.

    Several addresses may stand there, with spaces between them.
    """
    return " ".join(_as_apprise(one) for one in address.split())


def _as_apprise(address: str) -> str:
    parts = urlsplit(address)
    if not _is_known(address) and parts.scheme in _PLAIN:
        query = urlencode([(f"-{key}", value) for key, value in parse_qsl(parts.query, keep_blank_values=True)])
        address = urlunsplit(parts._replace(scheme=_PLAIN[parts.scheme], query=query))
    if not _is_known(address):
        raise ConfigError(
            f"{VARIABLE}: notices cannot go to an address that begins with {parts.scheme!r} (the rest is not shown: it "
            "may hold a secret). Give https://host/path for a webhook, "
            "mailtos://user:password@host?to=address for e-mail, or any other URL of Apprise"
        )
    return address


def _is_known(address: str) -> bool:
    """Ask Apprise, and keep it from telling the log what it was asked."""
    from apprise import Apprise

    logger = logging.getLogger("apprise")
    before, logger.disabled = logger.disabled, True
    try:
        return Apprise.instantiate(address, suppress_exceptions=True) is not None
    finally:
        logger.disabled = before


def _save_block(address: str) -> UUID:
    saved = BLOCK_TYPE(url=SecretStr(address)).save(BLOCK, overwrite=True)
    assert isinstance(saved, UUID)
    return saved
