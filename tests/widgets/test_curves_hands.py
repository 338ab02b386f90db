"""Hands on the views: what the page tells of them, what the kernel believes, and when the saved picture comes."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from harness import make_curves

import workbench as wb
from workbench.widgets.hands import Hands

SHORT = wb.Config(epochs=1, hidden_units=4)


class Handle:
    """A display handle that counts its updates."""

    def __init__(self) -> None:
        self.bundles: list[dict[str, Any]] = []

    def update(self, bundle: dict[str, Any], *, raw: bool) -> None:
        assert raw
        self.bundles.append(bundle)


def test_the_page_says_when_hands_come_and_go_and_a_new_page_has_none() -> None:
    curves, _ = make_curves()
    released: list[bool] = []
    curves.hands.on_release(lambda: released.append(curves.hands.held))
    assert not curves.hands.held
    for content, held, releases in [
        ({"kind": "hands", "held": False}, False, 0),  # none had been there
        ({"kind": "hands", "held": True}, True, 0),
        ({"kind": "pick", "trial": 1, "epoch": 1}, True, 0),
        ({"kind": "hands", "held": False}, False, 1),
        ({"kind": "hands", "held": True}, True, 1),
        ({"kind": "hello", "held": True}, True, 1),  # a gap
        ({"kind": "hello", "held": False}, False, 2),  # a page that was loaded anew
    ]:
        curves._receive(curves, content, [])
        assert (curves.hands.held, len(released)) == (held, releases)
    assert not any(released)


def test_hands_that_are_not_heard_of_are_taken_for_gone() -> None:
    hands = Hands(patience=0.01)
    gone = threading.Event()
    hands.on_release(gone.set)
    hands.tell(True)
    assert gone.wait(60)
    assert not hands.held


def test_word_of_hands_begins_the_patience_anew() -> None:
    hands = Hands()
    gone: list[bool] = []
    hands.on_release(lambda: gone.append(True))
    hands.tell(True)
    hands.tell(True)
    hands._give_up(1)  # the first word's time is over
    assert (hands.held, gone) == (True, [])
    hands._give_up(2)
    assert (hands.held, gone) == (False, [True])


def shown(bench: wb.Workbench) -> tuple[Any, Handle]:
    """The session of a workbench whose views were displayed, and the handle of their output."""
    session, handle = bench._session, Handle()
    bench._ipython_display_()
    session._handles = [handle]
    return session, handle


def test_the_picture_waits_for_hands_and_comes_when_they_have_gone(bench: wb.Workbench) -> None:
    session, handle = shown(bench)
    hands = session._live.curves.hands
    bench.run(SHORT)
    session.tick()
    assert len(handle.bundles) == 1  # nobody there: at once

    async def hold() -> None:
        session.pump.attach()
        hands.tell(True)
        run = bench.start(SHORT)
        await run
        assert session.tick() is False  # so the pump stands still meanwhile
        assert len(handle.bundles) == 1
        threading.Thread(target=hands.tell, args=[False]).start()  # as from a subshell of the kernel
        while len(handle.bundles) < 2:
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(hold(), 60))
    assert handle.bundles[-1]["image/png"]
    session.tick()
    assert len(handle.bundles) == 2


def test_hands_that_come_while_the_picture_is_drawn_keep_it_back(
    bench: wb.Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, handle = shown(bench)
    hands, drawn = session._live.curves.hands, session._bundle

    def draw() -> dict[str, Any]:
        hands.tell(True)
        return dict(drawn())

    monkeypatch.setattr(session, "_bundle", draw)
    bench.run(SHORT)
    session.tick()
    assert handle.bundles == []
    monkeypatch.undo()
    hands.tell(False)
    session.tick()
    assert len(handle.bundles) == 1
