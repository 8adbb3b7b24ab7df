"""Keep a store: verify, repair, compact, collect, migrate, forget."""
