"""How good the models are, beside what others published: commands that print ours and theirs with an interval."""
