"""From a client and a provider to a `Connection`, or to an error that says what is missing. No I/O."""

from __future__ import annotations

from collections.abc import Iterable

from ccproxy.cli.clients.connection import DEFAULT_MODELS, WINDOWS, Connection, Dialect, key_and_token
from ccproxy.cli.clients.known import CLIENTS, generic
from ccproxy.cli.clients.spec import Client
from ccproxy.errors import ConfigError, StartError
from ccproxy.providers.credentials import Credential, CredentialState
from ccproxy.providers.spec import Provider
from ccproxy.translate.formats import Format


def client_named(name: str, dialect: str | None) -> Client:
    """Return the client of this name, or any program if `dialect` names the API that it uses.

    Raises:
        ConfigError: the client is unknown and no dialect is given, or the client does not use that dialect.

    """
    requested = _dialect(dialect)
    client = CLIENTS.get(name)
    if client is None:
        if requested is None:
            raise ConfigError(
                f"Unknown client {name!r}. Known clients: {', '.join(CLIENTS)}. "
                "For any other program, add --format anthropic or --format openai"
            )
        return generic(name, requested)
    if requested is not None and requested not in client.dialects:
        raise ConfigError(f"{client.title} does not support --format {requested.value}. Leave --format out")
    return client


def provider_named(name: str, enabled: Iterable[Provider], all_names: Iterable[str]) -> Provider:
    """Return the enabled provider of this name. `-` and `_` are the same.

    Raises:
        ConfigError: the provider is disabled or unknown.

    """
    normalized = name.replace("-", "_")
    by_name = {provider.name: provider for provider in enabled}
    if normalized in by_name or name in by_name:
        return by_name.get(name) or by_name[normalized]
    if normalized in set(all_names):
        raise ConfigError(
            f"The provider {normalized} is disabled. Enable it with: ccproxy config set providers.{normalized}.enabled true"
        )
    raise ConfigError(f"Unknown provider {name!r}. Enabled providers: {', '.join(sorted(by_name)) or 'none'}")


def connect(
    client: Client,
    provider: Provider,
    *,
    origin: str,
    credential: Credential,
    auth_token: str = "",
    model: str | None = None,
    dialect: str | None = None,
) -> Connection:
    """Return the connection that `client` needs.

    Raises:
        ConfigError: the client needs a model name, and none is given.
        StartError: every request would fail because a credential is missing.

    """
    if message := _missing_credential(client, provider, credential):
        raise StartError(message)
    key, token = key_and_token(credential.state, auth_token)
    if token and not client.carries_token:
        raise StartError(
            f"{client.title} cannot send ccproxy's token in addition to its own key. "
            f"Give ccproxy a credential for {provider.name}: {credential.remedy}"
        )
    model = model or _default_model(client, provider)
    if model is None and not client.own_family and not provider.models:
        raise ConfigError(f"{client.title} needs to know which model of {provider.name} to use. Add --model NAME")
    native = client.own_family == provider.family or bool(provider.models)
    return Connection(
        origin=origin,
        prefix=provider.prefix,
        dialect=_dialect(dialect) or _preferred_dialect(client, provider),
        key=key,
        token=token,
        model=model,
        window=WINDOWS.get(provider.family) if model and not native else None,
        native_models=native,
    )


def _missing_credential(client: Client, provider: Provider, credential: Credential) -> str:
    """Return a message if requests would have no usable credential, else an empty string."""
    remedy = f"To add one, {credential.remedy}"
    if credential.state is CredentialState.MISSING:
        return f"No credential for {provider.name}. {remedy}"
    foreign = "" not in {provider.family, client.own_family} and provider.family != client.own_family
    if credential.state is CredentialState.CLIENT and credential.auth == "auto" and foreign:
        return f"No credential for {provider.name}, which does not accept the credential of {client.title}. {remedy}"
    return ""


def _default_model(client: Client, provider: Provider) -> str | None:
    if provider.models or client.own_family == provider.family:
        return None
    return DEFAULT_MODELS.get(provider.family)


def _preferred_dialect(client: Client, provider: Provider) -> Dialect:
    """Return the dialect that needs no translation if the client uses it."""
    dialect = Dialect.ANTHROPIC if provider.format is Format.ANTHROPIC else Dialect.OPENAI
    return dialect if dialect in client.dialects else min(client.dialects)


def _dialect(name: str | None) -> Dialect | None:
    try:
        return Dialect(name) if name else None
    except ValueError:
        raise ConfigError(f"--format {name}: must be anthropic or openai") from None
