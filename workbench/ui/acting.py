"""What the user interface may ask for, as calls of the public methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workbench.core.config import Config
from workbench.core.errors import ConfigError, Problem, RunError
from workbench.runs.run import Run
from workbench.ui.presenter import Presenter

if TYPE_CHECKING:
    from workbench.core.domains import Domain
    from workbench.methods.comparison.tab import Look
    from workbench.ui.clicks import Clicks

__all__ = ["Actions"]


class Actions:
    """What the view may ask for. Called from widget callbacks on any thread: each call enqueues and returns."""

    def __init__(self, bench: Any) -> None:
        self._bench = bench
        self._presenter: Presenter = bench.presenter

    def start(self, config: Config, *, seeds: int, name: str, device: str) -> None:
        self._bench.start(config, seeds=seeds, name=name, device=device)

    def search(
        self, space: dict[str, Domain], base: Config, *, name: str, device: str, options: dict[str, Any]
    ) -> None:
        if not space and "continues" not in options:
            message = "press the magnifier beside a hyperparameter to search it"
            raise ConfigError([Problem("space", space, f"there is nothing to search: {message}")])
        self._bench.search(space=space or None, base=base, name=name, device=device, **options)

    def add_seeds(self, top: int, seeds: int) -> None:
        self._bench.add_seeds(top, seeds)

    def pick(self, trial: int, epoch: int | None = None) -> None:
        self._presenter.pick(trial, epoch)

    def branch(self, trial: int, epoch: int, changes: dict[str, Any], *, seeds: int, name: str, device: str) -> None:
        self._bench.branch(trial, epoch, seeds=seeds, name=name, device=device, **changes)

    def replay(self, trial: int) -> None:
        self._bench.replay(trial)

    def resume_left(self) -> None:
        self._bench.resume()

    def delete(self, trials: list[int]) -> None:
        self._bench.delete(*trials)

    def restore(self, trials: list[int]) -> None:
        self._bench.restore(*trials)

    def empty_trash(self) -> tuple[list[int], list[int]]:
        removed, kept = self._bench.empty_trash()
        return removed, kept

    def set_budget(self, size: int) -> None:
        self._bench.checkpoints.budget = size

    def look(self, look: Look) -> None:
        self._presenter.look(look)

    def pause(self) -> None:
        self._current().pause()

    def resume(self) -> None:
        self._current().resume()

    def stop(self) -> None:
        self._current().stop()

    def set(self, name: str, value: float) -> None:
        run = self._presenter.runner.current
        if run is not None and not run.done:
            run.set(None, **{name: value})
            if run.grows:
                label = name.replace("_", " ")
                run.say(
                    f"{label.capitalize()} {value:g} for the trials that train now; those to come are as the search draws them."
                )

    def select(self, trials: list[int]) -> None:
        self._presenter.select(trials)

    def annotate(self, trial: int, *, name: str | None, note: str | None, tags: list[str] | None) -> None:
        self._bench.annotate(trial, name=name, note=note, tags=tags)

    # --- of the tabs: done by the main thread at its next tick -------------------------------------------------------

    def look_inside(self, epoch: int | None) -> None:
        self._clicks.ask(self._clicks.look_inside, epoch)

    def open_test_set(self, key: tuple[str, int], again: bool, only_unseen: bool) -> None:
        self._clicks.ask(self._clicks.open_test_set, key, again, only_unseen)

    def ensemble(self, size: int, select: str | None) -> None:
        self._clicks.ask(self._clicks.ensemble, size, select)

    def range_test(self, config: Config, device: str) -> None:
        self._clicks.ask(self._clicks.range_test, config, device)

    def stop_range_test(self) -> None:
        self._clicks.stop_range_test()

    def try_it(self, trial: int, rule: str) -> None:
        self._clicks.ask(self._clicks.try_it, trial, rule)

    def finetune(self, trial: int, config: Config, options: dict[str, Any]) -> None:
        self._clicks.ask(self._clicks.finetune, trial, config, options)

    def continue_on(self, data: str, options: dict[str, Any]) -> None:
        self._clicks.ask(self._clicks.continue_on, data, options)

    def stop_continuing(self) -> None:
        self._clicks.stop_continuing()

    @property
    def _clicks(self) -> Clicks:
        assert self._presenter.tabs is not None  # whoever clicks has a view
        return self._presenter.tabs.clicks

    def _current(self) -> Run:
        run = self._presenter.runner.current
        if run is None:
            raise RunError("nothing is training; press Train first")
        return run
