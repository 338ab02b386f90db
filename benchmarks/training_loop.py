"""One trial, digits, MLP 64-64, batch 32, Adam, 10 epochs with validation: the workbench against loops and peers.

    python -m benchmarks.training_loop [--rounds 7]

Every candidate trains the same architecture on the same training split and evaluates loss and accuracy on the validation
split after each epoch. "bare loop" is what a careful person writes by hand: shuffled slices of tensors, fused Adam.
The log of the workbench is a file on disk.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

import workbench as wb
from benchmarks.timing import compare, table
from workbench.methods.tabs import TABS
from workbench.training import Training, prepare

EPOCHS, BATCH, RATE = 10, 32, 1e-3
LIMITS = {"workbench": 1.15, "workbench, live view": 1.25}


def model() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def bare_loop(task: wb.Task) -> None:
    x, y, x_val, y_val = task.train.x, task.train.y, task.validation.x, task.validation.y
    net, criterion = model(), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(net.parameters(), lr=RATE, fused=True)
    for _ in range(EPOCHS):
        order = torch.randperm(len(x))
        shuffled, targets = x[order], y[order]
        total = 0.0
        for start in range(0, len(x), BATCH):
            loss = criterion(net(shuffled[start : start + BATCH]), targets[start : start + BATCH])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        with torch.no_grad():
            net.eval()
            outputs = net(x_val)
            criterion(outputs, y_val).item()
            (outputs.argmax(1) == y_val).double().mean().item()
            net.train()


def loader_loop(task: wb.Task) -> None:
    from torch.utils.data import DataLoader, TensorDataset

    train = DataLoader(TensorDataset(task.train.x, task.train.y), BATCH, shuffle=True)
    validation = DataLoader(TensorDataset(task.validation.x, task.validation.y), 512)
    net, criterion = model(), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(net.parameters(), lr=RATE)
    for _ in range(EPOCHS):
        for x, y in train:
            optimizer.zero_grad()
            criterion(net(x), y).backward()
            optimizer.step()
        with torch.no_grad():
            for x, y in validation:
                outputs = net(x)
                criterion(outputs, y).item()
                (outputs.argmax(1) == y).double().mean().item()


def skorch(task: wb.Task) -> None:
    from skorch import NeuralNetClassifier
    from skorch.dataset import Dataset
    from skorch.helper import predefined_split

    held_out = Dataset(task.validation.x.numpy(), task.validation.y.numpy())
    net = NeuralNetClassifier(
        model(), criterion=nn.CrossEntropyLoss, optimizer=torch.optim.Adam, lr=RATE, max_epochs=EPOCHS, batch_size=BATCH,
        train_split=predefined_split(held_out), verbose=0, iterator_train__shuffle=True,  # scores the accuracy by itself
    )  # fmt: skip
    net.fit(task.train.x.numpy(), task.train.y.numpy())


def lightning(task: wb.Task) -> None:
    import lightning as L
    from torch.utils.data import DataLoader, TensorDataset

    class Module(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = model()

        def training_step(self, batch: list[torch.Tensor]) -> torch.Tensor:
            x, y = batch
            return nn.functional.cross_entropy(self.net(x), y)

        def validation_step(self, batch: list[torch.Tensor]) -> None:
            x, y = batch
            outputs = self.net(x)
            self.log("val_loss", nn.functional.cross_entropy(outputs, y))
            self.log("val_accuracy", (outputs.argmax(1) == y).float().mean())

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=RATE)

    trainer = L.Trainer(
        max_epochs=EPOCHS, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
    train = DataLoader(TensorDataset(task.train.x, task.train.y), BATCH, shuffle=True)
    trainer.fit(Module(), train, DataLoader(TensorDataset(task.validation.x, task.validation.y), 512))


def fastai(task: wb.Task) -> None:
    from fastai.basics import Adam, DataLoaders, Learner, accuracy
    from torch.utils.data import DataLoader, TensorDataset

    train = DataLoader(TensorDataset(task.train.x, task.train.y), BATCH, shuffle=True)
    validation = DataLoader(TensorDataset(task.validation.x, task.validation.y), 512)
    learner = Learner(
        DataLoaders(train, validation), model(), loss_func=nn.CrossEntropyLoss(), opt_func=Adam, metrics=accuracy
    )
    learner.logger = lambda values: None  # as its no_logging() does
    learner.fit(EPOCHS, RATE)


def candidates(task: wb.Task, folder: Path) -> dict[str, Callable[[], object]]:
    config = wb.Config(hidden_layers=2, hidden_units=64, batch_size=BATCH, learning_rate=RATE, epochs=EPOCHS)
    headless = wb.Workbench(task, log=folder / "headless.db")
    shown = wb.Workbench(task, log=folder / "shown.db")
    shown.presenter.build(shown, TABS)  # all widgets, with their messages, but nobody who displays them
    prepared = prepare(task, config)

    def engine() -> None:
        for _ in Training(task, {1: prepared}).moments():
            pass

    def in_thread() -> None:
        thread = threading.Thread(target=engine)
        thread.start()
        thread.join()

    return {
        "bare loop": lambda: bare_loop(task),
        "engine alone": engine,
        "engine in a thread, all cores": in_thread,
        "workbench": lambda: headless.run(config),
        "workbench, live view": lambda: shown.run(config),
        "DataLoader loop": lambda: loader_loop(task),
        "skorch": lambda: skorch(task),
        "fastai": lambda: fastai(task),
        "Lightning": lambda: lightning(task),
    }


def main(rounds: int = 7) -> dict[str, object]:
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        rows = compare(candidates(wb.Task.load("digits"), Path(folder)), rounds=rounds, baseline="bare loop")
    table("One trial: digits, MLP 64-64, batch 32, 10 epochs", rows, "bare loop")
    ratios = {row["name"]: row["ratio"] for row in rows}
    nearest = min(ratios[name] for name in ("skorch", "fastai", "Lightning"))
    print(f"nearest peer library: {nearest / ratios['workbench']:.2f} times as long as the workbench")
    return {"rows": rows, "limits": LIMITS, "nearest peer over workbench": nearest / ratios["workbench"]}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    main(parser.parse_args().rounds)
