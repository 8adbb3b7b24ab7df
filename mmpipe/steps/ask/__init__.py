"""Ask a released model about raw media: features by warm workers, straight to the network, without a store."""
