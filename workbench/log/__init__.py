"""The trial log: append-only events in a database, read as DataFrames."""
