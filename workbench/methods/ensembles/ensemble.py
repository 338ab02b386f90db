"""Several trained models that answer as one, and the one file they are kept in."""

from __future__ import annotations

import html
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from numpy.typing import NDArray
from torch import Tensor, nn

from workbench.core import files
from workbench.core.errors import CheckpointError, TaskError
from workbench.core.registration import register_models
from workbench.core.registry import METRICS, user_choices
from workbench.core.text import counted, in_sentence, rounded
from workbench.metrics.predictions import check_probabilities
from workbench.runs.trained_model import TrainedModel, model_of, model_path, model_state, schema_of, unreadable
from workbench.tasks.rows import Batch, Inputs

if TYPE_CHECKING:
    from workbench.tasks import TaskSchema
    from workbench.ui.figures import NotebookFigure

Prepared = Inputs | Batch | Sequence[Inputs | Batch]
"""Prepared rows; of cross-validated trials those of each fold."""

__all__ = ["Ensemble", "EnsembleFacts", "Member", "ensemble_of", "ensemble_state", "load_model", "save_ensemble"]


@dataclass(frozen=True)
class Member:
    """One model's part in an ensemble: a trial's, or that of one of its folds.

    epoch: whose weights it votes with. votes: how often the trial was chosen. weight: its share of all votes. model: its
    architecture. score: its validation metric, low and high the 95% percentile interval of it (bootstrap over the validation
    rows); None where the metric is no number. fold: of a cross-validated trial, from 1: the score is then on its own validation
    rows.
    """

    trial: int
    epoch: int
    votes: int
    weight: float
    model: str
    score: float | None
    low: float | None
    high: float | None
    fold: int | None = None


@dataclass(frozen=True)
class EnsembleFacts:
    """The facts of an ensemble besides its models, as plain values; None if unknown.

    how: in words, how the members were chosen. select: "top", "greedy" or "trials" (given one by one). candidates: trials that
    it was chosen from. metric, score, loss: on the validation rows; of cross-validated trials the mean over the folds, where
    only the models vote that did not train on the fold's validation rows (out-of-fold). corrected, optimism, low, high: see
    `selection.Estimate`; single, single_score: the best single candidate; gain, gain_low, gain_high: the lead over a
    best single trial chosen alike, on rows that neither was chosen on, positive when the ensemble is better. rows, draws:
    validation rows and draws of the bootstrap.
    """

    how: str
    select: str
    candidates: int
    metric: str
    score: float | None
    loss: float | None
    corrected: float | None
    optimism: float | None
    low: float | None
    high: float | None
    single: int
    single_score: float | None
    gain: float | None
    gain_low: float | None
    gain_high: float | None
    rows: int
    draws: int
    name: str = ""
    note: str = ""


class Ensemble(nn.Module):
    """Several models of one task that vote, of trials or of the folds of cross-validated trials: predicts like one model.

    For classes the answer is the mean of the members' probabilities (a soft vote), for numbers the mean of their answers in the
    target's units; a member counts as often as it has votes. Made by `bench.ensemble()`, `bench.load_ensemble(number)` and
    `wb.load_model(path)`.

    members: who votes (`Member`). facts: scores, and how it was chosen (`EnsembleFacts`). number: in the log, None if it is in
    none. schema: what is known of the task.
    """

    def __init__(
        self, models: Sequence[TrainedModel], members: Sequence[Member], facts: EnsembleFacts, number: int | None = None
    ) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)
        self.members, self.facts, self.number = tuple(members), facts, number
        self.eval()

    @property
    def schema(self) -> TaskSchema:
        return self._models[0].schema

    @property
    def folds(self) -> int:
        """How many folds its trials have; 0 if they were not cross-validated."""
        return max(member.fold or 0 for member in self.members)

    @property
    def val_metric(self) -> float:
        """The task's metric on the validation rows: too good by about `optimism` where the members were chosen on them. Of
        cross-validated trials the mean over the folds, out-of-fold: on new rows all models vote."""
        return _number(self.facts.score)

    @property
    def val_loss(self) -> float:
        """Cross-entropy of the mean probabilities, or mean squared error in units of the training targets' deviation, on the
        validation rows."""
        return _number(self.facts.loss)

    @property
    def optimism(self) -> float:
        """By how much `val_metric` is estimated to be better than on new rows, for the choice of the members; NaN unknown."""
        return _number(self.facts.optimism)

    @property
    def corrected(self) -> float:
        """`val_metric` less its optimism; NaN where it is not known."""
        return _number(self.facts.corrected)

    @property
    def interval(self) -> tuple[float, float]:
        """95% interval of the corrected score, of `val_metric` where there is none; see `EnsembleFacts`."""
        return _number(self.facts.low), _number(self.facts.high)

    # --- answers ----------------------------------------------------------------------------------------------------

    def forward(self, x: Prepared) -> Tensor:
        """Prepared rows (rows, *input_shape) to predictions, float64; see `predictions`. In the mode it is set to."""
        pairs = zip(self._models, self._each(x), strict=True)
        return self._mean([model.schema.predictions(model(own), model.loss) for model, own in pairs])

    def predictions(self, x: Prepared) -> Tensor:
        """Prepared rows (rows, *input_shape) to the mean of the members' predictions, float64, on the CPU, in evaluation mode.

        Of cross-validated trials a list with the rows as each fold prepares them. Probabilities of the classes or labels, or
        numbers in the target's own unit: (rows, outputs). Raises: TaskError for another number of them.
        """
        pairs = zip(self._models, self._each(x), strict=True)
        return self._mean([model.uncalibrated(own) for model, own in pairs])

    def preprocess(self, X: Any) -> Batch | list[Batch]:
        """Raw rows, of the kind the task was made from, as `forward` takes them: (rows, *input_shape) float32, on the CPU; of
        cross-validated trials a list of these, one for each fold.

        Raises: TaskError if columns are missing or the shape is another.
        """
        found = [schema.preprocess(X) for schema in self.schemas]
        return found if self.folds else found[0]

    def predict(self, X: Any) -> NDArray[Any]:
        """Raw rows to labels (rows,) of the target's own kind, or to numbers in its units: (rows,) if the target is, else
        (rows, outputs). Raises: as `preprocess`."""
        return self.schema.answers(self._answered(X))

    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Raw rows to the probability of each class (rows, classes), float64: the mean of the members'.

        Raises: TaskError where there are no classes, for a member whose loss does not say how its outputs become probabilities,
        or as `preprocess`.
        """
        for model in self._models:
            check_probabilities(self.schema, model.config.loss, model.loss)
        probabilities: NDArray[Any] = self._answered(X).numpy()
        return probabilities

    @property
    def schemas(self) -> list[TaskSchema]:
        """What is known of the task, with the preprocessing of each fold; a single one if the trials were not cross-validated."""
        found = {id(model.schema): model.schema for model in self._models}
        return list(found.values())

    def _answered(self, X: Any) -> Tensor:
        stored = [schema.store(X) for schema in self.schemas]
        return self.predictions(stored if self.folds else stored[0])

    def _each(self, x: Prepared) -> list[Any]:
        """The rows that each model is given."""
        schemas = self.schemas
        given = list(x) if isinstance(x, (list, tuple)) else [x]
        if len(given) != len(schemas):
            raise TaskError(
                f"the models have {counted(len(schemas), 'preprocessing')}, and rows were given for {len(given)}: each fold has "
                "its own; give ensemble.preprocess(X), or call ensemble.predict(X)"
            )
        places = {id(schema): place for place, schema in enumerate(schemas)}
        return [given[places[id(model.schema)]] for model in self._models]

    @property
    def _models(self) -> list[TrainedModel]:
        return [model for model in self.models if isinstance(model, TrainedModel)]

    def _mean(self, values: Sequence[Tensor]) -> Tensor:
        total = sum(member.votes for member in self.members)
        first, *rest = (member.votes * value for member, value in zip(self.members, values, strict=True))
        return sum(rest, first) / total

    # --- what it is -------------------------------------------------------------------------------------------------

    @property
    def table(self) -> pd.DataFrame:
        """One row a member, then the ensemble: who, votes, weight, model, epoch, score, low, high (95%).

        The ensemble's row "corrected" has the score to expect on new rows and its interval, if it is known.
        """
        rows: list[dict[str, Any]] = [
            {
                "who": f"trial {m.trial}" + ("" if m.fold is None else f", fold {m.fold}"),
                "votes": m.votes,
                "weight": m.weight,
                "model": m.model,
                "epoch": m.epoch,
            }
            | {"score": _number(m.score), "low": _number(m.low), "high": _number(m.high)}
            for m in self.members
        ]
        known = math.isfinite(self.corrected)
        low, high = self.interval
        own = {"votes": sum(votes for _, votes in self._trials), "weight": 1.0, "model": "ensemble", "epoch": pd.NA}
        nothing = {"low": math.nan, "high": math.nan}
        rows.append(
            {"who": self._title, **own, "score": self.val_metric, **(nothing if known else {"low": low, "high": high})}
        )
        if known:
            rows.append({"who": f"{self._title}, corrected", **own, "score": self.corrected, "low": low, "high": high})
        return pd.DataFrame(rows).astype({"epoch": "Int64"})

    def figure(self) -> NotebookFigure:
        """The members' scores and the ensemble's with their 95% intervals."""
        from workbench.methods.ensembles.figure import ensemble_scores

        return ensemble_scores(self.table, metric_label=in_sentence(self._label), single=self.facts.single_score)

    @property
    def _title(self) -> str:
        return "ensemble" if self.number is None else f"ensemble {self.number}"

    @property
    def _label(self) -> str:
        name = self.facts.metric
        return METRICS[name].label if name in METRICS else name

    @property
    def description(self) -> list[str]:
        """Its scores in sentences."""
        facts, label = self.facts, self._label
        rows = f"on the {facts.rows} validation rows"
        if self.folds:
            rows = f"out-of-fold, the mean of {self.folds} folds ({facts.rows} rows)"
        lines = [f"{label} {self.val_metric:.4g}, loss {self.val_loss:.4g} {rows}; {facts.how}."]
        if self.folds:
            lines.append(
                "Each of these rows is answered by the models that did not train on it; new rows by those of all folds."
            )
        elif len(self.members) == 1 and facts.select != "trials":
            lines.append(f"Only trial {self.members[0].trial} votes: it predicts exactly like that trial.")
        low, high = self.interval
        if math.isfinite(self.corrected):
            flatters = (
                f"which flatters the score by about {self.optimism:.2g}"
                if self.optimism > 0
                else "which does not flatter the score as far as the bootstrap shows"
            )
            lines.append(
                f"The members were chosen on these rows, {flatters}: expect {self.corrected:.4g} on new rows (95% interval "
                f"{low:.4g} to {high:.4g}, out-of-bag bootstrap with {facts.draws} draws)."
            )
            gain = f"{_number(facts.gain):+.2g} (95% interval {_number(facts.gain_low):+.2g} to {_number(facts.gain_high):+.2g})"
            lines.append(f"Against a best single trial chosen in the same way: {gain}.")
        else:
            lines.append(
                f"95% interval {low:.4g} to {high:.4g} (bootstrap over the rows). The trials were given by hand: what that "
                "choice owes to these rows is not known."
            )
        return lines

    def __repr__(self) -> str:
        trials = ", ".join(f"{trial}" + (f" x{votes}" if votes > 1 else "") for trial, votes in self._trials)
        of, how = counted(len(self._trials), "trial"), ""
        if self.folds:
            of, how = f"{self.folds} folds of {of}", ", out-of-fold"
        head = f"<Ensemble{'' if self.number is None else f' {self.number}'} of {of} ({trials})"
        score = f"{self._label} {rounded(self.val_metric)}{how}"
        if math.isfinite(self.corrected):
            score += f", corrected {rounded(self.corrected)}"
        return f"{head} on {self.schema.name!r}: {score}>"

    @property
    def _trials(self) -> list[tuple[int, int]]:
        """The trials with their votes, each once."""
        return [(m.trial, m.votes) for m in self.members if m.fold in (None, 1)]

    def _repr_html_(self) -> str:
        table = self.table.to_html(index=False, escape=True, float_format=rounded, na_rep="")
        title = f"{self._title.capitalize()} {self.facts.name}".rstrip()
        words = "".join(f"<p>{html.escape(line)}</p>" for line in self.description)
        return f"<b>{html.escape(title)} on {html.escape(self.schema.name)}</b>{words}{table}"


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def ensemble_state(members: Sequence[Member], facts: EnsembleFacts) -> dict[str, Any]:
    """All of an ensemble but its models, as plain values that JSON has too."""
    return {"members": [asdict(member) for member in members], "facts": asdict(facts)}


def ensemble_of(models: Sequence[TrainedModel], state: Mapping[str, Any], number: int | None) -> Ensemble:
    """The ensemble that `ensemble_state` described, with its members' models in their order.

    Raises: KeyError, TypeError, ValueError when the state is none.
    """
    if len(models) != len(state["members"]) or not models:
        raise ValueError(f"{len(models)} models for {len(state['members'])} members")
    members = [Member(**{field.name: one[field.name] for field in fields(Member)}) for one in state["members"]]
    facts = EnsembleFacts(**{field.name: state["facts"][field.name] for field in fields(EnsembleFacts)})
    return Ensemble(models, members, facts, number)


# --- the file -----------------------------------------------------------------------------------------------------------


def save_ensemble(ensemble: Ensemble, path: str | os.PathLike[str]) -> Path:
    """Write the members with their votes, the preprocessing and the scores into one file; returns its path.

    A file of that name is replaced. Raises: CheckpointError, with nothing changed; see `trained.save_model`.
    """
    place = model_path(path)
    try:
        content = {
            **ensemble_state(ensemble.members, ensemble.facts),
            "models": [model_state(model) for model in ensemble._models],
            "number": ensemble.number,
            "schemas": [schema.to_state() for schema in ensemble.schemas],
        }
        data = files.pack("ensemble", content)
    except CheckpointError as error:
        raise CheckpointError(f"ensemble file {str(place)!r} was not written: {error}") from None
    files.write(place, data)
    return place


def load_model(
    path: str | os.PathLike[str],
    models: Mapping[str, Callable[..., Any]] | None = None,
    trusted: Sequence[str] = (),
) -> TrainedModel | Ensemble:
    """The model or ensemble that `bench.save` wrote, on the CPU. Nothing in the file is run.

    models: builders of your own by name, as for `wb.Workbench`; needed for a model that is not built in. trusted: classes and
    functions that the task's transform= consists of, beyond scikit-learn's, such as "mypackage.MyTransformer". Raises:
    CheckpointError when the file is missing, damaged or of a newer version, when a model's builder is not known here or builds
    other parameters, and when the file holds classes that are not trusted. A UserWarning names configurations of training that
    are not known here; predictions do not depend on them.
    """
    place = model_path(path)
    content = files.read(place, "model", "ensemble")
    if models is not None:
        with user_choices().copy().active():  # for this file only
            register_models(models)
            return _loaded(content, place.name, str(path), trusted)
    return _loaded(content, place.name, str(path), trusted)


def _loaded(content: Mapping[str, Any], name: str, path: str, trusted: Sequence[str]) -> TrainedModel | Ensemble:
    if "members" not in content:
        return model_of(content, schema_of(content, name, trusted), name, path)
    try:
        schemas = [schema_of({"schema": state}, name, trusted) for state in content["schemas"]]
        folds = [max((member["fold"] or 1) - 1, 0) for member in content["members"]]
        loaded = [model_of(one, schemas[fold], name, path) for one, fold in zip(content["models"], folds, strict=True)]
        return ensemble_of(loaded, content, content["number"])
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise unreadable(name, error) from None
