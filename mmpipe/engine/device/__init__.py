"""One process per device computes for all workers of a machine: media reach it through shared memory."""
