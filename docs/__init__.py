"""Pages for people, and what keeps them true."""
