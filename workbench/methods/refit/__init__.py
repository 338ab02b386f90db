"""A chosen configuration, trained again on the training and validation rows."""
