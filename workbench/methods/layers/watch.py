"""Looking into a network while it trains, and into an ended trial's: from weights to what the layers panel shows.

What trains is not touched. The training loop hands out a copy of the weights between two steps (`Commands.peek`); a thread of
its own puts them into a module of its own and looks at that.
"""

from __future__ import annotations

import atexit
import html
import math
import threading
import time
import weakref
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, NamedTuple, Protocol

import pandas as pd
import torch

from workbench.core.errors import RunError, WorkbenchError
from workbench.core.events import ENDED, TrialState
from workbench.methods.layers.figure import decision_boundary, layer_histograms
from workbench.methods.layers.live_figure import layer_grid, plane_frame, plane_png
from workbench.methods.layers.tab import HINT, Picture
from workbench.methods.layers.views import Block, Boundary, LayerView, Plane, blocks, layer_frame, layer_views
from workbench.models import build_model
from workbench.models.layers import inspect_layers
from workbench.tasks.rows import ready
from workbench.training import filled
from workbench.training.commands import Mailbox, Peek

if TYPE_CHECKING:
    from torch import nn

    from workbench.core.config import Config
    from workbench.runs.trained_model import TrainedModel
    from workbench.tasks import Task
    from workbench.tasks.fold_data import Fold
    from workbench.tasks.rows import Batch
    from workbench.ui.figures import NotebookFigure

__all__ = ["Layers", "Watcher", "read_layers"]

ROWS = 256
"""The activations are those of at most so many training rows, evenly spaced."""
LIVE_VALUES = 4096
"""While it trains, a histogram counts at most so many values."""
LOOK_SECONDS = 0.2
"""At most five looks a second."""
SHARE = 0.02
"""Of the time, that looking may take: copying the weights, looking and drawing. By the clock and not by what a core has worked:
on a busy machine a thread may be suspended while it holds Python's lock, and training then waits."""
ANSWER_SECONDS = 0.5
"""How often one who waits for the training loop's answer looks whether the run has ended."""
EXIT_SECONDS = 10.0


@dataclass(frozen=True, eq=False, repr=False)
class Layers:
    """The layers of a trial's network after an epoch, on at most 256 training rows, in evaluation mode.

    frame: one row a layer. `figure()`: histograms of weights and activations. `boundary()`: the decision boundary, for tasks with
    two inputs.
    """

    trial: int
    epoch: int
    task: str
    views: list[LayerView]
    plane: Plane | None = None
    answers: Boundary | None = None
    fold: int | None = None

    @property
    def frame(self) -> pd.DataFrame:
        """One row a layer, in the order of the forward pass.

        layer, kind; parameters: how many numbers it has learnt; mean, std, norm and zeros of its weights, without biases (zeros:
        the share that is below 1% of the largest); dead: the share of an activation's units that learn nothing (their slope is
        nearly zero on every row); input_mean, input_std, output_mean, output_std: of what it was given, and what it made of
        it. NaN for what a layer does not have.
        """
        return layer_frame(self.views)

    @property
    def blocks(self) -> list[Block]:
        """The layers with weights, each with the normalisation and the activation that follow it."""
        return blocks(self.views)

    def figure(self) -> NotebookFigure:
        """Histograms, a line for each layer with weights: weights, outputs, after normalisation, after activation."""
        return layer_histograms(self.blocks, self._which)

    def decision_boundary(self) -> NotebookFigure:
        """The decision boundary with the training and validation points. Raises: RunError for a task without two inputs."""
        if self.plane is None or self.answers is None:
            raise RunError(
                f"{self.task!r} has not two inputs: a decision boundary is drawn over a plane; see bench.layers"
            )
        title = f"{self._which} (dots: training, rings: validation)"
        return decision_boundary(self.answers, self.plane, title)

    def __repr__(self) -> str:
        return f"<Layers of {self._which} on {self.task!r}>\n{self._table().to_string()}"

    def _repr_html_(self) -> str:
        title = html.escape(f"{self._which} on {self.task}")
        table: str = self._table().to_html(index=False, na_rep="")
        return f"<b>{title}</b>{table}"

    @property
    def _which(self) -> str:
        fold = "" if self.fold is None else f"fold {self.fold} of "
        return f"{fold}trial {self.trial} after epoch {self.epoch}"

    def _table(self) -> pd.DataFrame:
        return self.frame.round(4)


def read_layers(model: TrainedModel, task: Task, fold: int | None = None) -> Layers:
    """The layers of a trained model, measured on the training rows of its task, or of its fold. The model is not changed."""
    one = task if fold is None or task.folds is None else task.folds.members[fold - 1]
    rows, plane = _rows(one), Plane.of(one)
    views = layer_views(inspect_layers(model.module, rows), rows)
    boundary = None if plane is None else plane.boundary(model.module)
    return Layers(model.trial or 0, model.epoch or 0, task.name, views, plane, boundary, fold)


def _rows(task: Task | Fold) -> Batch:
    x = task.train.x
    return ready(x[:: -(-len(x) // ROWS)])


# --- live ---------------------------------------------------------------------------------------------------------------


class Panel(Protocol):
    """Where it is shown. busy: what is being waited for."""

    busy: str

    def show(self, picture: Picture) -> None: ...
    def show_problem(self, text: str) -> None: ...


class Watched(Protocol):
    """What is asked of a run."""

    @property
    def configs(self) -> dict[int, Config]: ...
    @property
    def states(self) -> dict[int, TrialState]: ...
    @property
    def done(self) -> bool: ...
    def peek(self, trial: int, mailbox: Mailbox) -> None: ...


class _Wanted(NamedTuple):
    """What the panel is to show: of a trial in this state the present weights, or those of an ended one (state None) after an
    epoch, by default its best."""

    trial: int | None
    state: TrialState | None = None
    epoch: int | None = None


class _Found(NamedTuple):
    """A picture, or why there is none; None if there was nothing to see. seconds: what it took."""

    wanted: _Wanted
    result: Picture | str | None
    seconds: float


class Watcher:
    """Keeps a layers panel up to date: at most five looks a second, and SHARE of the time.

    task_of: the task that a trial was trained on. run_of: the run of a trial that was started here. model_of: the model of an
    ended trial after an epoch, by default the best one; may take its time, is called in a thread, and so is epochs_of: its
    first and last epoch. wake: called when there is something to show. clock: seconds. work_clock: seconds, by which looks are
    measured. spawn: calls a function in a thread. `tick` and `look` are for the main thread.
    """

    def __init__(
        self,
        task_of: Callable[[int], Task],
        panel: Panel,
        *,
        run_of: Callable[[int], Watched | None],
        model_of: Callable[[int, int | None], TrainedModel],
        epochs_of: Callable[[int], tuple[int, int]],
        wake: Callable[[], object] = lambda: None,
        clock: Callable[[], float] = time.perf_counter,
        work_clock: Callable[[], float] = time.perf_counter,
        spawn: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        self._task_of, self._panel, self._wake, self._clock, self._work_clock = task_of, panel, wake, clock, work_clock
        self._run_of, self._model_of, self._epochs_of = run_of, model_of, epochs_of
        self._spawn = spawn or self._in_thread
        self._thread: threading.Thread | None = None
        self._trial: int | None = None
        self._epoch: int | None = None
        self._shown: _Wanted | None = None
        self._found: _Found | None = None
        self._working = False
        self._asked = self._due = -math.inf
        self._eye: _Eye | None = None
        torch.get_num_threads()  # else this thread might take over the setting of the one that looks
        atexit.register(_leave, weakref.ref(self))

    def look(self, epoch: int | None) -> None:
        """Show an ended trial's weights after this epoch, None for its best one."""
        self._epoch = epoch
        self._wake()

    def tick(self, trial: int | None, *, in_front: bool) -> None:
        """If the panel is in front, show what has been found of the trial, and ask for the next look. Does not wait."""
        if not in_front:
            return
        if trial != self._trial:
            self._trial, self._epoch = trial, None
        wanted = self._wanted()
        found, self._found = self._found, None
        if found is not None:
            self._working = False
            self._show(found, wanted)
        if wanted.trial is None or wanted.state is TrialState.QUEUED:
            if self._shown != wanted:
                self._shown = wanted
                self._panel.show_problem(HINT if trial is None else f"Trial {trial} waits for its turn.")
            return
        new = wanted.state is TrialState.RUNNING or self._shown != wanted  # what rests looks as it did before
        # what has ended takes no time from the training, and there may be no further tick to wait for
        if new and not self._working and (wanted.state is None or self._clock() >= self._due):
            self._begin(wanted)

    # ----------------------------------------------------------------------------------------------------------------

    def _wanted(self) -> _Wanted:
        trial = self._trial
        run = None if trial is None else self._run_of(trial)
        state = None if run is None or run.done or trial is None else run.states.get(trial)
        return _Wanted(trial, state) if state not in (None, *ENDED) else _Wanted(trial, None, self._epoch)

    def _show(self, found: _Found, wanted: _Wanted) -> None:
        started = self._work_clock()
        if found.wanted == wanted and found.result is not None:
            self._shown = wanted
            if isinstance(found.result, str):
                self._panel.show_problem(found.result)
            else:
                self._panel.show(found.result)
        seconds = found.seconds + self._work_clock() - started
        self._due = self._asked + max(LOOK_SECONDS, seconds / SHARE if found.wanted.state is not None else 0.0)

    def _begin(self, wanted: _Wanted) -> None:
        self._asked, self._working = self._clock(), True
        trial, state, epoch = wanted
        assert trial is not None
        run = None if state is None else self._run_of(trial)
        if run is None:
            self._panel.busy = f"Reading the weights of trial {trial} …"
            self._spawn(lambda: self._work(wanted, lambda: self._ended(trial, epoch)))
            return
        mailbox: Mailbox = SimpleQueue()
        run.peek(trial, mailbox)
        self._spawn(lambda: self._work(wanted, lambda: self._going(run, mailbox, state is TrialState.PAUSED)))

    def _eye_on(self, trial: int) -> _Eye:
        """What draws the layers of a trial; kept for the next one on the same task."""
        task = self._task_of(trial)
        if self._eye is None or self._eye.task is not task:
            self._eye = _Eye(task)
        return self._eye

    # --- in a thread ------------------------------------------------------------------------------------------------

    def _in_thread(self, work: Callable[[], None]) -> None:
        # a daemon, so that a kernel can always be shut down; nothing is lost with it
        self._thread = threading.Thread(target=copy_context().run, args=[work], name="workbench-watching", daemon=True)
        self._thread.start()

    def _work(self, wanted: _Wanted, look: Callable[[], tuple[Picture | None, float]]) -> None:
        result: Picture | str | None
        try:
            result, seconds = look()
        except WorkbenchError as error:
            result, seconds = str(error), 0.0
        except Exception as error:  # whatever a model of the user's own raises
            result, seconds = f"The layers cannot be shown: {type(error).__name__}: {error}", 0.0
        self._found = _Found(wanted, result, seconds)
        self._wake()

    def _going(self, run: Watched, mailbox: Mailbox, paused: bool) -> tuple[Picture | None, float]:
        """The picture of a trial that trains, and what it took: the copy of the weights included, waiting for it not."""
        peek = _answer(run, mailbox)
        if peek is None:
            return None, 0.0
        started = self._work_clock()
        torch.set_num_threads(1)
        eye = self._eye_on(peek.trial)
        module = filled(eye.module(peek.trial, run.configs[peek.trial]), peek.weights)
        caption = (
            f"Trial {peek.trial}, {'paused' if paused else 'training'}: epoch {peek.epoch + 1}, step {peek.step:,}"
        )
        picture = replace(eye.picture(module, caption), epoch=peek.epoch + 1)
        return picture, peek.seconds + self._work_clock() - started

    def _ended(self, trial: int, epoch: int | None) -> tuple[Picture, float]:
        """The picture of a trial that has ended."""
        started = self._work_clock()
        model, epochs = self._model_of(trial, epoch), self._epochs_of(trial)
        eye = self._eye_on(trial)
        which = "its best epoch" if epoch is None else "epoch"
        picture = eye.picture(model.module, f"Trial {trial} after {which} {model.epoch}")
        return replace(picture, epochs=epochs, epoch=model.epoch), self._work_clock() - started


class _Eye:
    """Draws the layers of modules on one task. What does not change between two looks is made once."""

    def __init__(self, task: Task) -> None:
        self.task, self._rows, self._plane = task, _rows(task), Plane.of(task)
        self._grid = None if self._plane is None else self._plane.grid()
        self._frame = "" if self._plane is None else plane_frame(self._plane)
        self._module: tuple[int, nn.Module] | None = None

    def module(self, trial: int, config: Config) -> nn.Module:
        """A module for a trial's weights, which are yet to be filled in."""
        if self._module is None or self._module[0] != trial:
            self._module = (trial, build_model(self.task, config))
        return self._module[1]

    def picture(self, module: nn.Module, caption: str) -> Picture:
        """module: in evaluation mode."""
        views = layer_views(inspect_layers(module, self._rows), self._rows, LIVE_VALUES)
        of = "" if self.task.folds is None else " of fold 1"  # whose weights are shown
        text = f"{caption} · activations of {len(self._rows)} training rows{of}, as the model predicts"
        if self._plane is None:
            return Picture(text, layer_grid(blocks(views)))
        raster = plane_png(self._plane.boundary(module, self._grid), len(self._plane.classes or ()))
        return Picture(text, layer_grid(blocks(views)), raster, self._frame)


def _answer(run: Watched, mailbox: Mailbox) -> Peek | None:
    """What the training loop has put into the mailbox, None if it has nothing to show or has ended."""
    while True:
        over = run.done  # asked first: an answer may come between a look into the mailbox and the run's end
        try:
            return mailbox.get(timeout=0.0 if over else ANSWER_SECONDS)
        except Empty:
            if over:
                return None


def _leave(watcher: weakref.ref[Watcher]) -> None:
    """Wait for a running inspection when the interpreter exits; torch fails otherwise."""
    found = watcher()
    if found is not None and found._thread is not None:
        found._thread.join(EXIT_SECONDS)
