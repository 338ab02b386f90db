"""A search under way: which trials train next, together with which, and which of them are pruned."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Sequence
from typing import Any

from workbench.core.config import Config
from workbench.core.direction import Better, is_better
from workbench.core.errors import ConfigError, RunError
from workbench.core.events import EpochEnd, Event, TrialEnded, TrialState
from workbench.core.text import counted
from workbench.methods.search.arm import Arm, Suggestion
from workbench.methods.search.protocol import Budget, Call, NewRow, Progress, Recorder
from workbench.training import cohort_key

__all__ = ["Campaign"]

BATCH = 8
"""How many configurations a strategy that learns is asked for at once. Fixed, so that a search can be repeated exactly."""
LOOK_AHEAD = 256
"""At most so many configurations are drawn in advance, to find those that can train together."""
WITH_PRUNER = 4
"""With a pruner, a cohort takes at most this part of the trials, so that later ones are measured by earlier ones."""
REFILL_SHARE = 4
"""A cohort is refilled once a quarter of its places are free."""
HOPELESS = 8
"""A search ends when its first trials, this many, all failed."""
IMPOSSIBLE = 64
"""The same for trials that failed because of their configuration, which another one may not."""


class Campaign:
    """Hands out cohorts of trials until the budget is spent. Runs on the training thread; `progress` may be read from any.

    arms: where configurations come from, in turn; a search has one, a fair comparison one for each value compared.
    finals: fresh seeds that the best configuration of each arm is trained with at the end.
    """

    def __init__(
        self,
        arms: Sequence[Arm],
        budget: Budget,
        *,
        recorder: Recorder,
        better: Better,
        check: Callable[[Config], Config],
        seeds: int = 1,
        finals: int = 0,
        first_number: int = 0,
        pruning: bool = False,
    ) -> None:
        self._arms, self._budget, self._seeds, self._finals = list(arms), budget, seeds, finals
        self._recorder, self._check, self._better = recorder, check, better
        self._pruning = pruning
        self._learns = any(arm.strategy.learns for arm in arms)
        self._pool: list[Suggestion] = []
        self._running: dict[int, Suggestion] = {}
        self._asked = 0
        self._number = first_number
        self._turn = 0
        self._exhausted: set[int] = set()
        self._key: Any = None
        self._size = 1
        self._limit: dict[Any, int] = {}
        self._since_best = 0
        self._best: tuple[float, int] | None = None
        self._done = self._pruned = self._failed = self._stopped = 0
        self._trials_ended = self._diverged = self._impossible = 0
        self._last_failure = ""
        self._rejected: list[tuple[Suggestion, str]] = []
        """Configurations that no task can train and the log does not have yet, with the reason."""
        self._known_rejected: set[str] = set()
        self._ending = ""
        self._finals_asked = False
        self._started: float | None = None  # None while its clock is stopped
        self._trained = 0.0  # seconds before that
        self._up = False
        self._fits = 0

    # --- what the training loop asks --------------------------------------------------------------------------------

    def next(self) -> dict[int, Config]:
        """The next cohort, empty when the search is over."""
        self.start_clock()
        limits = ((self._failed - self._impossible, HOPELESS), (self._failed, IMPOSSIBLE))
        if not self._trials_ended and any(count >= limit for count, limit in limits):
            raise RunError(f"the first {self._failed} trials of the search all failed; the last: {self._last_failure}")
        before = self._check_clock()
        self._fill(BATCH if self._learns else LOOK_AHEAD)
        if self._recorder.stopped():
            return {}
        if not self._pool and not self._finals_asked:
            self._finals_asked = True
            self._ask_finals()
        if not self._pool:
            if self._rejected:
                self._begin([], 0, self._call("next", 0))
            else:
                self._note_if_changed(before, "next", 0)
            self._end()
            return {}
        groups: dict[Any, list[Suggestion]] = {}
        for suggestion in self._pool:
            groups.setdefault(cohort_key(suggestion.configs[0]), []).append(suggestion)
        self._key = max(groups, key=lambda key: len(groups[key]))
        self._size = self._room_for(groups[self._key])
        return self._begin(groups[self._key], self._size, self._call("next", 0))

    def refill(self, training: int) -> dict[int, Config]:
        """Further trials for the cohort under way, of which `training` are left."""
        room = self._size - training
        if room < max(self._seeds, self._size // REFILL_SHARE):
            return {}
        before = self._check_clock()
        self._fill(room if self._learns else LOOK_AHEAD)
        if self._recorder.stopped():
            return {}
        matching = [s for s in self._pool if cohort_key(s.configs[0]) == self._key]
        call, rejected = self._call("refill", training), bool(self._rejected)
        started = self._begin(matching, room, call)
        if not started and not rejected:
            self._note_if_changed(before, "refill", training)
        return started

    def shrink(self, size: int) -> None:
        """A cohort of the present kind ran out of memory: at most `size` from now on."""
        self._size = self._limit[self._key] = max(1, size)
        self._recorder.shrunk(size)

    def continue_clock(self, seconds: float) -> None:
        """Continue a search that had trained for so many seconds."""
        self._trained, self._started = seconds, time.monotonic()

    def start_clock(self) -> None:
        """Start its clock, at the first configuration or after a pause; no change if it runs."""
        if self._started is None:
            self._started = time.monotonic()

    def stop_clock(self) -> None:
        """Stop its clock: the search is paused or has ended."""
        self._trained, self._started = self._seconds, None

    def prune(self, epochs: Sequence[EpochEnd]) -> dict[int, str]:
        """The trials to prune after these epochs, with the reason."""
        pruned: dict[int, str] = {}
        for event in epochs:
            suggestion = self._running.get(event.trial)
            if suggestion is None or suggestion.trial is None:
                continue
            seen = suggestion.reported.setdefault(event.epoch, {})
            seen[event.trial] = event.val_metric
            if len(seen) < len(suggestion.trials):
                continue
            mean = sum(seen.values()) / len(seen)
            if suggestion.arm.prune(suggestion, event.epoch, mean):
                suggestion.pruned = True
                reason = f"pruned after epoch {event.epoch}: validation metric {mean:.4g}"
                pruned |= dict.fromkeys(suggestion.trials, reason)
            suggestion.reported.pop(event.epoch, None)
        return pruned

    def handle(self, event: Event) -> None:
        """Process an event that the log has recorded."""
        if not isinstance(event, TrialEnded):
            return
        suggestion = self._running.pop(event.trial, None)
        if suggestion is None:
            return
        succeeded = event.state in (TrialState.COMPLETED, TrialState.EARLY_STOPPED)
        suggestion.values[event.trial] = event.best_val_metric if succeeded else math.nan
        self._pruned += event.state is TrialState.PRUNED
        self._diverged += event.state is TrialState.DIVERGED
        self._trials_ended += event.state not in (TrialState.FAILED, TrialState.STOPPED)
        suggestion.stopped |= event.state is TrialState.STOPPED
        if event.state is TrialState.FAILED:
            self._failed += 1
            self._impossible += _of_configuration(event.reason)
            self._last_failure = event.reason
        if suggestion.ended:
            self._finish(suggestion)

    # --- status -----------------------------------------------------------------------------------------------------

    @property
    def progress(self) -> Progress:
        """The progress of the search, in configurations."""
        seconds = self._seconds
        rate = self._done / seconds if seconds > 0 else 0.0
        planned = self._planned
        left = (planned - self._done) / rate if planned is not None and rate else None
        if self._budget.seconds is not None:
            rest = max(0.0, self._budget.seconds - seconds)
            left = rest if left is None else min(left, rest)
        running = len({id(suggestion) for suggestion in list(self._running.values())})
        best, trial = (math.nan, None) if self._best is None else self._best
        learned = sum(arm.learned for arm in self._arms)
        return Progress(
            planned, self._done, running, self._pruned, self._failed, seconds, rate, left, trial, best, learned,
            self._stopped, self._ending,
        )  # fmt: skip

    @property
    def scoreless(self) -> bool:
        """Whether trials have ended by themselves, and none with a score."""
        return self._trials_ended > 0 and self._best is None

    @property
    def _planned(self) -> int | None:
        finals = self._finals * len(self._arms)
        planned = [arm.planned for arm in self._arms]
        left = None if None in planned else self._asked + sum(count for count in planned if count is not None)
        budget = self._budget.trials
        counts = [count for count in (budget, left) if count is not None]
        return min(counts) + finals if counts else None

    # ----------------------------------------------------------------------------------------------------------------

    def _check_clock(self) -> tuple[object, ...]:
        """Read the clock, once a call; returns all that a call which starts no trial may change."""
        budget = self._budget.seconds
        by_the_clock = budget is not None and self._seconds >= budget
        self._up, self._fits = self._recorder.is_up(by_the_clock), 0
        return self._state()

    def _state(self) -> tuple[object, ...]:
        return (self._asked, self._turn, len(self._pool), len(self._exhausted), self._finals_asked)

    def _call(self, kind: str, training: int) -> Call:
        return Call(kind, training, self._fits, self._up, self._seconds)

    def _note_if_changed(self, before: tuple[object, ...], kind: str, training: int) -> None:
        if self._state() != before:
            self._recorder.note(self._call(kind, training))

    @property
    def _seconds(self) -> float:
        return self._trained + (0.0 if self._started is None else time.monotonic() - self._started)

    def _spent(self) -> bool:
        budget = self._budget
        return (
            (budget.trials is not None and self._asked >= budget.trials)
            or (budget.patience is not None and self._since_best >= budget.patience)
            or self._up
        )

    def _fill(self, count: int) -> None:
        """Ask for configurations, from the arms in turn, until `count` are waiting or the budget is spent."""
        if self._budget.trials is None and self._spent() and not self._finals_asked:
            self._asked -= len(self._pool)  # drawn in advance, not needed any more
            self._pool = []
        while len(self._pool) < count and not self._spent() and len(self._exhausted) < len(self._arms):
            if self._recorder.stopped():
                return
            index = self._turn % len(self._arms)
            self._turn += 1
            if index in self._exhausted:
                continue
            suggestion = self._arms[index].ask(self._number, self._seeds)
            if suggestion is None:
                self._exhausted.add(index)
                continue
            self._number += 1
            self._asked += 1
            try:
                suggestion.configs = [self._check(config) for config in suggestion.configs]
            except ConfigError as error:
                self._reject(suggestion, str(error))
                continue
            self._pool.append(suggestion)

    def _reject(self, suggestion: Suggestion, reason: str) -> None:
        """Count a configuration that this task cannot train: it is logged as failed, and reported to the strategy as such."""
        configuration = suggestion.configs[0].configuration
        if configuration not in self._known_rejected:
            self._known_rejected.add(configuration)
            self._rejected.append((suggestion, reason))
        suggestion.trials, suggestion.values = [-1], {-1: math.nan}
        self._failed += 1
        self._impossible += 1
        self._last_failure = reason
        self._finish(suggestion)

    def _ask_finals(self) -> None:
        """Replicates of each arm's best configuration, with seeds that no earlier trial of the search has used."""
        for arm in self._arms:
            if not self._finals or arm.best is None:
                continue
            config = arm.best.configs[0]
            fresh = arm.fresh_seed(config)
            configs = [config.replace(seed=fresh + i) for i in range(self._finals)]
            for one in configs:
                self._pool.append(Suggestion(arm.best.number, arm, [one], final=True))

    def _room_for(self, waiting: Sequence[Suggestion]) -> int:
        wanted = len(waiting) * self._seeds
        self._fits = self._recorder.fits(waiting[0].configs[0], wanted)
        size = min(self._fits, self._limit.get(self._key, 2**31))
        if self._learns:
            # a measured size would make the results that it learns from depend on the load of the machine
            size = min(size, BATCH * self._seeds)
        elif self._pruning and self._planned is not None:
            size = min(size, max(BATCH, math.ceil(self._planned * self._seeds / WITH_PRUNER)))
        return max(1, size)

    def _begin(self, candidates: Sequence[Suggestion], room: int, call: Call) -> dict[int, Config]:
        """Start as many of the candidates as there is room for; the seeds of one configuration train together."""
        chosen: list[Suggestion] = []
        used = 0
        for suggestion in candidates:
            if chosen and used + len(suggestion.configs) > room:
                break
            chosen.append(suggestion)
            used += len(suggestion.configs)
        if not chosen and not self._rejected:
            return {}
        rows = [
            NewRow(bad.configs[0], bad.arm.strategy.name, bad.number, None, None, bad.note, rejected=reason)
            for bad, reason in self._rejected
        ]
        self._rejected, unstarted = [], len(rows)
        for suggestion in chosen:
            first = len(rows)
            source = "replicate" if suggestion.final else suggestion.arm.strategy.name
            best = suggestion.arm.best
            parent = best.trials[0] if suggestion.final and best is not None else None
            for index, config in enumerate(suggestion.configs):
                after = None if index == 0 else first
                note = "" if index else suggestion.note
                rows.append(NewRow(config, "replicate" if index else source, suggestion.number, after, parent, note))
        numbers = self._recorder.create(rows, call)[unstarted:]
        self._pool = [suggestion for suggestion in self._pool if suggestion not in chosen]
        started: dict[int, Config] = {}
        remaining = iter(numbers)
        for suggestion in chosen:
            for config in suggestion.configs:
                number = next(remaining)
                suggestion.trials.append(number)
                self._running[number] = suggestion
                started[number] = config
        return started

    @property
    def _is_plain_grid(self) -> bool:
        """Whether its end is that of its grids, as is to be expected."""
        return self._budget.trials is None and all(arm.strategy.sampler is None for arm in self._arms)

    def _end(self) -> None:
        """Record why a search that is over ended early, or has no result. Raises: RunError if nothing was trained."""
        if self._failed and not self._trials_ended and not self._stopped:
            message = f"none of the {self._done} configurations of the search could be trained"
            self._ending = f"{message}; the last: {self._last_failure}"
        elif self.scoreless:
            why = (
                "all diverged" if self._diverged == self._trials_ended else "the validation metric is not defined (NaN)"
            )
            why = "all were pruned" if self._pruned == self._trials_ended else why
            self._ending = f"no configuration has a score: of {counted(self._trials_ended, 'trial')}, {why}"
        elif all(arm.exhausted for arm in self._arms) and not self._spent() and not self._is_plain_grid:
            size = sum(arm.size or 0 for arm in self._arms)
            self._ending = f"all {size} configurations of the space have been tried"
        if self._ending:
            self._recorder.ended(self._ending)
        if self._failed and not self._trials_ended and not self._stopped:
            raise RunError(self._ending)

    def _finish(self, suggestion: Suggestion) -> None:
        if suggestion.stopped:
            self._stopped += 1
        else:
            self._done += 1
        if suggestion.final:
            return
        suggestion.arm.tell(suggestion)
        value = suggestion.value
        if math.isfinite(value) and (self._best is None or is_better(value, self._best[0], self._better)):
            self._best, self._since_best = (value, suggestion.trials[0]), 0
        else:
            self._since_best += 1


def _of_configuration(reason: str) -> bool:
    """Whether a trial failed because a builder of the user's, or a layer in it, rejected its configuration."""
    raised = re.search(r"its builder raised (\w+)", reason)
    if raised is not None:
        return raised[1] in ("AssertionError", "ValueError")
    return reason.startswith(("ConfigError:", "ModelError:"))
