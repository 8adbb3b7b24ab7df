"""The look that all our pages share: one style sheet, a few macros, and the policy of what a page may do."""
