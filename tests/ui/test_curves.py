"""Live curves, the kernel's side: what leaves as messages, read back by a decoder written here from the document."""

from __future__ import annotations

import json
import math
import struct
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ui.harness import declare_trial, make_curves
from workbench.ui.curves import Chart, LiveCurves, Mark, Series
from workbench.ui.wire import pack, thinned


def decode(operation: dict[str, Any], buffer: bytes) -> dict[int, tuple[list[float], list[float]]]:
    """A plain reading of an append, value by value."""
    runs, points = operation["runs"], operation["points"]
    values = iter(struct.iter_unpack("<4s", buffer))

    def take(code: str, n: int) -> list[Any]:
        return [struct.unpack(f"<{code}", next(values)[0])[0] for _ in range(n)]

    handles = take("I", runs)
    counts = [1] * runs if runs == points else take("I", runs)
    x, y = take("f", points), take("f", points)
    assert next(values, None) is None
    found, at = {}, 0
    for handle, count in zip(handles, counts, strict=True):
        found[handle] = (x[at : at + count], y[at : at + count])
        at += count
    return found


class Follower:
    """What a front end knows after the messages it was sent."""

    def __init__(self) -> None:
        self.seq = 0
        self.series: dict[int, dict[str, Any]] = {}
        self.points: dict[int, tuple[list[float], list[float]]] = {}
        self.marks: dict[tuple[Any, ...], Mark] = {}

    def take(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        if content["seq"] <= self.seq:
            return
        if content.get("checkpoint"):
            self.__init__()  # type: ignore[misc]
        else:
            assert content["seq"] == self.seq + 1
        self.seq = content["seq"]
        waiting = list(buffers)
        for operation in content["ops"]:
            match operation["op"]:
                case "declare":
                    for series in operation["series"]:
                        self.series[series["handle"]] = series
                        self.points.setdefault(series["handle"], ([], []))
                case "append":
                    for handle, (x, y) in decode(operation, waiting.pop(0)).items():
                        self.points[handle][0].extend(x)
                        self.points[handle][1].extend(y)
                case "mark":
                    columns = (operation["trials"], operation["epochs"], operation["texts"])
                    for trial, epoch, text in zip(*columns, strict=True):
                        kind = operation["kind"]
                        key = (trial, kind, epoch, text) if kind == "change" else (trial, kind)
                        self.marks[key] = Mark(trial, epoch, kind, text)
                case "remove":
                    for handle in operation["handles"]:
                        del self.series[handle], self.points[handle]
                    left = {series["trial"] for series in self.series.values()}
                    self.marks = {key: mark for key, mark in self.marks.items() if mark.trial in left}
                case "clear":
                    self.series.clear()
                    self.points.clear()
                    self.marks.clear()
                case unknown:
                    pytest.fail(f"unknown operation {unknown}")
        assert not waiting

    def by_id(self) -> dict[str, tuple[list[float], list[float]]]:
        return {self.series[handle]["id"]: points for handle, points in self.points.items()}


def assert_same_points(follower: Follower, curves: LiveCurves) -> None:
    theirs, ours = follower.by_id(), curves.checkpoint()
    assert theirs.keys() == ours.keys()
    for name, (x, y) in ours.items():
        np.testing.assert_array_equal(np.float32(theirs[name][0]), x.astype(np.float32))
        np.testing.assert_array_equal(np.float32(theirs[name][1]), y.astype(np.float32))


floats32 = st.floats(width=32, allow_nan=True, allow_infinity=True)
runs = st.lists(st.tuples(st.integers(0, 2**32 - 1), st.lists(floats32, min_size=1, max_size=5)), max_size=6)


@given(runs.filter(lambda found: len({handle for handle, _ in found}) == len(found) > 0))
def test_pack_is_read_back(found: list[tuple[int, list[float]]]) -> None:
    packed = [(handle, np.arange(len(y), dtype=float), np.array(y)) for handle, y in found]
    points = sum(len(y) for _, y in found)
    got = decode({"runs": len(found), "points": points}, pack(packed))
    assert got.keys() == {handle for handle, _ in found}
    for handle, y in found:
        assert got[handle][0] == list(range(len(y)))
        np.testing.assert_array_equal(got[handle][1], y)


def test_what_float32_cannot_hold_stays_an_outlier() -> None:
    (_, y) = decode({"runs": 1, "points": 4}, pack([(1, [1, 2, 3, 4], np.array([1e300, -1e300, math.inf, 1e-300]))]))[1]
    assert math.isfinite(y[0])
    assert y[0] > 3e38
    assert y[1] == -y[0]
    assert y[2:] == [math.inf, 0.0]


step = st.one_of(
    st.tuples(st.just("declare"), st.integers(0, 4), st.sampled_from(["live", "faint"])),
    st.tuples(st.just("append"), st.dictionaries(st.integers(0, 4), st.lists(floats32, max_size=3))),
    st.tuples(st.just("remove"), st.sets(st.integers(0, 4))),
    st.tuples(st.just("mark"), st.integers(0, 4), st.integers(0, 9), st.sampled_from(["best", "change", "stopped"])),
    st.tuples(st.just("clear")),
    st.tuples(st.just("hello")),
)


@settings(deadline=None)
@given(st.lists(step, max_size=25), st.integers(0, 25), st.booleans())
def test_any_history_ends_the_same_for_whoever_joins_whenever(steps: list[Any], joined: int, held: bool) -> None:
    curves, sent = make_curves()
    ends: dict[str, int] = {}

    def perform(action: Any) -> None:
        known = {series.id for series in curves.series}
        match action:
            case ("declare", trial, style):
                curves.declare([Series(f"s{trial}", "loss", trial, f"#{trial}", style=style)])
            case ("append", values):
                points = {}
                for trial, ys in values.items():
                    if f"s{trial}" in known:
                        end = ends.get(f"s{trial}", 0)
                        points[f"s{trial}"] = (range(end, end + len(ys)), ys)
                        ends[f"s{trial}"] = end + len(ys)
                curves.append(points)
            case ("remove", trials):
                curves.remove({f"s{trial}" for trial in trials} & known)
            case ("mark", trial, epoch, kind):
                if f"s{trial}" in known:
                    curves.mark(trial, epoch, kind, "text")
            case ("clear",):
                curves.clear()
            case ("hello",):
                curves._receive(curves, {"kind": "hello"}, [])

    for action in steps[:joined]:
        perform(action)
    late = len(sent)
    perform(("hello",))
    if held:
        with curves.hold():
            for action in steps[joined:]:
                perform(action)
    else:
        for action in steps[joined:]:
            perform(action)
    from_the_start, newcomer = Follower(), Follower()
    for content, buffers in sent:
        from_the_start.take(content, buffers)
    for content, buffers in sent[late:]:
        newcomer.take(content, buffers)
    for follower in (from_the_start, newcomer):
        assert_same_points(follower, curves)
        assert set(follower.marks.values()) == set(curves.marks)
        assert {series["style"] for series in follower.series.values()} == {series.style for series in curves.series}


def test_checkpoint_equals_what_was_appended_in_float64() -> None:
    curves, _ = make_curves()
    declare_trial(curves, 1)
    curves.append(
        {"1/loss/train": ([1, 2], [0.1, math.nan]), "1/loss/validation": (np.array([1.5]), np.array([1e300]))}
    )
    curves.append({"1/loss/train": ([3], [-math.inf])})
    points = curves.checkpoint()
    np.testing.assert_array_equal(points["1/loss/train"][0], [1, 2, 3])
    np.testing.assert_array_equal(points["1/loss/train"][1], [0.1, math.nan, -math.inf])
    np.testing.assert_array_equal(points["1/loss/validation"], [[1.5], [1e300]])
    assert points["1/metric/train"][0].shape == (0,)
    points["1/loss/train"][1][0] = 7  # a copy
    assert curves.checkpoint()["1/loss/train"][1][0] == 0.1


def _bytes(message: tuple[dict[str, Any], list[bytes]]) -> int:
    """The content and buffers of a comm message, with the part that Jupyter adds to every content."""
    content, buffers = message
    envelope = {"comm_id": "0" * 32, "data": {"method": "custom", "content": content}}
    return len(json.dumps(envelope)) + sum(map(len, buffers))


def test_an_update_of_64_trials_on_two_charts_is_small_and_has_no_value_in_json() -> None:
    curves, sent = make_curves()
    for trial in range(64):
        declare_trial(curves, trial)
    sent.clear()
    ids = [series.id for series in curves.series]
    curves.append({name: ([30], [0.123456789]) for name in ids if name.endswith("validation")})
    curves.append({name: ([31], [0.123456789]) for name in ids})  # with the train curves too: 256 points
    with curves.hold():
        for trial in range(64):
            curves.mark(trial, 30, "best")
    assert [_bytes(message) <= 4096 for message in sent] == [True, True, True]
    for content, _ in sent[:2]:
        assert "0.12" not in json.dumps(content)
        assert set(content["ops"][0]) == {"op", "runs", "points"}


def test_hold_sends_one_message_even_when_the_body_raises() -> None:
    curves, sent = make_curves()

    def body() -> None:
        with curves.hold():
            declare_trial(curves, 1)
            curves.append({"1/loss/train": ([1], [1.0])})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        body()
    assert len(sent) == 1
    follower = Follower()
    follower.take(*sent[0])
    assert_same_points(follower, curves)


def test_errors_name_what_is_wrong_and_leave_all_as_it_was() -> None:
    curves, sent = make_curves()
    declare_trial(curves, 1)
    sent.clear()
    train = "1/loss/train"
    with pytest.raises(ValueError, match=r"unknown series '1/loss/tran'; did you mean '1/loss/train'\?; declare\(\)"):
        curves.append({train: ([1], [1.0]), "1/loss/tran": ([1], [1.0])})
    with pytest.raises(ValueError, match="x has 2 values and y 1"):
        curves.append({train: ([1, 2], [1.0])})
    for xs in ([2, 1], [1, 1], [math.nan], [1, math.nan, 2], [1, math.inf]):
        with pytest.raises(ValueError, match="x must be finite and increase"):
            curves.append({train: (xs, [0.0] * len(xs))})
    with pytest.raises(ValueError, match="unknown chart 'los'; did you mean 'loss'"):
        curves.declare([Series("a", "loss", 1, "a"), Series("b", "los", 1, "b")])
    with pytest.raises(ValueError, match="already declared"):
        curves.declare([Series(train, "loss", 2, "moved", "train")])
    with pytest.raises(ValueError, match="unknown series 'x'"):
        curves.remove([train, "x"])
    with pytest.raises(ValueError, match="unknown style 'fain'; did you mean 'faint'"):
        curves.restyle(train, "fain")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="trial 9 has no series"):
        curves.mark(9, 1, "best")
    with pytest.raises(ValueError, match="unknown kind of mark 'bets'"):
        curves.mark(1, 1, "bets")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="must be finite, got nan"):
        curves.mark(1, math.nan, "best")
    with pytest.raises(ValueError, match="different keys"):
        LiveCurves([Chart("a", "A"), Chart("a", "B")])
    assert sent == []
    assert len(curves.series) == 4
    assert all(len(x) == 0 for x, _ in curves.checkpoint().values())


def test_a_removed_and_declared_again_series_starts_empty_under_a_new_handle() -> None:
    curves, sent = make_curves()
    curves.declare([Series("a", "loss", 1, "#1")])
    curves.append({"a": ([5], [1.0])})
    curves.remove("a")
    curves.declare([Series("a", "loss", 1, "#1")])
    curves.append({"a": ([1], [2.0])})
    follower = Follower()
    for message in sent:
        follower.take(*message)
    assert follower.by_id() == {"a": ([1.0], [2.0])}
    handles = [op["series"][0]["handle"] for content, _ in sent for op in content["ops"] if op["op"] == "declare"]
    assert len(set(handles)) == 2


def test_picks_reach_the_callbacks() -> None:
    curves, _ = make_curves()
    picked: list[tuple[int, float]] = []
    curves.on_pick(lambda trial, epoch: picked.append((trial, epoch)))
    curves._receive(curves, {"kind": "pick", "trial": 7, "epoch": 12}, [])
    assert picked == [(7, 12.0)]


def test_traits_describe_the_charts_to_the_front_end() -> None:
    curves, _ = make_curves(epochs=30)
    state = curves.get_state()
    assert [chart["key"] for chart in state["charts"]] == ["loss", "metric"]
    assert state["charts"][1]["better"] == "higher"
    assert (state["epochs"], state["x_label"]) == (30, "epoch")
    assert json.loads(json.dumps(state["charts"])) == state["charts"]


def test_a_page_that_loads_is_asked_to_answer_when_it_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    curves, sent = make_curves()
    curves.declare([Series("a", "loss", 1, "#1")])
    assert "ask" not in sent[-1][0]
    curves.get_state()
    curves.append({"a": ([1], [1.0])})
    assert sent[-1][0]["ask"] is True
    curves._receive(curves, {"kind": "here"}, [])
    messages = len(sent)
    curves.append({"a": ([2], [1.0])})
    assert "ask" not in sent[-1][0]
    assert len(sent) == messages + 1  # "here" asks for nothing
    curves.get_state()
    monkeypatch.setattr("workbench.ui.curves.LOADING_SECONDS", 0.0)
    assert not curves.loading  # a page that never came


def test_threads_may_append_while_a_page_sends_hello() -> None:
    curves, sent = make_curves()
    curves.declare([Series(f"s{i}", "loss", i, f"#{i}") for i in range(4)])

    def work(i: int) -> None:
        for epoch in range(200):
            curves.append({f"s{i}": ([epoch], [float(epoch)])})
            if epoch % 50 == 0:
                curves._receive(curves, {"kind": "hello"}, [])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    follower = Follower()
    for message in sent:
        follower.take(*message)
    assert_same_points(follower, curves)
    assert all(len(x) == 200 for x, _ in curves.checkpoint().values())


def test_thinned_keeps_ends_and_extremes(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x, y = np.arange(10_000.0), rng.normal(size=10_000)
    y[[0, 3, 77, 5000]] = [np.nan, 1e30, -1e30, np.inf]
    kept_x, kept_y = thinned(x, y, 1000)
    assert len(kept_x) <= 1000
    assert (np.diff(kept_x) > 0).all()
    assert {0.0, 3.0, 77.0, 9999.0} <= set(kept_x)
    np.testing.assert_array_equal(kept_y, y[kept_x.astype(int)])
    for small in range(6, 12):
        assert len(thinned(x, y, small)[0]) <= small
    # a checkpoint too large to send is thinned; what the kernel keeps is not
    monkeypatch.setattr("workbench.ui.curves.CHECKPOINT_POINTS", 600)
    curves, sent = make_curves()
    curves.declare([Series("a", "loss", 1, "#1"), Series("b", "loss", 2, "#2")])
    curves.append({"a": (x, y), "b": ([1], [1.0])})
    curves._receive(curves, {"kind": "hello"}, [])
    assert len(sent[-1][1][0]) < 600 * 8 + 100
    assert len(curves.checkpoint()["a"][0]) == 10_000
