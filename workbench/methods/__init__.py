"""One package for each capability: its calculation, public call, figure and tab."""
