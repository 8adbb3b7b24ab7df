"""Answer questions over HTTP: bounded uploads, micro-batches, versions that take over; it knows only a Predictor."""
