"""The read-only web page over a store: values of each page, how they look, and the server that shows them."""
