"""Keep features where any team can open them: immutable objects, numbered manifests, a plain view for other tools."""
