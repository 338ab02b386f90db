"""What trials differ in: configurations, live changes, branch points, code, data and scores."""
