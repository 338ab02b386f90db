"""The handle of work under way: what `bench.start` and every other call that starts training returns."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, overload

from workbench.core.errors import ModelError, RunError
from workbench.core.events import ENDED, EpochEnd, Event, StateChanged, TrialEnded, TrialState
from workbench.models import code_of
from workbench.runs.waiting import RunInterrupted, Waiting
from workbench.training import Commands, Training, Weights

if TYPE_CHECKING:
    from torch import nn

    from workbench.core.config import Config
    from workbench.training.commands import Mailbox
    from workbench.training.results import Results

__all__ = ["Run", "Runs"]


class Run(Waiting):
    """Some trials that train together, from queued to ended. Thread-safe; can be awaited.

    trials: their numbers in the log. configs: the Config of each, as they started. search: the search they belong to.
    label: what the charts call it, "" for the trials' numbers.
    compare_with: trials that are drawn with it, for comparison. fixed_epochs: after which its trials end, None for those of their
    configurations. grows: whether trials join it while it goes on, as in a search.
    """

    grows = False

    def __init__(
        self,
        configs: dict[int, Config],
        training: Training,
        pump: Callable[[], object] | None = None,
        *,
        label: str = "",
        compare_with: Sequence[int] = (),
        search: int | None = None,
    ) -> None:
        super().__init__(pump)
        self.label = label
        self.compare_with = tuple(compare_with)
        self._code: dict[tuple[str, str], str] = {}
        self.configs = dict(configs)
        self.trials = tuple(configs)
        self.search = search
        self.fixed_epochs = None if training.fixed is None else training.fixed.epochs
        self._training: Training | None = training  # None once it has ended: its cohorts hold copies of the data
        self._results: Results | None = None
        self._commands: Commands = training.commands
        self.message: Callable[[str], None] = lambda text: None  # set by the runner: publishes without logging
        self._states = dict.fromkeys(configs, TrialState.QUEUED)
        self._epochs = dict.fromkeys(configs, 0)

    # --- what a person asks of it -----------------------------------------------------------------------------------

    def pause(self) -> None:
        """Stop after the step under way and wait there; nothing is lost."""
        self._check_going("pause")
        self._commands.pause()

    def resume(self) -> None:
        """Go on after `pause`."""
        self._check_going("resume")
        self._commands.resume()

    def stop(self) -> None:
        """End the trials after the step under way; their finished epochs stay in the log. Stopping twice is fine."""
        self._commands.stop()

    def set(self, trial: int | None = None, **values: float) -> None:
        """Change live hyperparameters (learning_rate, momentum, l1, l2) from the next step on, of one trial or of all.

        Raises: ConfigError for a name that is not live or an impossible value; RunError when the run has ended.
        """
        self._check_going("change")
        if trial is not None and trial not in self.trials:
            raise RunError(f"trial {trial} is not part of this run; its trials are {', '.join(map(str, self.trials))}")
        self._commands.set(trial, **values)

    def peek(self, trial: int, mailbox: Mailbox) -> None:
        """Ask for a copy of a trial's weights at the next step; see `Commands.peek`. Nothing of it is logged."""
        self._commands.peek(trial, mailbox)

    @property
    def stopped(self) -> bool:
        """Whether it was asked to stop."""
        return self._commands.stopped

    @property
    def paused(self) -> bool:
        return TrialState.PAUSED in self._states.values()

    @property
    def states(self) -> dict[int, TrialState]:
        """Where each trial stands."""
        return dict(self._states)

    def model(self, trial: int | None = None) -> nn.Module:
        """An ended trial's `nn.Module` with its best weights (those of its best epoch), on the CPU, in evaluation mode.

        Raises: RunError while the trial has not ended, if it failed, or if it was cross-validated: it has several models.
        """
        trial = self.trials[0] if trial is None else trial
        training = self._training  # read first: the results are there before it is let go
        trained = self._results or training
        if trained is None or trial not in trained.weights:
            state = self._states.get(trial, "not part of this run")
            raise RunError(f"trial {trial} has no trained model (it is {state}); wait for it to end")
        if (count := len(trained.fold_weights.get(trial, ()))) > 1:
            raise RunError(
                f"trial {trial} was cross-validated and has {count} models: bench.model({trial}, fold=1) to fold={count} gives "
                f"one of them, bench.refit({trial}) trains one on all rows outside the test set"
            )
        return trained.module(trial)

    @property
    def title(self) -> str:
        """What a run that grows is called."""
        return ""

    @property
    def progress(self) -> Any:
        """How far a run that grows is; None for any other, whose trials say it."""
        return None

    @property
    def verdict(self) -> str:
        """Its result in a sentence, in addition to the trials' states; "" for none."""
        return ""

    def weights_of(self, trial: int, fold: int = 0) -> Weights | None:
        """An ended trial's best weights, of the fold with this index; None if they are not at hand."""
        training = self._training  # read first: the results are there before it is let go
        trained = self._results or training
        found = () if trained is None else trained.fold_weights.get(trial, ())
        return found[fold] if fold < len(found) else None

    def __repr__(self) -> str:
        counts: dict[str, int] = {}
        for state in self._states.values():
            counts[state.value] = counts.get(state.value, 0) + 1
        what = ", ".join(f"{n} {state}" if len(self.trials) > 1 else state for state, n in counts.items())
        numbers = ", ".join(map(str, self.trials)) if len(self.trials) < 6 else f"{self.trials[0]}...{self.trials[-1]}"
        return f"<Run of trial{'s' * (len(self.trials) > 1)} {numbers}: {what}>"

    def check_code(self, *configs: Config) -> None:
        """Check that the user's own code that some configurations choose is what it was at the first call with it.

        A builder or loss stays what it was when the run was made, but what it refers to by name can be defined again
        meanwhile, by a cell that is run again. Raises: ModelError.
        """
        for config in configs:
            for field, now in code_of(config).items():
                name = getattr(config, field)
                if self._code.setdefault((field, name), now) != now:
                    raise ModelError(
                        f"{field} {name!r}: the code that it refers to was changed while trials with it waited or trained "
                        "(was its cell run again?); the trials that had not begun did not start. Start them again"
                    )

    def adopt(self, configs: Mapping[int, Config]) -> None:
        """Take in trials that were just entered into the log."""
        self.configs.update(configs)
        self.trials = tuple(self.configs)
        self._states.update(dict.fromkeys(configs, TrialState.QUEUED))
        self._epochs.update(dict.fromkeys(configs, 0))

    # --- called by the runner -----------------------------------------------------------------------------------

    def _update(self, event: Event) -> None:
        if isinstance(event, (StateChanged, TrialEnded)):
            self._states[event.trial] = event.state
        elif isinstance(event, EpochEnd):
            self._epochs[event.trial] = event.epoch

    def _finish(self, error: BaseException | None) -> None:
        self.error = error
        if self._training is not None:
            self._results = self._training.results()
            self._training = None
        self._done.set()

    # ----------------------------------------------------------------------------------------------------------------

    def _kept(self) -> str:
        return ", ".join(f"trial {trial}: {self._epochs[trial]} epochs kept" for trial in self.trials)

    def _check_going(self, what: str) -> None:
        if self._done.is_set():
            states = ", ".join(sorted({state.value for state in self._states.values() if state in ENDED}))
            raise RunError(f"cannot {what} a run that has ended ({states}); start a new one")


class Runs(Sequence[Run]):
    """Several runs, one after the other, as one handle: `wait()`, `pause()`, `resume()`, `stop()`; can be awaited."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._runs = tuple(runs)

    @property
    def trials(self) -> tuple[int, ...]:
        return tuple(trial for run in self._runs for trial in run.trials)

    @property
    def done(self) -> bool:
        return all(run.done for run in self._runs)

    def wait(self, timeout: float | None = None) -> Self:
        """Block until all have ended, as `Run.wait`; the kernel's interrupt stops all of them."""
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            for run in self._runs:
                run.wait(None if deadline is None else max(0.0, deadline - time.monotonic()))
        except RunInterrupted:
            self.stop()
            raise
        return self

    def pause(self) -> None:
        self._each(Run.pause)

    def resume(self) -> None:
        self._each(Run.resume)

    def stop(self) -> None:
        self._each(Run.stop)

    def __await__(self) -> Generator[Any, None, Self]:
        for run in self._runs:
            yield from run.__await__()
        return self

    @overload
    def __getitem__(self, index: int) -> Run: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Run]: ...
    def __getitem__(self, index: int | slice) -> Run | Sequence[Run]:
        return self._runs[index]

    def __len__(self) -> int:
        return len(self._runs)

    def __repr__(self) -> str:
        return f"<Runs: {', '.join(map(repr, self._runs)) or 'nothing to resume'}>"

    def _each(self, action: Callable[[Run], None]) -> None:
        for run in self._runs:
            if not run.done:
                action(run)
