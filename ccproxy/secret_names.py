"""Names of header fields and query parameters that carry a credential, any vendor's. Pure.

Redaction removes their values from logs, and requests to an upstream leave them out. Both read this one list.
"""

from __future__ import annotations

from typing import Final

SECRET_HEADERS: Final = frozenset(
    {
        *(b"authorization", b"proxy-authorization", b"www-authorization", b"authentication"),
        *(b"cookie", b"cookie2", b"set-cookie", b"set-cookie2"),
        *(b"x-api-key", b"api-key", b"apikey", b"x-apikey", b"x-ccproxy-token"),
        b"x-goog-api-key",  # https://ai.google.dev/api
        b"x-goog-iam-authorization-token",
        b"ocp-apim-subscription-key",  # https://learn.microsoft.com/azure/api-management/api-management-subscriptions
        b"x-functions-key",  # https://learn.microsoft.com/azure/azure-functions/function-keys-how-to
        b"x-auth-token",  # https://docs.openstack.org/api-ref/identity/v3/
        b"x-auth-key",  # https://developers.cloudflare.com/fundamentals/api/
        b"x-access-key",
        b"x-amz-security-token",  # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html
        b"x-vault-token",
        b"x-csrf-token",
        b"x-xsrf-token",
        b"private-token",  # https://docs.gitlab.com/api/rest/authentication/
        b"deploy-token",
        b"job-token",
        b"cf-access-client-secret",  # https://developers.cloudflare.com/cloudflare-one/access-controls/
        b"cf-access-jwt-assertion",
        b"cf-access-token",
        b"x-portkey-api-key",
        b"helicone-auth",
        b"x-litellm-api-key",
        b"x-forwarded-access-token",
        b"x-amzn-oidc-data",
        b"x-amzn-oidc-accesstoken",
        b"chatgpt-account-id",  # an account, not a key: it identifies a person
    }
)
"""In lower case. `is_secret_header` knows more: these are the ones that follow no pattern, or are worth naming."""

_WORDS: Final = (
    *(b"token", b"secret", b"password", b"authorization", b"authentication", b"cookie", b"credential", b"credentials"),
    *(b"api-key", b"apikey", b"access-key", b"secret-key", b"subscription-key", b"functions-key", b"auth-key"),
)
_LAST_WORDS: Final = tuple(b"-" + word for word in _WORDS)
_WHOLE: Final = SECRET_HEADERS | frozenset(_WORDS)

SECRET_QUERY_NAMES: Final = frozenset(
    {
        *("key", "api_key", "api-key", "apikey", "x-api-key", "x-goog-api-key"),
        *("access_token", "refresh_token", "id_token", "auth_token", "token", "x-ccproxy-token", "authorization"),
        *("subscription-key", "subscription_key", "ocp-apim-subscription-key"),
        *("client_secret", "client-secret", "secret", "password", "code_verifier", "device_code"),
        "code",  # https://learn.microsoft.com/azure/azure-functions/function-keys-how-to, and OAuth's callbacks
        *("sig", "signature", "x-amz-signature", "x-amz-credential", "x-amz-security-token", "x-goog-signature"),
        "x-goog-credential",
    }
)
"""In lower case, decoded."""


def is_secret_header(name: bytes) -> bool:
    """Return whether a header field of this name, in any case, carries a credential.

    is_secret_header(b"X-Goog-Api-Key")  # True
    is_secret_header(b"x-ratelimit-remaining-tokens")  # False
    """
    lower = name.strip().lower().replace(b"_", b"-")
    return lower in _WHOLE or lower.endswith(_LAST_WORDS)


def is_secret_query(name: str) -> bool:
    """Return whether a query parameter of this name, decoded and in any case, carries a credential."""
    return name.strip().lower() in SECRET_QUERY_NAMES
