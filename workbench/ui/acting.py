"""What the user interface may ask for, as calls of the public methods."""

from __future__ import annotations

from typing import Any

from workbench.core.config import Config
from workbench.core.errors import RunError
from workbench.runs.run import Run
from workbench.ui.presenter import Presenter

__all__ = ["Actions"]


class Actions:
    """What the view may ask for. What starts or changes trials is called on the main thread, by a request of the dispatch; pause,
    resume, stop, set, pick, select and look_again on any thread: they only enqueue."""

    def __init__(self, bench: Any) -> None:
        self._bench = bench
        self._presenter: Presenter = bench.presenter

    def start(self, config: Config, *, seeds: int, name: str, device: str) -> None:
        self._bench.start(config, seeds=seeds, name=name, device=device)

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

    def look_again(self) -> None:
        self._presenter.look_again()

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
                run.message(
                    f"{label.capitalize()} {value:g} for the trials that train now; those to come are as the search draws them."
                )

    def select(self, trials: list[int]) -> None:
        self._presenter.select(trials)

    def annotate(self, trial: int, *, name: str | None, note: str | None, tags: list[str] | None) -> None:
        self._bench.annotate(trial, name=name, note=note, tags=tags)

    def _current(self) -> Run:
        run = self._presenter.runner.current
        if run is None:
            raise RunError("nothing is training; press Train first")
        return run
