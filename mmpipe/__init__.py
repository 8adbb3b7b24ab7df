"""Turn raw video, audio, images and text into aligned feature shards and fused models that earned their release."""
