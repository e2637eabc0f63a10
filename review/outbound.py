"""The one way by which the house posts to an address outside: resolved, looked at, and only then connected to.

Whoever names an address must not reach with it what only this machine can reach (server-side request forgery, OWASP).
The name is resolved here and the connection goes to the very address that was looked at, so that a name cannot change
its meaning in between. Redirects are not followed, proxies of the environment are not used, answers are not read.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import httpx2

from review.errors import ReviewError

MAX_BODY_BYTES = 256 * 1024
TIMEOUT_S = 20.0

Address = IPv4Address | IPv6Address

# At INFO it writes down whole addresses, and those of webhooks are secrets.
logging.getLogger("httpx2").setLevel(logging.WARNING)

_NAT64 = IPv6Network("64:ff9b::/96")
_IPV4_BITS = 0xFFFFFFFF


class AddressRefusedError(ReviewError):
    """Nothing is posted to such an address."""

    code = "address_refused"
    status = 422

    def __init__(self, *, host: str | None, why: str) -> None:
        super().__init__(f"Nothing is sent to {host or 'this address'}: {why}.")
        self.host = host


class DeliveryError(ReviewError):
    """What was to be posted did not arrive, or was not taken; ``answered`` is the HTTP status that came back."""

    code = "not_delivered"
    status = 502

    def __init__(self, host: str, *, why: str, answered: int | None = None) -> None:
        super().__init__(f"{host} did not take it: {why}.")
        self.host = host
        self.answered = answered


class Outbound:
    """Posts to addresses that somebody configured.

    Plain http is for hosts named as loopback alone (``localhost``, ``127.0.0.1``), where ``allows_loopback`` says so.
    Addresses that are not public are refused after resolution; ``allows_private`` lets private networks be reached,
    link-local and multicast addresses never.
    """

    def __init__(
        self, *, allows_private: bool = False, allows_loopback: bool = False, timeout_s: float = TIMEOUT_S
    ) -> None:
        self._allows_private = allows_private
        self._allows_loopback = allows_loopback
        self._timeout_s = timeout_s

    def checked(self, url: str) -> httpx2.URL:
        """Return the address, if by its form something may be posted there. Raises AddressRefusedError."""
        try:
            parsed = httpx2.URL(url)
        except httpx2.InvalidURL as error:
            raise AddressRefusedError(host=None, why="it is no address") from error
        is_loopback = self._allows_loopback and _is_named_loopback(parsed.host)
        if not parsed.host or parsed.scheme not in ("https", "http"):
            raise AddressRefusedError(host=parsed.host, why="it is no https address")
        if parsed.scheme == "http" and not is_loopback:
            raise AddressRefusedError(host=parsed.host, why="only https is, except to this machine")
        return parsed

    def resolved(self, host: str, port: int) -> list[Address]:
        """Return the addresses of a host, all of which may be reached; blocks while the name is looked up.

        Raises AddressRefusedError where one of them may not, and DeliveryError where there are none.
        """
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise DeliveryError(host, why="its name cannot be resolved") from error
        addresses = list(dict.fromkeys(ip_address(entry[4][0]) for entry in found))
        is_loopback = self._allows_loopback and _is_named_loopback(host)
        for address in addresses:
            if not (_meant(address).is_loopback if is_loopback else self._may_reach(_meant(address))):
                raise AddressRefusedError(host=host, why="its address is not public")
        return addresses

    async def post(self, url: str, body: bytes, *, headers: Mapping[str, str]) -> None:
        """Post the body, at most 256 KiB, and return once the host has answered with a success.

        Raises AddressRefusedError and DeliveryError; neither names more of the address than its host.
        """
        parsed = self.checked(url)
        if len(body) > MAX_BODY_BYTES:
            raise DeliveryError(parsed.host, why=f"it has more than {MAX_BODY_BYTES // 1024} KiB")
        try:
            async with asyncio.timeout(self._timeout_s):
                answered = await self._posted(parsed, body, headers)
        except TimeoutError as error:
            raise DeliveryError(parsed.host, why=f"it did not answer within {self._timeout_s:.0f} seconds") from error
        except httpx2.HTTPError as error:
            raise DeliveryError(parsed.host, why=f"the connection failed ({type(error).__name__})") from error
        if not 200 <= answered < 300:
            raise DeliveryError(parsed.host, why=f"it answered with status {answered}", answered=answered)

    async def _posted(self, url: httpx2.URL, body: bytes, headers: Mapping[str, str]) -> int:
        port = url.port or (443 if url.scheme == "https" else 80)
        addresses = await asyncio.to_thread(self.resolved, url.host, port)
        # The certificate authorities of the system, so that SSL_CERT_FILE names those of a private network.
        context = ssl.create_default_context()
        async with httpx2.AsyncClient(
            verify=context, trust_env=False, follow_redirects=False, timeout=self._timeout_s
        ) as client:
            for address in addresses[:-1]:
                try:
                    return await _answer(client, url, address, body=body, headers=headers)
                except (httpx2.ConnectError, httpx2.ConnectTimeout):
                    continue
            return await _answer(client, url, addresses[-1], body=body, headers=headers)

    def _may_reach(self, address: Address) -> bool:
        if address.is_multicast or address.is_link_local or address.is_loopback or address.is_unspecified:
            return False
        return address.is_global or (self._allows_private and not address.is_reserved)


async def _answer(
    client: httpx2.AsyncClient, url: httpx2.URL, address: Address, *, body: bytes, headers: Mapping[str, str]
) -> int:
    request = client.build_request(
        "POST",
        url.copy_with(host=str(address), fragment=None),
        content=body,
        headers={**headers, "Host": url.netloc.decode("ascii"), "User-Agent": "signoff"},
        # The certificate must be the host's, though the connection goes to an address.
        extensions={"sni_hostname": url.raw_host.decode("ascii").strip("[]")},
    )
    response = await client.send(request, stream=True)
    await response.aclose()
    return response.status_code


def _is_named_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _meant(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for, where it stands for one."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & _IPV4_BITS)
    return address.ipv4_mapped or address.sixtofour or address
