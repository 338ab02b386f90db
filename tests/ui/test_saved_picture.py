"""What a displayed workbench leaves in the notebook: the widget, which is put there once, and a picture that is updated."""

from __future__ import annotations

from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

import workbench as wb

SHORT = wb.Config(epochs=1, hidden_units=4)
VIEW = "application/vnd.jupyter.widget-view+json"


def test_the_widget_is_displayed_once_and_the_picture_below_it_follows_the_runs(bench: wb.Workbench) -> None:
    InteractiveShell.clear_instance()
    InteractiveShell.instance()
    with capture_output() as shown:
        bench._ipython_display_()
        for _ in range(2):
            bench.run(SHORT)
            bench.presenter.tick()
            bench.presenter.tick()  # nothing new
    InteractiveShell.clear_instance()
    widget, *pictures = [output.data for output in shown.outputs]
    assert VIEW in widget
    assert [VIEW in picture for picture in pictures] == [False] * 3
    assert ["image/png" in picture for picture in pictures] == [False, True, True]
    assert [picture["text/plain"].split(",")[0] for picture in pictures] == [
        f"Workbench on {bench.task.name}: no trial yet",
        f"Workbench on {bench.task.name}: 1 trial",
        f"Workbench on {bench.task.name}: 2 trials",
    ]
