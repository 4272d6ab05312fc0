"""Networks that turn pictures into features, their weights, and what runs them."""
