"""The runner: trains in the background and is the only writer of a trial's end."""

from workbench.execution.aside import Aside
from workbench.execution.job import Job
from workbench.execution.run import Run, Runs
from workbench.execution.runner import Runner, fitting_threads, stopped_now
from workbench.execution.search import Search
from workbench.execution.waiting import RunInterrupted

__all__ = ["Aside", "Job", "Run", "RunInterrupted", "Runner", "Runs", "Search", "fitting_threads", "stopped_now"]
