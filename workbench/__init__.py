"""Tune deep-learning models by hand and by search, live in a notebook.

import workbench as wb
bench = wb.Workbench(wb.Task.load("digits"), log="trials.db")
bench
"""

import lazy_loader

# importing these fills the tables of choices, which a Config is checked against
from workbench import models as models
from workbench import training as training
from workbench.core.version import __version__ as __version__

# the public names are listed in __init__.pyi, and loaded on first use
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ = sorted({*__all__, "__version__"} - {"models", "training"})
