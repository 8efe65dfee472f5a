"""The ways an exchange can be served: one class per way, each owning the state of its exchanges.

| way            | module          | when                                                                              |
|----------------|-----------------|-----------------------------------------------------------------------------------|
| `Endpoint`     | `endpoint.py`   | ccproxy's own `/health`, `/metrics`, `/usage`, `/permissions`                     |
| `InProcess`    | `in_process.py` | a provider in this process: `/mock`, `/claude`                                    |
| `Native`       | `native.py`     | the client's format is the upstream's: bytes                                      |
| `NativeFolded` | `native.py`     | the same, but the upstream only streams, and the client may want a whole response |
| `Translated`   | `translated.py` | the formats differ                                                                |
| `ModelList`    | `lists.py`      | lists of models, made here or the upstream's own                                  |
| `TokenCount`   | `lists.py`      | `count_tokens` where the upstream has none: an estimate                           |

`upstream.py` has what all ways to an upstream share: credential, retries, header fields for the wire, conversion of the response.
"""

from __future__ import annotations

from ccproxy.addons.exchange import Client, Way
from ccproxy.addons.gateway.ways.in_process import InProcess
from ccproxy.addons.gateway.ways.lists import ModelList, TokenCount
from ccproxy.addons.gateway.ways.native import Native, NativeFolded
from ccproxy.addons.gateway.ways.shared import Shared
from ccproxy.addons.gateway.ways.translated import Translated
from ccproxy.providers.routing import Route
from ccproxy.providers.spec import Operation


def choose(route: Route, client: Client, shared: Shared) -> Way:
    """The way that serves this request."""
    provider, operation = route.provider, route.operation
    if provider.upstream is None:
        return InProcess(route, shared)
    if operation in {Operation.MODELS, Operation.MODEL}:
        return ModelList(route, client, shared)
    if not route.is_native:
        return (TokenCount if operation is Operation.COUNT_TOKENS else Translated)(route, client, shared)
    if provider.streams_only and operation is Operation.CREATE:
        return NativeFolded(route, client, shared)
    return Native(route, client, shared)
