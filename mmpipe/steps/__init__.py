"""Join the rooms into the steps of a night: the only place that knows two rooms.

ingest -> plan -> extract -> train -> release -> report, and predict on the way back.
"""
