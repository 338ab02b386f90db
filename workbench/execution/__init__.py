"""The runner: trains in the background and is the only writer of a trial's end."""
