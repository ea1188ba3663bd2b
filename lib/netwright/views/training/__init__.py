"""A training, looked back through epoch by epoch."""
