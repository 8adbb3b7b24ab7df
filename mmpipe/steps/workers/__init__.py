"""The processes that touch raw bytes or a device: what they run, and what is said to them."""
