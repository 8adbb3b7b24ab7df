"""Published research data sets in the files that their authors distribute: read, checked, and told as samples."""
