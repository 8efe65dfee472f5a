"""Lists of models as responses that clients of either vendor read."""

from __future__ import annotations

from typing import Any

from mitmproxy import http

from ccproxy.addons.transport.responses import json_response
from ccproxy.errors import RouteNotFound
from ccproxy.providers.routing import Route
from ccproxy.providers.spec import Operation


def model_response(models: list[dict[str, Any]], path: str, route: Route) -> http.Response:
    """A list of models, or the one that the path names, for clients of either vendor.

    Raises:
        RouteNotFound: there is no such model.

    """
    if route.operation is Operation.MODEL:
        name = path.rstrip("/").rpartition("/")[2]
        model = next((model for model in models if model["id"] == name), None)
        if model is None:
            raise RouteNotFound(f"model: {name[:200]}", code="model_not_found")
        return json_response(model)
    ids = [model["id"] for model in models]
    ends = {"first_id": ids[0] if ids else None, "last_id": ids[-1] if ids else None}
    return json_response({"object": "list", "data": models, "has_more": False, **ends})
