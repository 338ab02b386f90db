"""A trial, several, or a search as one HTML file."""
