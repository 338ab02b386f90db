"""A task: data prepared for training and divided once, with a sealed test split."""

from __future__ import annotations

import html
import inspect
import re
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from workbench.core.config import Config
from workbench.core.errors import TaskError, did_you_mean
from workbench.core.kinds import KINDS
from workbench.core.warn import callers_level
from workbench.tasks import test_split as seal
from workbench.tasks.builtin import BUILTIN
from workbench.tasks.data_warnings import data_warnings, label_warnings
from workbench.tasks.division import divide
from workbench.tasks.facts import Baseline, baseline_of, facts_of
from workbench.tasks.fold_data import Folds, folds_of_task
from workbench.tasks.frames import as_frame, check_frame, check_is_frame, read_csv
from workbench.tasks.inputs import NUMBERS, NamedArrays, as_inputs, warn_of_channels, warn_of_order
from workbench.tasks.merged import keep_raw
from workbench.tasks.named_preprocessing import NamedPreprocessing, RawInputs, preprocessing_of
from workbench.tasks.near_copies import are_continuous, copy_warnings
from workbench.tasks.options import (
    check_metrics,
    check_monitor,
    check_options,
    check_outputs,
    check_texts,
    metric_names,
    named,
)
from workbench.tasks.preprocessing import Preprocessing
from workbench.tasks.recipe import Recipe
from workbench.tasks.revision import Renewal, Sample, Source, renew, sample_of, sampled_targets
from workbench.tasks.row_identity import SPLITS, fingerprint_of, known_after, row_keys
from workbench.tasks.row_weights import check_parts, check_weights, weights_digest, weights_of_frame
from workbench.tasks.rows import Batch, shape_of
from workbench.tasks.schema import TaskSchema
from workbench.tasks.separate_data import joined_arrays, joined_datasets, joined_frames, split_of
from workbench.tasks.split import Split, as_split, by_row, check_seed
from workbench.tasks.split_rows import Rows, take_rows
from workbench.tasks.suggested_config import suggested_config
from workbench.tasks.target_scale import TargetScale
from workbench.tasks.targets import Label, amounts_named, as_targets, rule_of

__all__ = ["Baseline", "Task"]


class Task:
    """What to learn. Made by `load`, `from_arrays`, `from_frame`, `from_csv` or `from_dataset`.

    They share these options. name: how the log calls it. kind: "classification", "regression", "multilabel" (0 or 1 for each
    label), "count" (whole numbers from 0 on), "dense" (a class for each position, such as a pixel) or "auto" (text, booleans
    and whole numbers with at most 20 different values are classes, several columns of 0 and 1 labels, and all else numbers;
    `summary` says what was taken and why). split: shares of training, validation and test rows, or a `Split`: random rows
    (with equal shares of every class), groups, an order in time, given rows, or folds. seed: of the division, which does not
    depend on the order of the rows. standardize, clip, transform: see `Preprocessing`; all are fitted on the training rows alone.
    inputs: "numbers", or "tokens" for whole numbers that are kept, int64; by name for several inputs. categories: of a table,
    "one_hot" or "codes" (see `Columns`).
    target_transform: of numbers, as losses see them: "standardize" (the default of a regression), "log1p" (log(1 + y),
    standardised), None, or a scikit-learn transformer with an inverse; metrics and predictions are in the target's own unit
    whatever it is. metrics: names in the metrics table, one or several, all of which are logged after each epoch; the first is
    the headline metric, by which trials are ranked. monitor: "loss" (the validation loss) or one of the metrics: it selects
    the best epoch within a trial, for its weights, early stopping and the plateau schedule. weights: one number from 0 on a
    row, or the column of a table that holds them: how much each row counts in losses and metrics, in every split.

    Attributes: split (`Split`); folds: None, or the `Folds` of a cross-validation, whose first one the other attributes
    describe; train, validation (`Rows`); row_numbers: of these, where they stood in the data, from 0;
    groups: of these, a key of each row's group, None for rows without;
    input_shape without the row axis; output_size: classes, labels or targets;
    inputs: what a model is given, "numbers" or "tokens", and categories: the sizes of embeddings (see `TaskSchema`);
    classes: their labels as text (`decode` gives them as y has them), None for numbers; feature_names: of tables, else None;
    target_mean, target_std (outputs,): by which targets are standardised, as the training rows say, so that losses are in
    these units; metric: the headline metric; kind_rule: why "auto" took this kind; sizes: rows by split; row_keys:
    by split, a key of each raw row, by which it is known again in other data; fingerprint: of the data, its division
    and preprocessing; schema: all of this but the rows, as a model needs it (`TaskSchema`); recipe: the Python
    expression that makes the task again; recipe_needs: the variables it takes data in memory from; warnings: sentences
    on what is odd in a table. The test split is sealed: no attribute leads to it. A pickled or copied task has none.
    """

    warnings: tuple[str, ...] = ()

    def __init__(
        self,
        X: RawInputs,
        y: Any,
        *,
        name: str,
        kind: str = "auto",
        split: Sequence[float] | Split = (0.6, 0.2, 0.2),
        by: Any = None,
        seed: int = 0,
        standardize: bool = True,
        clip: float | None = None,
        transform: Any = None,
        inputs: Any = NUMBERS,
        categories: str = "one_hot",
        target_transform: Any = "auto",
        metrics: str | Sequence[str] | None = None,
        monitor: str = "loss",
        weights: Any = None,
        classes: tuple[str, ...] | None = None,
        own_labels: tuple[Label, ...] | None = None,
        flat_target: bool | None = None,
        feature_names: tuple[str, ...] | None = None,
        target_columns: tuple[str, ...] = (),
        recipe: Recipe | None = None,
        renewal: Renewal | None = None,
    ) -> None:
        check_texts(name=name)
        field = f"target {', '.join(map(repr, target_columns))}" if target_columns else "y"
        found, targets, labels, values, flat = as_targets(y, len(X), kind, field)
        labels = labels if renewal is None else renewal.labels
        self.kind_rule = rule_of(targets, found, labels) if kind == "auto" else ""
        known = classes is not None and labels is not None and len(classes) == len(labels)
        names = classes if known else labels
        values = own_labels or (values if names == labels else names)  # numbers that have names answer with these
        flat = flat if flat_target is None else flat_target
        scores = metric_names(KINDS[found].metric if metrics is None else metrics)
        check_metrics(scores, found, registered=False)
        monitor = check_monitor(monitor, scores)
        weight = check_weights(weights, len(X))
        described, seed = as_split(split), check_seed(seed)
        self.split = described.without_values()
        strata = names if found == "classification" else None
        keys = row_keys(X, targets, labels if strata else None)
        with amounts_named(labels):
            division = (
                divide(described, keys, targets if strata else None, strata, seed, by, targets=targets)
                if renewal is None
                else renewal.division
            )
        parts = division.parts
        if weight is not None:
            check_parts(weight, division)
        seen = division.open_rows if division.folds else None

        def fit(rows: NDArray[np.int64]) -> tuple[Any, TargetScale]:
            made: Any = preprocessing_of(
                X, standardize=standardize, clip=clip, transform=transform, inputs=inputs, categories=categories
            )
            if rows is parts[0] and isinstance(X, np.ndarray) and renewal is None and made.inputs == NUMBERS:
                warn_of_channels(X.shape)
            made.fit(X, targets, rows, seen)
            return made, _target_scale(targets[rows], found, target_transform, field)

        def rows_of(rows: NDArray[np.int64], fitted: Any, scale: TargetScale) -> Rows:
            return _split(X, targets, rows, fitted, scale, weight)

        fitted, scale = fit(parts[0])
        self.train, self.validation, test = (rows_of(rows, fitted, scale) for rows in parts)
        self.sizes = {"train": len(self.train), "validation": len(self.validation), "test": len(parts[2])}
        self.row_numbers = dict(zip(SPLITS[:2], parts, strict=False))
        groups = division.groups
        self.groups = None if groups is None else {split: groups[rows] for split, rows in self.row_numbers.items()}
        self.row_keys = {split: keys[rows] for split, rows in zip(self.sizes, parts, strict=True)}
        if isinstance(X, pd.DataFrame):
            trained = targets[parts[0]] if found == "regression" else None
            known_rows = take_rows(X, division.open_rows)
            self.warnings = data_warnings(take_rows(X, parts[0]), known_rows, trained, target_columns)
        self.warnings += label_warnings(names or ())
        others = {"validation": self.validation, "test": test}
        in_folds = [(keys[trained], keys[own]) for trained, own in division.folds]
        copies = copy_warnings(self.row_keys, self.train, others, len(strata or ()), in_folds)
        for warning in copies if copies and renewal is None and are_continuous(self.train) else ():
            warnings.warn(warning, UserWarning, stacklevel=callers_level())
        self.warnings += copies
        # the address in a function's repr differs in the next session
        shown = re.sub(r" at 0x[0-9a-fA-F]+", "", repr(transform))
        settings: tuple[Any, ...] = (
            found,
            repr(self.split),
            seed,
            fitted.standardize,
            fitted.clip,
            shown,
            names,
            scale.name,
            weights_digest(weight, keys),
            *([] if fitted.inputs == NUMBERS else [fitted.inputs]),
        )
        self.schema = TaskSchema(
            name=str(name),
            kind=found,
            metrics=scores,
            monitor=monitor,
            input_shape=shape_of(self.train.x),
            output_size=len(names) if names else targets.shape[1],
            classes=names,
            feature_names=fitted.feature_names or feature_names,
            target=scale,
            fingerprint=fingerprint_of(X, settings, [keys[rows] for rows in division.all_parts]),
            raw_shape=X.shape if isinstance(X, NamedArrays) else tuple(X.shape[1:]),
            columns=tuple(X.columns) if isinstance(X, pd.DataFrame) else None,
            preprocessing=fitted,
            labels=values,
            flat_target=flat and not KINDS[found].has_classes,
            target_names=target_columns or None,
            positions=tuple(targets.shape[1:]) if found == "dense" else (),
        )
        self.folds: Folds | None = None
        if division.folds:
            self.folds = folds_of_task(self.schema, division.folds, fit, rows_of)
            self.train, self.validation = self.folds.members[0].train, self.folds.members[0].validation
        self.recipe, self.recipe_needs = recipe or Recipe()
        self.former = None if renewal is None else renewal.former
        self._source = Source(
            options={
                "kind": found, "split": self.split, "seed": seed, "standardize": fitted.standardize, "clip": fitted.clip,
                "transform": fitted.unfitted, "inputs": inputs, "categories": categories, "metrics": scores, "monitor": monitor,
                "target_transform": scale.how, "name": self.schema.name, "classes": names,
                "feature_names": feature_names, "target_columns": target_columns, "own_labels": values, "flat_target": flat,
            },
            targets=target_columns,
            labels=labels,
            known=known_after(division.known(keys), None if renewal is None else renewal.known),
            groups=division.known_groups(None if renewal is None else renewal.groups),
            edges=division.edges() if renewal is None else renewal.edges,
            sample=sample_of(
                X, sampled_targets(targets, found, names), parts[0], strata, self.schema.feature_names, target_columns, seed
            ),
            version=1 if renewal is None else renewal.version,
        )  # fmt: skip
        keep_raw(self, X, targets, division, weight)
        if len(test):
            fitted_by_fold = [own.schema.preprocessing for own in self.folds.members] if self.folds else []
            seal.keep(
                self,
                test if groups is None else replace(test, group=_codes(groups[parts[2]])),
                None if self.folds is None else lambda: [one.store(X, parts[2]) for one in fitted_by_fold],  # type: ignore[arg-type]
            )

    # --- where data comes from --------------------------------------------------------------------------------------

    @classmethod
    def load(cls, name: str, /, **options: Any) -> Task:
        """A built-in data set, see `Task.available()`; generated ones take n, noise and more as options.

        Raises: TaskError for an unknown name or option, or when a download fails.
        """
        if not isinstance(name, str) or name not in BUILTIN:
            raise TaskError(f"there is no built-in data set {name!r}{did_you_mean(str(name), BUILTIN)}")
        recipe = Recipe.of("load", (), (name,), options)
        builtin = BUILTIN[name]
        known = frozenset(inspect.signature(builtin.load).parameters)
        own = {key: options.pop(key) for key in list(options) if key in known - {"seed"}}
        check_options(options, known)
        if "seed" in known:
            own["seed"] = options.get("seed", 0)
        try:
            raw = builtin.load(**own)
        except TaskError:
            raise
        except (TypeError, ValueError, ZeroDivisionError) as error:
            given = ", ".join(f"{key}={value!r}" for key, value in own.items())
            raise TaskError(f"the data set {name!r} cannot be made with {given}: {error}") from error
        known_of = {"name": name, "kind": builtin.kind, "classes": raw.classes, "feature_names": raw.feature_names}
        return cls(as_inputs(raw.X, options.get("inputs", NUMBERS)), raw.y, **{**known_of, **options}, recipe=recipe)

    @staticmethod
    def available() -> pd.DataFrame:
        """The built-in data sets: name, kind and meaning."""
        return pd.DataFrame(
            [(name, entry.kind, entry.meaning) for name, entry in BUILTIN.items()], columns=["name", "kind", "meaning"]
        )

    @classmethod
    def from_arrays(cls, X: Any, y: Any, *, validation: Any = None, test: Any = None, **options: Any) -> Task:
        """X (rows, features), sequences (rows, time, channels) or images (rows, channels, height, width); y (rows,) or, for
        numbers, (rows, outputs). A dict of arrays are several inputs, by which the model is called by keyword.

        NumPy arrays, torch tensors, lists and sparse matrices are taken. validation, test: pairs (X, y) of data that are divided
        already. Raises: TaskError naming what is wrong.
        """
        check_options(options)
        separate = {"validation": validation, "test": test}
        warn_of_order(X, y=y, weights=options.get("weights"), **by_row(options.get("split")))
        recipe = Recipe.of("from_arrays", ("X", "y"), (), options, separate)
        joined = joined_arrays(X, y, separate, options.get("inputs", NUMBERS))
        return cls._of_arrays(*joined, named(options, "arrays"), recipe)

    @classmethod
    def _of_arrays(cls, X: Any, y: Any, sizes: dict[str, int], options: dict[str, Any], recipe: Recipe) -> Task:
        split = split_of(options, sizes)
        if split.column is not None:
            raise TaskError(f"{split.field}: names a column, and arrays have none; give one value a row")
        return cls(X, y, **{**options, "split": split}, by=split.by, recipe=recipe)

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        target: str | Sequence[str],
        *,
        validation: Any = None,
        test: Any = None,
        **options: Any,
    ) -> Task:
        """A DataFrame, or a table of polars or pyarrow. Text, category and boolean columns are one-hot encoded (an unknown
        category is all zeros), or with categories="codes" numbered from 1 (0 for an unknown one) for embeddings.
        `summary` lists what is unusual in the table.

        Missing values are filled in (median, most frequent). Both as the training rows say. target: a column, or
        several for regression. validation, test: tables of data that are divided already. Raises: TaskError naming the column
        that cannot be used.
        """
        separate = {"validation": validation, "test": test}
        recipe = Recipe.of("from_frame", ("frame",), (target,), options, separate)
        return cls._of_frame(frame, target, "frame", options, recipe, separate)

    @classmethod
    def from_csv(
        cls, path: str | Path, target: str | Sequence[str], *, validation: Any = None, test: Any = None, **options: Any
    ) -> Task:
        """A CSV file, read by pandas; see `from_frame`. A nameless first column, the index of `to_csv`, is left out.

        validation, test: paths of files of data that are divided already.
        """
        separate = {"validation": validation, "test": test}
        recipe = Recipe.of("from_csv", (), (path, target), options, separate)
        read = {name: None if file is None else read_csv(file, target) for name, file in separate.items()}
        return cls._of_frame(read_csv(path, target), target, Path(path).stem, options, recipe, read)

    @classmethod
    def _of_frame(
        cls, frame: pd.DataFrame, target: str | Sequence[str], name: str, options: dict[str, Any], recipe: Recipe,
        separate: dict[str, Any],
    ) -> Task:  # fmt: skip
        check_options(options)
        frame = as_frame(frame)
        check_is_frame(frame)
        warn_of_order(frame, weights=options.get("weights"), **by_row(options.get("split")))
        frame, sizes = joined_frames(frame, separate)
        split = split_of(options, sizes)
        if split.column is not None and split.column == options.get("weights"):
            raise TaskError(
                f"weights={split.column!r}: is also {split.field} of the split; give one of them a column of its own"
            )
        frame, weights = weights_of_frame(frame, options.get("weights"), target)
        options = {**options, "weights": weights}
        by = split.values_of(frame)
        frame = split.without_column(frame, target)
        inputs, targets = check_frame(frame, target)
        columns = (str(targets.name),) if isinstance(targets, pd.Series) else tuple(map(str, targets))
        # target=[name] gives answers of shape (rows, 1), as frame[[name]] has
        flat = not isinstance(target, (list, tuple, pd.Index))
        options = {**named(options, name), "flat_target": flat, "split": split, "by": by}
        return cls(inputs, targets, **options, target_columns=columns, recipe=recipe)

    @classmethod
    def from_dataset(cls, dataset: Any, *, validation: Any = None, test: Any = None, **options: Any) -> Task:
        """A map-style torch data set of pairs (x, y), read once into memory; x may be a dict of several inputs.

        validation, test: data sets of data that are divided already. Warns (UserWarning) of items that differ when they are read
        again. Raises: TaskError naming the item, or the size, if it is too large for the memory that is free.
        """
        check_options(options)
        separate = {"validation": validation, "test": test}
        recipe = Recipe.of("from_dataset", ("dataset",), (), options, separate)
        joined = joined_datasets(dataset, separate, options.get("inputs", NUMBERS))
        return cls._of_arrays(*joined, named(options, type(dataset).__name__), recipe)

    # --- further versions -------------------------------------------------------------------------------------------

    def version(self, new_data: Any) -> Task:
        """The same task on more or newer rows, with a fingerprint of its own.

        new_data: all rows of the new version, old and new, of the kind the task was made from: a DataFrame or the path of a CSV
        file with the same columns, a pair (X, y), or a torch data set. Old rows that are not among them are left out. Kind,
        options and classes stay; preprocessing is fitted again. A row that was in the data before, now or in a former version,
        keeps the split it was in, so that no test row is ever trained on; new rows are divided as the task's split says: by its
        shares and seed, with their group, by the times at which the splits were cut, or by their word. Where rows are divided by
        values that are no column, these come last: (X, y, groups), (frame, groups).
        Raises: TaskError for other columns, types, shapes or classes, rows without a target, or no new row.
        """
        if self.train.weight is not None:
            raise TaskError(
                f"{self.name!r} has weights of rows, which new data cannot continue; make a new task of all rows with weights="
            )
        X, targets, renewal = renew(self, self._source, new_data)
        recipe = Recipe.of_version(Recipe(self.recipe, self.recipe_needs), renewal.version, new_data)
        return type(self)(X, targets, **self._source.options, recipe=recipe, renewal=renewal)

    @property
    def sample(self) -> Sample:
        """Raw training rows, at most 5,000 and the same ones each time, to compare later data with."""
        return self._source.sample

    @property
    def version_number(self) -> int:
        """1 for a task by itself, 2 for a version of it, 3 for a version of that. `bench.versions` numbers those of a log in the
        order in which they were begun, so that two versions of one task are two numbers there."""
        return self._source.version

    # --- what is known ----------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        return self.schema.name

    @property
    def kind(self) -> str:
        return self.schema.kind

    @property
    def metrics(self) -> tuple[str, ...]:
        return self.schema.metrics

    @property
    def metric(self) -> str:
        """The headline metric, by which trials are ranked."""
        return self.schema.metric

    @property
    def monitor(self) -> str:
        """What selects the epoch within a trial: "loss" or a metric."""
        return self.schema.monitor

    @property
    def target(self) -> TargetScale:
        """How losses see the targets."""
        return self.schema.target

    @property
    def target_names(self) -> tuple[str, ...] | None:
        """The target columns of a table, else None."""
        return self.schema.target_names

    @property
    def positions(self) -> tuple[int, ...]:
        """The shape of a row's targets in a dense task, else ()."""
        return self.schema.positions

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The shape of what a model returns for a row: (output_size,), and of a dense task (output_size, *positions)."""
        return self.schema.output_shape

    @property
    def input_shape(self) -> Any:
        return self.schema.input_shape

    @property
    def output_size(self) -> int:
        return self.schema.output_size

    @property
    def classes(self) -> tuple[str, ...] | None:
        return self.schema.classes

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        return self.schema.feature_names

    @property
    def inputs(self) -> str | dict[str, str]:
        return self.schema.inputs

    @property
    def categories(self) -> dict[str, int]:
        return self.schema.categories

    @property
    def target_mean(self) -> Tensor:
        return self.schema.target_mean

    @property
    def target_std(self) -> Tensor:
        return self.schema.target_std

    @property
    def fingerprint(self) -> str:
        return self.schema.fingerprint

    @property
    def is_image(self) -> bool:
        """Whether a row is a picture (channels, height, width)."""
        return self.schema.is_image

    @property
    def baseline(self) -> Baseline:
        """The score to beat: that of a model which ignores its input, on the validation split."""
        return baseline_of(self)

    def summary(self) -> pd.DataFrame:
        """Kind, rows, inputs, metric, baseline, classes or target, and warnings; one fact a row, as text in the
        column `value`."""
        return facts_of(self)

    def suggested_config(self) -> Config:
        """The configuration that the interface begins with: `Config()`, with so many epochs that its run lasts some 10 seconds on
        two cores (digits: 300; at least 10), so that a hyperparameter can be changed while it trains.
        """
        return suggested_config(self)

    def preprocess(self, rows: Any) -> Batch:
        """Raw rows, of the kind the task was made from, as a model takes them: (rows, *input_shape) float32, int64 for tokens, or
        a dictionary of such tensors, if it takes several inputs.

        Raises: TaskError if columns are missing or the shape is another.
        """
        return self.schema.preprocess(rows)

    def decode(self, outputs: Tensor, loss: str = "auto") -> NDArray[Any]:
        """Model outputs (rows, *output_shape) as labels of y's own kind, or as numbers in its units, (rows,) if y is.

        loss: with which the model was trained; "auto" is the default one of the kind of task.
        """
        return self.schema.decode(check_outputs(outputs, self.output_shape), loss)

    def __repr__(self) -> str:
        rows = ", ".join(f"{size} {name}" for name, size in self.sizes.items()) + (" in fold 1" if self.folds else "")
        return f"<Task {self.name!r}: {self.kind}, inputs {self.input_shape}, {self.schema.goal}, rows {rows}, {self.split}>"

    def _repr_html_(self) -> str:
        with pd.option_context("display.max_colwidth", None):
            table: str = self.summary().to_html(header=False, escape=True)
        return f"<b>{html.escape(self.name)}</b>{table}"


def _codes(groups: NDArray[np.uint64]) -> Tensor:
    """The group of each row (rows,) as a number from 0."""
    return torch.from_numpy(np.unique(groups, return_inverse=True)[1].reshape(-1).astype(np.int64))


def _target_scale(targets: NDArray[Any], kind: str, how: Any, field: str) -> TargetScale:
    """The transformation of the targets, fitted on the training rows. Raises: TaskError for one that does not suit the kind."""
    given = how if not isinstance(how, str) or how != "auto" else None
    if kind not in ("regression", "count"):
        if given is not None:
            raise TaskError(f"target_transform={how!r}: is for numbers, and this is a {kind} task; leave it out")
        return TargetScale()
    standard = kind == "regression" and isinstance(how, str) and how == "auto"
    return TargetScale("standardize" if standard else given, targets.shape[1]).fit(targets, field)


def _split(
    X: Any,
    targets: NDArray[Any],
    rows: NDArray[np.int64],
    fitted: Preprocessing | NamedPreprocessing,
    scale: TargetScale,
    weight: NDArray[np.float64] | None,
) -> Rows:
    if not len(rows):
        return Rows(torch.empty(0), torch.empty(0), torch.empty(0))
    y = torch.from_numpy(targets[rows])
    seen = scale.apply(targets[rows]) if y.is_floating_point() else y
    return Rows(fitted.store(X, rows), seen, y, None if weight is None else torch.from_numpy(weight[rows]))
