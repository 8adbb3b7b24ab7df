"""Tell a person what there is: the page of a night, doctor, metrics, samples."""
