"""What each page of the app shows, as plain frozen values: nothing here knows a store or a browser."""
