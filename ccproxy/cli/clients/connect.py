"""From a client, a provider and what the user asked for to a `Connection`, or to a sentence about what is in the way. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from ccproxy.cli.clients.connection import DEFAULT_MODELS, WINDOWS, Connection, Dialect, family, key_and_token
from ccproxy.cli.clients.known import CLIENTS, generic
from ccproxy.cli.clients.spec import Client
from ccproxy.errors import ConfigError, StartError
from ccproxy.providers.credentials import Credential, CredentialState
from ccproxy.providers.spec import Provider
from ccproxy.translate.formats import Format


def client_named(name: str, wanted: str | None) -> Client:
    """The client of this name, or any program where `wanted` says what it speaks.

    Raises:
        ConfigError: neither; the message names what there is.

    """
    spoken = _dialect(wanted)
    known = CLIENTS.get(name)
    if known is None:
        if spoken is None:
            raise ConfigError(
                f"unknown client {name!r}: known are {', '.join(CLIENTS)}; "
                "for any other program add --format anthropic or --format openai"
            )
        return generic(name, spoken)
    if spoken is not None and spoken not in known.dialects:
        raise ConfigError(f"{known.title} does not speak {spoken.value}: leave --format out")
    return known


def provider_named(name: str, enabled: Iterable[Provider], all_names: Iterable[str]) -> Provider:
    """The enabled provider of this name, `-` and `_` being the same.

    Raises:
        ConfigError: there is none; the message says whether it is switched off or unknown.

    """
    wanted = name.replace("-", "_")
    found = {provider.name: provider for provider in enabled}
    if wanted in found or name in found:
        return found.get(name) or found[wanted]
    if wanted in set(all_names):
        raise ConfigError(f"the provider {wanted} is switched off: ccproxy config set providers.{wanted}.enabled true")
    raise ConfigError(f"no provider {name!r}: there are {', '.join(sorted(found)) or 'none'}")


def connect(
    client: Client,
    provider: Provider,
    *,
    origin: str,
    credential: Credential,
    auth_token: str = "",
    model: str | None = None,
    wanted: str | None = None,
) -> Connection:
    """What `client` has to be told.

    Raises:
        ConfigError: the client has to be told a model, and nobody has.
        StartError: every request would fail, for want of a credential.

    """
    if message := _no_credential(client, provider, credential):
        raise StartError(message)
    key, token = key_and_token(credential.state, auth_token)
    if token and not client.carries_token:
        raise StartError(
            f"{client.title} cannot send ccproxy's token beside its own key: give ccproxy a credential for {provider.name} "
            f"({credential.remedy})"
        )
    model = model or _default_model(client, provider)
    if model is None and not client.own_family and not provider.models:
        raise ConfigError(f"say which model of {provider.name} {client.title} is to ask for: --model NAME")
    native = client.own_family == family(provider) or bool(provider.models)
    return Connection(
        origin=origin,
        prefix=provider.prefix,
        dialect=_dialect(wanted) or _fitting(client, provider),
        key=key,
        token=token,
        model=model,
        window=WINDOWS.get(family(provider)) if model and not native else None,
        native_models=native,
    )


def _no_credential(client: Client, provider: Provider, credential: Credential) -> str:
    if credential.state is CredentialState.MISSING:
        return f"no credential for {provider.name}: {credential.remedy}"
    foreign = bool(family(provider)) and bool(client.own_family) and client.own_family != family(provider)
    if credential.state is CredentialState.CLIENT and credential.auth == "auto" and foreign:
        return f"no credential for {provider.name}, and {client.title}'s own is none of its: {credential.remedy}"
    return ""


def _default_model(client: Client, provider: Provider) -> str | None:
    if provider.models or client.own_family == family(provider):
        return None
    return DEFAULT_MODELS.get(family(provider))


def _fitting(client: Client, provider: Provider) -> Dialect:
    """The dialect that needs no translation, where the client speaks it."""
    wanted = Dialect.ANTHROPIC if provider.format is Format.ANTHROPIC else Dialect.OPENAI
    return wanted if wanted in client.dialects else min(client.dialects)


def _dialect(name: str | None) -> Dialect | None:
    try:
        return Dialect(name) if name else None
    except ValueError:
        raise ConfigError(f"--format {name}: must be anthropic or openai") from None
