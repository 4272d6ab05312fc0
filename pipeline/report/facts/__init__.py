"""What a page shows, as plain numbers."""
