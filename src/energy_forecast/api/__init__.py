"""The HTTP API: each request is one transaction with the rights of the user of its key."""
