"""Rounds are drawn from a seed: the same again, and every victim meets both kinds of run."""

from __future__ import annotations

from tests.faults.blows import KINDS, Victim, draw_rounds


def test_a_seed_gives_the_same_rounds_again_and_another_seed_others() -> None:
    assert draw_rounds(30, seed=7) == draw_rounds(30, seed=7) != draw_rounds(30, seed=8)


def test_thirty_rounds_strike_everybody_in_both_kinds_with_both_signals() -> None:
    rounds = draw_rounds(30, seed=7)
    met = {(played.kind, played.blows[0].victim) for played in rounds}
    assert len({victim for _, victim in met}) == len(Victim)
    assert {kind for kind, _ in met} == set(KINDS)
    assert {blow.signal.name for played in rounds for blow in played.blows} == {"SIGTERM", "SIGKILL"}
    assert {len(played.blows) for played in rounds} == {1, 2}
    assert {played.restarts_server for played in rounds} == {True, False}


def test_blows_come_in_the_order_of_their_moments() -> None:
    for played in draw_rounds(60, seed=3):
        moments = [blow.moment for blow in played.blows]
        assert moments == sorted(moments)


def test_who_is_not_there_is_not_struck() -> None:
    victims = (Victim.FLOW, Victim.WORKER)
    assert {blow.victim for played in draw_rounds(20, 7, victims) for blow in played.blows} == set(victims)
