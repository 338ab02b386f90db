"""Built-in architectures and the registry that also takes the user's own."""
