"""The stages of a flow run name it as their parent, and the first run of all as the root."""

from __future__ import annotations

from mmpipe.steps.ground.watching import OuterRun
from tasks.lineage import ROOT_JOB_LABEL, ROOT_RUN_LABEL, below_flow_run, root_in, root_labels


def test_children_carry_the_run_that_began_it_all() -> None:
    first = root_labels("1", "nightly", {"other": 3})
    assert root_in(first) == OuterRun(run_id="1", job="nightly")
    assert root_labels("2", "extract", first) == first == {ROOT_RUN_LABEL: "1", ROOT_JOB_LABEL: "nightly"}
    assert root_in({}) is None


def test_outside_of_a_flow_there_is_nobody_to_name() -> None:
    with below_flow_run():
        pass
