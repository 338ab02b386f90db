"""Adding your own models, losses, metrics, optimizers and schedules: one call each, after which every menu knows them.

All of them follow one rule, the one `ipywidgets.interact` made familiar: **the keyword-only parameters of a function are
hyperparameters.** A parameter named like a field of `Config` reads that field; any other one must have a domain as its
default and becomes a hyperparameter of its own, with a control, a check, a search distribution and a column in the log::

    def build(task, *, activation, width=wb.IntRange(8, 256, default=64), kernel=wb.Choice(3, 5)): ...
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, get_args

from workbench.core.config import HYPERPARAMETERS, Config
from workbench.core.direction import Better
from workbench.core.domains import Choice, Domain, IntRange, Range, ambiguous, listed
from workbench.core.errors import ConfigError, Problem, did_you_mean
from workbench.core.kinds import KINDS
from workbench.core.outputs import Output
from workbench.core.registry import LOSSES, METRICS, MODELS, SCHEDULES, Registry, user_choices

__all__ = [
    "BUILT_IN",
    "Loss",
    "Metric",
    "hyperparameters_of",
    "read_arguments",
    "register",
    "register_loss",
    "register_metric",
    "register_model",
    "register_models",
    "register_schedule",
]


BUILT_IN = "workbench.models.builtin"
"""The module of the models that keep their names."""
KEPT = {
    BUILT_IN,
    "workbench.metrics.table",
    *(f"workbench.training.{name}" for name in ("losses", "optimizers", "schedules")),
}
"""The modules whose choices keep their names."""


class Metric(NamedTuple):
    """How well predictions fit targets: `function(predictions (rows, outputs), targets (rows, ...)) -> float`.

    Predictions are probabilities of the classes or labels, or numbers in the target's own unit. unit: of its values, for people.
    standard_error: `(score, rows) -> float`, approximate; None: not known. interval: `(score, rows) -> (low, high, method)`,
    where that is exact; None: bootstrapped. weighted: the metric over weighted rows,
    `(predictions (candidates, rows, outputs), targets, counts (draws, rows)) -> (draws, candidates)` in float64 arrays; None: the
    function is called on repeated rows. undefined: on which rows it has no value, in words. probabilities: whether it needs the
    probabilities of the classes, and not only the most probable one. batched: whether the function takes an
    `metrics.evaluation.Evaluation`, of several trials at once, and returns (trials,).
    """

    function: Callable[..., Any]
    better: Better
    unit: str = ""
    standard_error: Callable[[float, int], float] | None = None
    interval: Callable[[float, int], tuple[float, float, str]] | None = None
    weighted: Callable[..., Any] | None = None
    undefined: str = ""
    probabilities: bool = False
    batched: bool = False


Link = str | Callable[..., Any] | None
"""From a model's outputs to predictions: a name in `metrics.predictions.LINKS`, a function of one's own, or None: not known."""


class Loss(NamedTuple):
    """What training minimises: `function(outputs (rows, outputs), targets, *, hyperparameters...) -> (rows,)`.

    link: makes predictions of outputs, for all kinds of task or by kind. transformed: whether targets are as target_transform=
    made them; else they are in their own unit. width: outputs of the model for each target.
    """

    function: Callable[..., Any]
    link: Link | Mapping[str, Link] = None
    transformed: bool = True
    width: int = 1

    def link_for(self, kind: str) -> Link:
        """The link for a kind of task."""
        return self.link.get(kind) if isinstance(self.link, Mapping) else self.link


LINK_NAMES = ("identity", "softmax", "sigmoid", "exp", "mean", "clipped", "shares")
"""The links by name; `metrics.predictions` computes them."""


def hyperparameters_of(function: Callable[..., Any]) -> tuple[frozenset[str], dict[str, Domain]]:
    """The hyperparameters in a function's signature: names of `Config` fields it reads, and domains of its own.

    Raises: ConfigError naming the parameter when its default is neither a domain nor a list of choices.
    """
    uses, own = set(), {}
    try:
        parameters = inspect.signature(function).parameters
    except ValueError:  # some built-in types and functions
        message = f"{function!r} has no signature to read hyperparameters from; wrap it in a function of your own"
        raise ConfigError([Problem("function", function, message)]) from None
    for name, parameter in parameters.items():
        if parameter.kind is not parameter.KEYWORD_ONLY:
            continue
        default = parameter.default
        if isinstance(default, (Range, IntRange, Choice)):
            if name in HYPERPARAMETERS:
                message = (
                    f"parameter {name!r} is already a hyperparameter; take it without a default, or use another name"
                )
                raise ConfigError([Problem(name, default, message)])
            own[name] = default
        elif values := listed(default):
            if error := ambiguous(name, default):
                raise error
            own[name] = Choice(values)
        elif isinstance(default, bool):
            own[name] = Choice(False, True, default=default)
        elif name in HYPERPARAMETERS:
            uses.add(name)
        else:
            shown = "" if default is parameter.empty else f"={default!r}"
            message = (
                f"parameter {name}{shown} has no range; give it one as its default, such as "
                f"{name}=wb.IntRange(8, 256, default=64), wb.LogRange(1e-4, 1) or wb.Choice(3, 5)"
            )
            raise ConfigError([Problem(name, None, message)])
    return frozenset(uses), own


def read_arguments(function: Callable[..., Any], config: Config) -> dict[str, Any]:
    """The keyword arguments for `function` out of a Config."""
    return {
        name: getattr(config, name)
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }


def register(
    registry: Registry[Any],
    name: str,
    function: Callable[..., Any],
    *,
    label: str = "",
    meaning: str = "",
    kinds: Iterable[str] = KINDS,
    value: Any = None,
    built_in: bool | None = None,
    check: Callable[[Mapping[str, Any]], object] = lambda defaults: None,
) -> None:
    """Put a function into a table under `name`; its hyperparameters are read from its signature.

    built_in: whether every Workbench has it, by default the package's own functions. check: called with the defaults of the
    function's hyperparameters before it is entered; raises if it cannot be used. One of the user's own is replaced by
    another of its name. Raises: ConfigError for the name of a built-in one, which trials in
    the log were made with, for a name that is no identifier, and for a kind of task that there is not.
    """
    if not callable(function):
        raise ConfigError([Problem(name, function, f"{registry.what} {name!r} must be callable, got {function!r}")])
    for argument, text in (("label", label), ("meaning", meaning)):
        if not isinstance(text, str):
            raise ConfigError([Problem(argument, text, f"{argument}={text!r}: expected text")])
    known = registry[name].value if isinstance(name, str) and name in registry else None
    known = known.function if isinstance(known, (Loss, Metric)) else known
    if known is not None and known is not function and known.__module__ in KEPT:
        message = f"{registry.what} {name!r} is built in, and trials of that name would not be what they were"
        raise ConfigError([Problem("name", name, f"{message}: take another name, my_{name}")])
    kinds = _kinds(kinds)
    uses, own = hyperparameters_of(function)
    check({**{field: HYPERPARAMETERS[field].default for field in uses}, **{field: own[field].start for field in own}})
    doc = (inspect.getdoc(function) or "").partition("\n")[0]
    registry.register(
        name,
        function if value is None else value,
        label=label,
        meaning=meaning or doc,
        uses=uses,
        parameters=own,
        kinds=kinds,
        built_in=getattr(function, "__module__", None) in KEPT if built_in is None else built_in,
    )


def _kinds(kinds: object) -> list[str]:
    """The kinds of task that a choice suits. Raises: ConfigError with those there are."""
    known = ", ".join(map(repr, sorted(KINDS)))
    if isinstance(kinds, str) or not isinstance(kinds, Iterable) or getattr(kinds, "ndim", 1) == 0:
        message = f"kinds={kinds!r}: give a list of kinds of task, out of {known}, such as kinds=['classification']"
        raise ConfigError([Problem("kinds", kinds, message)])
    found = list(kinds)
    for kind in found:
        if not isinstance(kind, str) or kind not in KINDS:
            message = f"kinds={found!r}: there is no kind of task {kind!r}{did_you_mean(kind, KINDS)}"
            raise ConfigError([Problem("kinds", found, message)])
    if not found:
        raise ConfigError([Problem("kinds", found, f"kinds={found!r}: name one kind of task or more, out of {known}")])
    return found


def register_model(
    name: str, build: Callable[..., Any], *, label: str = "", meaning: str = "", output: str | int | None = None
) -> None:
    """Add an architecture: `build(task, *, hyperparameters...) -> nn.Module` mapping (rows, *task.input_shape) to
    (rows, task.output_size).

    output: of a module that returns several tensors, the key, attribute or position of its output; `wb.Output(build, output)`
    is the same in `models={name: ...}`. None: "logits", "output" or "out", or the only tensor of the right shape.
    One of your own is replaced by another of its name. Raises: ConfigError for the name of a built-in one, which trials in the
    log were made with, and for a name that is no identifier.
    """
    register(MODELS, name, build if output is None else Output(build, output), label=label, meaning=meaning)


def register_models(models: Mapping[str, Callable[..., Any] | Sequence[Callable[..., Any]]] | None) -> None:
    """Add builders by name, as `models=` gives them; of a list, the last one trains, and the earlier ones restore old trials.

    Raises ConfigError for anything but a mapping, an empty list, and as `register_model`.
    """
    if models is None:
        return
    if not isinstance(models, Mapping):
        remedy = "give each builder a name: models={'my_model': build}"
        raise ConfigError([Problem("models", models, f"models={models!r}: {remedy}")])
    for name, build in models.items():
        versions: list[Any] = list(build) if isinstance(build, (list, tuple)) else [build]
        if not versions or not all(callable(version) for version in versions):
            remedy = "give a builder, or a list of its versions, the one to train with last"
            raise ConfigError([Problem("models", build, f"models[{name!r}]={build!r}: {remedy}")])
        register_model(name, versions[-1])
        user_choices().former[name] = (*versions[:-1],)


def register_loss(
    name: str,
    loss: Callable[..., Any],
    *,
    label: str = "",
    meaning: str = "",
    kinds: Iterable[str] = KINDS,
    link: Link | Mapping[str, Link] = None,
    transformed: bool = True,
    width: int = 1,
) -> None:
    """Add a loss: `loss(outputs (rows, outputs), targets, *, hyperparameters...) -> (rows,)`, one value a row.

    targets: (rows,) int64 class indices for a classification, (rows, *positions) for a dense task; (rows, outputs) numbers for
    the other kinds. Those of a regression are as its `target_transform` makes them (standardised by default), or in their own
    unit with transformed=False. kinds: the kinds of task it suits.
    link: how outputs become predictions: "softmax", "sigmoid", "exp", "identity", "mean" (the first half of the outputs), or a
    function of the outputs; a mapping gives one for each kind of task. With the default None, outputs count as they are: the
    largest one is the predicted class, numbers are predicted as they come, and what needs probabilities raises. The result of
    a link is in the units of the targets that the loss receives.
    width: outputs of the model for each target, for instance 2 for a mean and a variance. Raises: as `register`.
    """
    if not isinstance(transformed, bool):
        raise ConfigError([Problem("transformed", transformed, f"transformed={transformed!r}: must be True or False")])
    if isinstance(width, bool) or not isinstance(width, int) or not 1 <= width <= 1000:
        raise ConfigError([Problem("width", width, f"width={width!r}: must be a whole number from 1 to 1000")])
    for one in link.values() if isinstance(link, Mapping) else [link]:
        if not (one is None or callable(one) or (isinstance(one, str) and one in LINK_NAMES)):
            hint = did_you_mean(str(one), LINK_NAMES)
            message = f"link={one!r}: must be one of {', '.join(map(repr, LINK_NAMES))}, a function, or None{hint}"
            raise ConfigError([Problem("link", one, message)])
    value = Loss(loss, dict(link) if isinstance(link, Mapping) else link, transformed, width)
    register(LOSSES, name, loss, label=label, meaning=meaning, kinds=kinds, value=value)


def register_metric(
    name: str,
    metric: Callable[..., Any],
    *,
    better: Better = "higher",
    label: str = "",
    meaning: str = "",
    kinds: Iterable[str] = KINDS,
    unit: str = "",
    standard_error: Callable[[float, int], float] | None = None,
    interval: Callable[[float, int], tuple[float, float, str]] | None = None,
    weighted: Callable[..., Any] | None = None,
    undefined: str = "",
) -> None:
    """Add a metric: `metric(predictions, targets) -> float`; ask for it by `Task...(metrics=name)`.

    predictions: (rows, classes) probabilities for a classification, (rows, classes, *positions) for a dense task, (rows,
    labels) probabilities for several labels, (rows, outputs) float64 numbers in the target's own unit for the other kinds.
    targets: (rows,) class indices, (rows, *positions), (rows, labels) of 0 and 1, or (rows, outputs) numbers in their own
    unit. Of a task with weights of rows, it needs a third parameter `weights` (rows,). It returns NaN where it has no value;
    undefined: when that is, in words. kinds: the kinds of task it suits. unit, standard_error, interval, weighted: optional,
    see `Metric`. Raises: as `register`.
    """
    if not isinstance(better, str) or better not in get_args(Better):
        raise ConfigError([Problem("better", better, f"better={better!r}: must be 'higher' or 'lower'")])
    if isinstance(name, str) and name in ("loss", "metric"):  # columns of the log
        raise ConfigError([Problem("name", name, f"metric name {name!r} is taken; choose another one, my_{name}")])
    if not isinstance(undefined, str):
        raise ConfigError([Problem("undefined", undefined, f"undefined={undefined!r}: expected text")])
    value = Metric(metric, better, unit, standard_error, interval, weighted, undefined)
    register(METRICS, name, metric, label=label, meaning=meaning, kinds=kinds, value=value)


def register_schedule(name: str, schedule: Callable[..., Any], *, label: str = "", meaning: str = "") -> None:
    """Add a schedule: `schedule(rate, progress, *, hyperparameters...) -> float`, the rate of the coming step.

    A pure function of the base rate and of `workbench.training.schedules.Progress` (step, total steps, ...).
    """
    register(SCHEDULES, name, schedule, label=label, meaning=meaning)
