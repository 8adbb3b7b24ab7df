"""Small experimental encoders that are trained here, on stored features. Importing one loads torch."""
