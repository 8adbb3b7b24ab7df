"""From a preprocessed feature to the width that all modalities share: one file per kind, trained with the fusion."""
