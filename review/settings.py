"""Settings of an installation, read from the environment (prefix ``SIGNOFF_``) or a ``.env`` file."""

from collections import Counter
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

LEAST_RETENTION_DAYS = 180

RoleName = Literal["reviewer", "lead", "auditor", "admin", "break-glass"]


class Provider(BaseModel):
    """An OpenID Connect provider that people sign in with.

    ``role_claim`` names the claim of the ID token that holds a person's groups, with dots for what lies inside another;
    ``roles`` says which roles each of its values brings. Who has none of them signs in without a role, and an admin
    gives them one. ``workspace`` is whose desk its people sit at.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")
    title: str = Field(default="", max_length=80)
    issuer: str
    client_id: str = Field(min_length=1)
    client_secret: SecretStr | None = None
    scopes: str = "openid profile"
    role_claim: str | None = None
    roles: dict[str, tuple[RoleName, ...]] = Field(default_factory=dict)
    workspace: str = Field(default="default", pattern=r"^[A-Za-z0-9_.:/-]{1,128}$")

    @field_validator("issuer")
    @classmethod
    def _is_safe(cls, value: str) -> str:
        if not is_safe_address(value, beside=value):
            msg = "an issuer is an https address; http is for this machine alone"
            raise ValueError(msg)
        return value

    @field_validator("scopes")
    @classmethod
    def _is_openid(cls, value: str) -> str:
        if "openid" not in value.split():
            msg = "the scopes of OpenID Connect include openid"
            raise ValueError(msg)
        return value

    @property
    def shown_as(self) -> str:
        """Return what people read on the button."""
        return self.title or self.name.capitalize()


def is_safe_address(url: str, *, beside: str) -> bool:
    """Tell whether a provider may be asked there: over https, or on this machine where its issuer is, too."""
    parts = urlsplit(url)
    if parts.scheme == "https":
        return bool(parts.hostname)
    return parts.scheme == "http" and all(is_loopback_host(urlsplit(one).hostname or "") for one in (url, beside))


class Settings(BaseSettings):
    """What an installation may set; see docs for each variable."""

    model_config = SettingsConfigDict(env_prefix="SIGNOFF_", env_file=".env", extra="ignore", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(default=8501, ge=0, le=65535)
    data_dir: Path = Path("data")
    database_url: SecretStr | None = None
    database_owner_url: SecretStr | None = None
    database_guarded: bool = False
    public_url: str | None = None
    demo: bool = False
    signing_key_file: Path | None = None
    submits_per_minute: int = Field(default=6000, ge=1)
    most_waiting: int = Field(default=500, ge=1)
    anchors: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    outbound_private: bool = False
    undo_seconds: float = Field(default=5, ge=0, le=300)
    retention_days: int = Field(default=LEAST_RETENTION_DAYS, ge=1, le=36_500)
    retention_shorter: bool = False
    oidc_providers: tuple[Provider, ...] = ()

    @field_validator("anchors", mode="before")
    @classmethod
    def _apart(cls, value: object) -> object:
        return value.split() if isinstance(value, str) else value

    @field_validator("oidc_providers")
    @classmethod
    def _are_told_apart(cls, providers: tuple[Provider, ...]) -> tuple[Provider, ...]:
        names = Counter(provider.name for provider in providers)
        if any(times > 1 for times in names.values()):
            msg = "two providers have the same name"
            raise ValueError(msg)
        return providers

    @model_validator(mode="after")
    def _keeps_records_long_enough(self) -> "Settings":
        if self.retention_days < LEAST_RETENTION_DAYS and not self.retention_shorter:
            msg = (
                f"SIGNOFF_RETENTION_DAYS={self.retention_days} is less than the {LEAST_RETENTION_DAYS} days that "
                "records are usually to be kept. Set SIGNOFF_RETENTION_SHORTER=1 as well where your law asks for less."
            )
            raise ValueError(msg)
        return self

    @property
    def store_url(self) -> str:
        """Return the database's URL: the one that was set, else SQLite in the data folder."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{(self.data_dir / 'signoff.sqlite3').resolve()}"

    @property
    def owner_url(self) -> str | None:
        """Return the URL by which another role than the server's migrates the database, if one does."""
        return None if self.database_owner_url is None else self.database_owner_url.get_secret_value()

    @property
    def is_guarded(self) -> bool:
        """Tell whether the server's role must be one that cannot change the audit log."""
        return self.database_guarded or self.database_owner_url is not None

    @property
    def issuer(self) -> str:
        """Return the console's public address, without a slash at its end."""
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")

    @property
    def is_https(self) -> bool:
        """Tell whether people reach the console over https, so that its cookie must be Secure."""
        return self.issuer.startswith("https://")

    @property
    def origins(self) -> frozenset[str]:
        """Return the origins that our own pages come from: the public address, and this machine's names for itself."""
        here = (
            {f"http://{name}:{self.port}" for name in ("127.0.0.1", "localhost", "[::1]")} if self.is_loopback else ()
        )
        return frozenset({self.issuer, *here})

    @property
    def key_file(self) -> Path:
        """Return where the signing key is kept."""
        return self.signing_key_file or self.data_dir / "signing-key.pem"

    @property
    def is_loopback(self) -> bool:
        """Tell whether the server can be reached from this machine alone."""
        return is_loopback_host(self.host)

    @property
    def takes_links(self) -> bool:
        """Tell whether a sign-in link opens a session: where no provider does, or on this machine alone."""
        return not self.oidc_providers or self.is_loopback


def is_loopback_host(host: str) -> bool:
    """Tell whether the host is this machine, by its name alone."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
