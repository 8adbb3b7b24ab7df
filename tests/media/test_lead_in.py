from __future__ import annotations

from fractions import Fraction

import av

from mmpipe.media.lead_in import LeadIn


def packets(num: int, gop: int) -> list[av.Packet]:
    made = []
    for number in range(num):
        packet = av.Packet(b"x" * 100)
        packet.pts = packet.dts = number
        packet.is_keyframe = number % gop == 0
        made.append(packet)
    return made


def test_decoding_begins_with_the_last_key_frame_before_the_first_clip():
    lead_in = LeadIn(2_560_000_000, Fraction(1, 25))  # frame 64
    admitted = [[packet.pts for packet in lead_in.admit(packet)] for packet in packets(70, 12)]
    assert admitted[:65] == [[]] * 65
    assert admitted[65] == [60, 61, 62, 63, 64, 65] and admitted[66:] == [[66], [67], [68], [69]]
    assert lead_in.key_ns == 2_400_000_000


def test_a_run_that_is_too_long_to_hold_is_decoded_at_once():
    lead_in = LeadIn(10**12, Fraction(1, 25))
    admitted = [lead_in.admit(packet) for packet in packets(1500, 10_000)]
    assert [len(due) for due in admitted[:1001]] == [0] * 999 + [1000, 1]


def test_without_time_stamps_nothing_is_held():
    lead_in = LeadIn(10**12, Fraction(1, 25))
    packet = av.Packet(b"x")
    assert lead_in.admit(packet) == [packet]


def test_the_end_of_the_track_releases_what_is_held():
    lead_in = LeadIn(10**12, Fraction(1, 25))
    for packet in packets(30, 12):
        assert lead_in.admit(packet) == []
    assert [packet.pts for packet in lead_in.release()] == [24, 25, 26, 27, 28, 29]
