"""The client, provider, address and credential of a command, from its arguments and the settings."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ccproxy.cli.clients import Client, Connection
from ccproxy.cli.clients.connect import client_named, connect, provider_named
from ccproxy.cli.logins import credential_of
from ccproxy.cli.running import Address, PortState, free_port
from ccproxy.errors import StartError
from ccproxy.providers.credentials import Credential, CredentialState
from ccproxy.providers.registry import providers
from ccproxy.providers.spec import Provider
from ccproxy.settings import Settings
from ccproxy.settings.model import ProvidersSettings


@dataclass(frozen=True, slots=True)
class Target:
    """A client and the provider that it is to use."""

    client: Client
    provider: Provider
    address: Address
    credential: Credential
    auth_token: str
    model: str | None
    dialect: str | None
    """The value of `--format`."""

    def connection(self, running: PortState | None = None) -> Connection:
        """Return the connection of the client. A running proxy may have a credential that these settings do not name.

        Raises:
            ConfigError: see `connect`.
            StartError: see `connect`.

        """
        credential = self.credential
        reported = running.providers.get(self.provider.name, {}).get("credential") if running else None
        if reported in set(CredentialState) and not credential.state.is_own:
            credential = replace(credential, state=CredentialState(reported))
        return connect(
            self.client,
            self.provider,
            origin=self.address.origin,
            credential=credential,
            auth_token=self.auth_token,
            model=self.model,
            dialect=self.dialect,
        )

    def check_running(self, running: PortState) -> None:
        """Check that the running proxy has the provider at the expected prefix.

        Raises:
            StartError: it was started with another configuration.

        """
        reported = running.providers.get(self.provider.name)
        if reported is None or reported.get("prefix") != self.provider.prefix:
            raise StartError(
                f"The ccproxy on {self.address} runs with another configuration, without {self.provider.name} at {self.provider.prefix}. "
                "Restart it, or choose another port with --port"
            )


def target(settings: Settings, name: str, *, via: str | None, model: str | None, dialect: str | None) -> Target:
    """Look up the client and the provider.

    Raises:
        ConfigError: the client, provider or format is unknown.

    """
    client = client_named(name, dialect)
    names = {*ProvidersSettings.model_fields, *settings.providers.custom}
    provider = provider_named(via or client.via, providers(settings), names)
    address = Address.of(settings)
    if address.port == 0:
        address = replace(address, port=free_port(address.host))
    return Target(
        client=client,
        provider=provider,
        address=address,
        credential=credential_of(settings, provider.name),
        auth_token=settings.server.auth_token.get_secret_value(),
        model=model,
        dialect=dialect,
    )
