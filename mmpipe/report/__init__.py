"""One page that shows a person what a run took in, what it made, and whether the model earned its release."""
