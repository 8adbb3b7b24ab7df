"""Check every committed byte of the store, and mend it where that is asked for."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.life import refuse_endless_starts
from flows.naming import run_name
from flows.parameters import VerifyParameters
from flows.target import read_config
from tasks.artifacts import run_page
from tasks.keep import check_store, mend_store

DEFAULTS = VerifyParameters()


@flow(name="verify", flow_run_name=run_name, persist_result=False)
def verify(parameters: VerifyParameters = DEFAULTS) -> State[Any]:
    """Compare the store with its manifests; fail where something is damaged, after mending what can be mended."""
    refuse_endless_starts()
    config = read_config(parameters)
    corpus = config.corpus(parameters.corpus)[0] if parameters.corpus else ""
    with run_page("verify", *([corpus] if corpus else [])) as page:
        if parameters.repair:
            page.add("repair", mend_store(config, corpus))
        checked = check_store(config, corpus)
        page.add("verify", checked)
        checked.raise_if_damaged()
    return Completed(message=f"nothing is damaged; {len(checked.rows)} warnings")
