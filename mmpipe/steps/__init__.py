"""Join the rooms into the steps of a night: the only place that knows two rooms.

ingest -> plan -> extract -> train -> release -> report (tell); ask, search, serve and app are the way back to people.
Each room of the steps knows only those that stand below it; `tests/test_layers.py` has their order.
"""
