"""What a command about a client needs to know, put together from settings and arguments: client, provider, address, credential."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ccproxy.cli.clients import Client, Connection
from ccproxy.cli.clients.connect import client_named, connect, provider_named
from ccproxy.cli.logins import credential_of
from ccproxy.cli.running import Address, Found, free_port
from ccproxy.errors import StartError
from ccproxy.providers.credentials import Credential, CredentialState
from ccproxy.providers.registry import providers
from ccproxy.providers.spec import Provider
from ccproxy.settings import Settings
from ccproxy.settings.model import ProvidersSettings


@dataclass(frozen=True, slots=True)
class Target:
    """See the module."""

    client: Client
    provider: Provider
    address: Address
    credential: Credential
    auth_token: str
    model: str | None
    wanted: str | None
    """The dialect asked for."""

    def connection(self, running: Found | None = None) -> Connection:
        """What the client has to be told. A proxy that runs already may know more of its credentials than these settings.

        Raises:
            ConfigError, StartError: as `connect`.

        """
        credential = self.credential
        told = running.providers.get(self.provider.name, {}).get("credential") if running else None
        if told in set(CredentialState) and not credential.state.is_own:
            credential = replace(credential, state=CredentialState(told))
        return connect(
            self.client,
            self.provider,
            origin=self.address.origin,
            credential=credential,
            auth_token=self.auth_token,
            model=self.model,
            wanted=self.wanted,
        )

    def check_running(self, running: Found) -> None:
        """See that the proxy that answers has this provider where it is expected.

        Raises:
            StartError: it was started with another configuration.

        """
        there = running.providers.get(self.provider.name)
        if there is None or there.get("prefix") != self.provider.prefix:
            raise StartError(
                f"the ccproxy on {self.address} runs with another configuration, without {self.provider.name} at {self.provider.prefix}: "
                "restart it, or choose another port with --port"
            )


def target(settings: Settings, client: str, *, via: str | None, model: str | None, wanted: str | None) -> Target:
    """Look everything up.

    Raises:
        ConfigError: an unknown client, provider or format.

    """
    known = client_named(client, wanted)
    names = {*ProvidersSettings.model_fields, *settings.providers.custom}
    provider = provider_named(via or known.via, providers(settings), names)
    address = Address.of(settings)
    if address.port == 0:
        address = replace(address, port=free_port(address.host))
    return Target(
        client=known,
        provider=provider,
        address=address,
        credential=credential_of(settings, provider.name),
        auth_token=settings.server.auth_token.get_secret_value(),
        model=model,
        wanted=wanted,
    )
