"""JSON paths of losses."""

from __future__ import annotations

from ccproxy.translate.losses import Losses, child


def test_paths() -> None:
    assert child("", "model") == "model"
    assert child("a[0]", "b") == "a[0].b"
    assert child("a", "b c") == 'a["b c"]'
    losses = Losses()
    losses.add("a", "one")
    losses.add("a", "two")
    assert [tuple(loss) for loss in losses] == [("a", "one")]
    assert len(losses) == 1
