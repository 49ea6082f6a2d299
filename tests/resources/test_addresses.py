"""Which addresses are public servers."""

from ipaddress import ip_address

import pytest

from threadjuice_dagster.domain.pictures.images import PictureRefused
from threadjuice_dagster.resources.sockets import is_public, public_addresses

PRIVATE_4 = (
    *("0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.0.1", "168.63.129.16"),
    *("169.254.169.254", "169.254.0.23", "172.16.0.1", "172.31.255.255", "192.0.0.8", "192.0.0.9", "192.0.0.170"),
    *("192.0.0.192", "192.0.2.1", "192.88.99.1", "192.88.99.255", "192.168.0.1", "198.18.0.1", "198.19.255.255"),
    *("198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255"),
)
PUBLIC_4 = (
    *("93.184.215.14", "1.1.1.1", "100.63.255.255", "100.128.0.1", "168.63.129.17", "172.32.0.1", "192.0.1.1"),
    *("192.88.98.255", "223.255.255.255"),
)
PRIVATE_6 = (
    *("::", "::1", "::127.0.0.1", "::8.8.8.8", "64:ff9b:1::808:808", "100::1", "100:0:0:1::1", "2001::1", "2001:2::1"),
    *("2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:10::1", "2001:20::1", "2001:db8::1", "3fff::1", "3fff:fff::1"),
    *("4000::1", "5f00::1", "fc00::1", "fd00::1", "fd00:ec2::254", "fd20:ce::254", "fe80::1", "fe80::a9fe:a9fe"),
    *("fec0::1", "ff02::1"),
)
PUBLIC_6 = (
    *("2606:4700::1111", "2001:4860:4860::8888", "2a00:1450::1", "2620:4f:8000::1", "3ffe::1"),
    "2606:4700::5efe:5db8:d70e",
)


@pytest.mark.parametrize("address", [*PRIVATE_4, *PRIVATE_6])
def test_what_iana_or_a_cloud_keeps_for_itself_is_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", [*PUBLIC_4, *PUBLIC_6])
def test_every_other_address_is_public(address: str) -> None:
    assert is_public(ip_address(address))


def forms(address: str) -> list[str]:
    """IPv6 addresses that lead to an IPv4 address: mapped, NAT64 and 6to4."""
    number = int(ip_address(address))
    high, low = f"{number >> 16:x}", f"{number & 0xFFFF:x}"
    return [f"::ffff:{address}", f"64:ff9b::{high}:{low}", f"2002:{high}:{low}::1"]


@pytest.mark.parametrize("address", PRIVATE_4)
def test_an_address_that_leads_to_a_private_one_is_not_public(address: str) -> None:
    isatap = [f"{network}::{mark}5efe:{address}" for network in ("2606:4700", "2002:808:808") for mark in ("", "200:")]
    assert [form for form in [*forms(address), *isatap] if is_public(ip_address(form))] == []


def test_an_address_that_leads_to_a_public_one_is_public() -> None:
    assert all(is_public(ip_address(form)) for form in forms("93.184.215.14"))


@pytest.mark.parametrize(
    "host",
    ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0x7f.1", "[::1]".strip("[]"), "localhost", "3232235521"],
)
def test_a_private_address_is_known_however_it_is_spelled(host: str) -> None:
    with pytest.raises(PictureRefused, match="not public"):
        public_addresses(host, 443)
