"""The one way by which the house asks or posts to an address outside: resolved, looked at, and only then connected to.

Whoever names an address must not reach with it what only this machine can reach (server-side request forgery, OWASP).
The name is resolved here and the connection goes to the very address that was looked at, so that a name cannot change
its meaning in between. Redirects are not followed, proxies of the environment are not used, what is posted gets no
answer read, and other answers are read up to a size.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import httpx2

from review.errors import ReviewError
from review.settings import Settings, is_loopback_host

MAX_BODY_BYTES = 256 * 1024
MAX_ANSWER_BYTES = 1024 * 1024
TIMEOUT_S = 20.0

Address = IPv4Address | IPv6Address
Signer = Callable[[httpx2.Request], httpx2.Request]

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


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whatever its HTTP status."""

    status: int
    body: bytes


class Outbound:
    """Reaches addresses that somebody configured.

    Where ``hosts`` are named, no other is reached. ``private_hosts`` may be this machine or of a private network.
    Plain http is for hosts named as loopback alone (``localhost``, ``127.0.0.1``), where ``allows_loopback`` says so.
    Addresses that are not public are refused after resolution; ``allows_private`` lets private networks be reached,
    link-local and multicast addresses never.
    """

    def __init__(
        self,
        *,
        hosts: Collection[str] = (),
        private_hosts: Collection[str] = (),
        allows_private: bool = False,
        allows_loopback: bool = False,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._hosts = frozenset(host.lower() for host in hosts)
        self._private_hosts = frozenset(host.lower() for host in private_hosts)
        self._allows_private = allows_private
        self._allows_loopback = allows_loopback
        self._timeout_s = timeout_s

    @classmethod
    def allowed_by(cls, settings: Settings, *, allows_loopback: bool = False) -> "Outbound":
        """Return one that reaches what the settings of the house allow."""
        return cls(
            hosts=settings.outbound_hosts,
            private_hosts=settings.outbound_private_hosts,
            allows_private=settings.outbound_private,
            allows_loopback=allows_loopback,
        )

    def checked(self, url: str) -> httpx2.URL:
        """Return the address, if by its form something may be posted there. Raises AddressRefusedError."""
        try:
            parsed = httpx2.URL(url)
        except httpx2.InvalidURL as error:
            raise AddressRefusedError(host=None, why="it is no address") from error
        is_loopback = self._is_loopback(parsed.host)
        if not parsed.host or parsed.scheme not in ("https", "http"):
            raise AddressRefusedError(host=parsed.host, why="it is no https address")
        if parsed.scheme == "http" and not is_loopback:
            raise AddressRefusedError(host=parsed.host, why="only https is, except to this machine")
        self.require_listed(parsed.host)
        return parsed

    def resolved(self, host: str, port: int) -> list[Address]:
        """Return the addresses of a host, all of which may be reached; blocks while the name is looked up.

        Raises AddressRefusedError where one of them may not, and DeliveryError where there are none.
        """
        self.require_listed(host)
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise DeliveryError(host, why="its name cannot be resolved") from error
        addresses = list(dict.fromkeys(ip_address(entry[4][0]) for entry in found))
        for address in addresses:
            if not self._may_reach(_meant(address), host):
                raise AddressRefusedError(host=host, why="its address is not public")
        return addresses

    async def post(self, url: str, body: bytes, *, headers: Mapping[str, str]) -> None:
        """Post the body, at most 256 KiB, and return once the host has answered with a success.

        Raises AddressRefusedError and DeliveryError; neither names more of the address than its host.
        """
        async with self._sent("POST", url, body=body, headers=headers) as response:
            if not response.is_success:
                why = f"it answered with status {response.status_code}"
                raise DeliveryError(response.request.url.host, why=why, answered=response.status_code)

    async def ask(
        self, method: str, url: str, *, body: bytes = b"", headers: Mapping[str, str], sign: Signer | None = None
    ) -> Answer:
        """Send the body, at most 256 KiB, and return the answer, up to 1 MiB; ``sign`` is given the request before.

        Raises AddressRefusedError and DeliveryError, as `post` does.
        """
        async with self._sent(method, url, body=body, headers=headers, sign=sign) as response:
            return Answer(response.status_code, await response.aread())

    def transport(self) -> httpx2.AsyncBaseTransport:
        """Return what an httpx client reaches its addresses by, with the errors of `post`.

        The client itself is to follow no redirects and to use no proxies, and bounds the time.
        """
        return _Guarded(self)

    @asynccontextmanager
    async def _sent(
        self, method: str, url: str, *, body: bytes, headers: Mapping[str, str], sign: Signer | None = None
    ) -> AsyncIterator[httpx2.Response]:
        parsed = self.checked(url)
        if len(body) > MAX_BODY_BYTES:
            raise DeliveryError(parsed.host, why=f"it has more than {MAX_BODY_BYTES // 1024} KiB")
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                httpx2.AsyncClient(
                    transport=self.transport(), trust_env=False, follow_redirects=False, timeout=self._timeout_s
                ) as client,
                client.stream(
                    method, parsed.copy_with(fragment=None), content=body, headers=headers, auth=sign
                ) as response,
            ):
                yield response
        except TimeoutError as error:
            raise DeliveryError(parsed.host, why=f"it did not answer within {self._timeout_s:.0f} seconds") from error
        except httpx2.HTTPError as error:
            raise DeliveryError(parsed.host, why=f"the connection failed ({type(error).__name__})") from error

    def require_listed(self, host: str) -> None:
        """Return where the host is on the list, or there is none. Raises AddressRefusedError."""
        if self._hosts and host.lower() not in self._hosts | self._private_hosts:
            raise AddressRefusedError(host=host, why="it is none of the hosts in SIGNOFF_OUTBOUND_HOSTS")

    def _is_loopback(self, host: str) -> bool:
        return is_loopback_host(host) and (self._allows_loopback or host in self._private_hosts)

    def _may_reach(self, address: Address, host: str) -> bool:
        if self._is_loopback(host):
            return address.is_loopback
        is_private_host = host in self._private_hosts
        if address.is_loopback:
            return is_private_host
        if address.is_multicast or address.is_link_local or address.is_unspecified or address.is_reserved:
            return False
        # What sites kept to themselves before there was fd00::/8 is public to Python.
        if isinstance(address, IPv6Address) and address.is_site_local:
            return False
        return address.is_global or self._allows_private or is_private_host


class _Guarded(httpx2.AsyncBaseTransport):
    """Sends each request to an address that was looked at, whatever the client believes about its host."""

    def __init__(self, outbound: Outbound) -> None:
        self._outbound = outbound
        # The certificate authorities of the system, so that SSL_CERT_FILE names those of a private network.
        self._wire = httpx2.AsyncHTTPTransport(verify=ssl.create_default_context(), trust_env=False)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        url = self._outbound.checked(str(request.url))
        port = url.port or (443 if url.scheme == "https" else 80)
        addresses = await asyncio.to_thread(self._outbound.resolved, url.host, port)
        for address in addresses[:-1]:
            try:
                return await self._answer(request, address)
            except (httpx2.ConnectError, httpx2.ConnectTimeout):
                continue
        return await self._answer(request, addresses[-1])

    async def aclose(self) -> None:
        await self._wire.aclose()

    async def _answer(self, request: httpx2.Request, address: Address) -> httpx2.Response:
        headers = request.headers.copy()
        headers["User-Agent"] = "signoff"
        headers["Accept-Encoding"] = "identity"  # What is packed could unpack to any size.
        sent = httpx2.Request(
            request.method,
            request.url.copy_with(host=str(address)),
            headers=headers,
            stream=request.stream,
            # The certificate must be the host's, though the connection goes to an address.
            extensions={**request.extensions, "sni_hostname": request.url.raw_host.decode("ascii").strip("[]")},
        )
        answer = await self._wire.handle_async_request(sent)
        return httpx2.Response(
            answer.status_code,
            headers=answer.headers,
            stream=_Bounded(answer, request.url.host),
            extensions=answer.extensions,
        )


class _Bounded(httpx2.AsyncByteStream):
    """The answer's bytes, as they come and up to a size."""

    def __init__(self, answer: httpx2.Response, host: str) -> None:
        self._answer = answer
        self._host = host

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._answer.headers.get("Content-Encoding", "identity") != "identity":
            raise DeliveryError(self._host, why="its answer is packed, which was not asked for")
        size = 0
        async for chunk in self._answer.aiter_raw():
            size += len(chunk)
            if size > MAX_ANSWER_BYTES:
                raise DeliveryError(self._host, why="it answers with too much")
            yield chunk

    async def aclose(self) -> None:
        await self._answer.aclose()


def _meant(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for, where it stands for one."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & _IPV4_BITS)
    return address.ipv4_mapped or address.sixtofour or address
