"""The built-in data sets: one table, read by `Task.load` and `Task.available`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn import datasets

from workbench.core.errors import TaskError

__all__ = ["BUILTIN", "Builtin", "Raw"]


class Raw(NamedTuple):
    """A data set before it is split: inputs (rows, ...), targets (rows,), names of classes and features if any."""

    X: NDArray[Any]
    y: NDArray[Any]
    classes: tuple[str, ...] | None = None
    feature_names: tuple[str, ...] | None = None


class Builtin(NamedTuple):
    """How to get a data set, and what it is about."""

    load: Callable[..., Raw]
    kind: str
    meaning: str


def digits() -> Raw:
    X, y = datasets.load_digits(return_X_y=True)
    return Raw(X.reshape(-1, 1, 8, 8), y)


def _tabular(load: Callable[..., Any]) -> Callable[[], Raw]:
    def loader() -> Raw:
        bunch = load()
        classes = tuple(str(name) for name in bunch.target_names) if "target_names" in bunch else None
        return Raw(bunch.data, bunch.target, classes, tuple(str(name) for name in bunch.feature_names))

    return loader


def moons(n: int = 1000, noise: float = 0.2, seed: int = 0) -> Raw:
    return Raw(*datasets.make_moons(n, noise=noise, random_state=seed))


def circles(n: int = 1000, noise: float = 0.1, seed: int = 0) -> Raw:
    return Raw(*datasets.make_circles(n, noise=noise, factor=0.5, random_state=seed))


def blobs(n: int = 1000, noise: float = 1.0, centers: int = 4, seed: int = 0) -> Raw:
    return Raw(*datasets.make_blobs(n, centers=centers, cluster_std=noise, random_state=seed)[:2])


def spirals(n: int = 1000, noise: float = 0.03, arms: int = 2, turns: float = 1.5, seed: int = 0) -> Raw:
    """Points along interleaved spiral arms in the unit disc. noise: standard deviation, added to both coordinates."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % arms
    radius = np.sqrt(rng.uniform(0.01, 1, n))
    angle = 2 * np.pi * (turns * radius + y / arms)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return Raw(points + rng.normal(0, noise, (n, 2)), y)


def mnist1d(n: int = 4000, noise: float = 0.15, seed: int = 0) -> Raw:
    """Ten one-dimensional signal shapes of 40 samples, each shifted, scaled, sheared and made noisy.

    In the spirit of MNIST-1D (Greydanus & Kobak 2020); templates and data are generated here.
    """
    rng = np.random.default_rng(seed)
    knots = np.random.default_rng(2020).normal(0, 1, (10, 8))  # the templates do not change with the seed
    grid = np.linspace(0, 7, 16)
    templates = np.stack([np.interp(grid, np.arange(8), row) for row in knots])
    templates = (templates - templates.mean(1, keepdims=True)) / templates.std(1, keepdims=True)
    y = np.arange(n) % 10
    X = np.zeros((n, 40))
    for row, label in enumerate(y):
        length = int(rng.integers(14, 25))
        shape = np.interp(np.linspace(0, 15, length), np.arange(16), templates[label])
        shape = shape * rng.uniform(0.6, 1.4) + np.linspace(-1, 1, length) * rng.uniform(-0.5, 0.5)
        start = int(rng.integers(0, 40 - length + 1))
        X[row, start : start + length] = shape
    ripple = np.apply_along_axis(np.convolve, 1, rng.normal(0, 1, (n, 40)), np.ones(5) / 5, mode="same")
    return Raw(X + 0.5 * ripple + rng.normal(0, noise, (n, 40)), y)


def _openml(name: str, version: int, classes: tuple[str, ...] | None = None) -> Callable[[], Raw]:
    """28 x 28 pictures, downloaded on first use into scikit-learn's cache."""

    def loader() -> Raw:
        try:
            X, y = datasets.fetch_openml(name, version=version, return_X_y=True, as_frame=False, parser="liac-arff")
        except Exception as error:  # urllib, ssl and http errors, and a broken cache
            raise TaskError(
                f"data set {name!r} cannot be downloaded from OpenML ({type(error).__name__}: {error}); connect to the "
                "network once (scikit-learn then keeps it in its data folder), or use 'digits', which needs none"
            ) from error
        return Raw(np.asarray(X, dtype=np.float64).reshape(-1, 1, 28, 28), np.asarray(y).astype(int), classes)

    return loader


CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
C, R = "classification", "regression"
BUILTIN: dict[str, Builtin] = {
    "digits": Builtin(digits, C, "handwritten digits, 1,797 pictures of 8 x 8 pixels, 10 classes"),
    "moons": Builtin(moons, C, "two interleaved half circles in the plane (options n, noise)"),
    "circles": Builtin(circles, C, "one circle inside another (options n, noise)"),
    "spirals": Builtin(spirals, C, "interleaved spiral arms (options n, noise, arms, turns)"),
    "blobs": Builtin(blobs, C, "Gaussian blobs in the plane (options n, noise, centers)"),
    "iris": Builtin(_tabular(datasets.load_iris), C, "150 flowers, 4 measurements, 3 species"),
    "wine": Builtin(_tabular(datasets.load_wine), C, "178 wines, 13 chemical measurements, 3 growers"),
    "breast_cancer": Builtin(_tabular(datasets.load_breast_cancer), C, "569 tumours, 30 measurements, 2 diagnoses"),
    "diabetes": Builtin(_tabular(datasets.load_diabetes), R, "442 patients, 10 measurements, progression a year on"),
    "mnist1d": Builtin(mnist1d, C, "generated signals of 40 samples, 10 classes (options n, noise)"),
    "mnist": Builtin(_openml("mnist_784", 1), C, "70,000 digits of 28 x 28 pixels; downloaded on first use"),
    "fashion_mnist": Builtin(
        _openml("Fashion-MNIST", 1, CLOTHES), C, "70,000 clothes of 28 x 28 pixels; downloaded on first use"
    ),
}
