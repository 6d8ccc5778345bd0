//! What an address of a provider is: of the public internet, of one's own network, or of nobody's provider.
//!
//! Whoever may write a `base_url` could otherwise make the gateway speak to what only the gateway reaches: its own ports, the
//! neighbours, the service of a cloud that gives credentials away. Names are judged by the addresses that they lead to at the
//! moment of connecting, and an address by what it means, not by how it is written. What is not known to be public is private.
//! (RFC 6890 and the IANA registries of special-purpose addresses, read on 27 November 2026.)

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an address is.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Debug)]
pub enum Reach {
    /// Anybody can reach it.
    Public,
    /// Loopback, a private network, or a range set aside for something else.
    Private,
    /// No provider is there: link-local, multicast, the metadata services of clouds.
    Never,
}

impl Reach {
    /// What `address` is.
    #[must_use]
    pub fn of(address: IpAddr) -> Reach {
        match address {
            IpAddr::V4(four) => of_four(four),
            IpAddr::V6(six) => of_six(six),
        }
    }
}

/// Metadata services that are not link-local: Alibaba's, Azure's, Oracle's.
const METADATA: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(192, 0, 0, 192)];
/// Amazon's and Google's.
const METADATA_SIX: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)];

fn of_four(address: Ipv4Addr) -> Reach {
    let [a, b, c, _] = address.octets();
    if address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || METADATA.contains(&address)
    {
        return Reach::Never;
    }
    let private = matches!(
        (a, b, c),
        (0 | 10 | 127 | 240.., ..)
            | (100, 64..=127, _)
            | (172, 16..=31, _)
            | (192, 168, _)
            | (198, 18 | 19, _)
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (198, 51, 100)
            | (203, 0, 113)
    );
    if private { Reach::Private } else { Reach::Public }
}

fn of_six(address: Ipv6Addr) -> Reach {
    let s = address.segments();
    if address.is_unicast_link_local() || address.is_multicast() || METADATA_SIX.contains(&address) {
        return Reach::Never;
    }
    let inner = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        of_four(Ipv4Addr::new(a, b, c, d))
    };
    match s {
        // Mapped, and translated by NAT64: what is within is where it goes.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => inner(high, low),
        // 6to4 and the old compatible form are taken as what is within, and never as better than private.
        [0x2002, high, low, ..] | [0, 0, 0, 0, 0, 0, high, low] => inner(high, low).max(Reach::Private),
        // Teredo, benchmarks, ORCHID and other assignments of the IETF; documentation.
        [0x2001, ..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, ..=0xfff, ..] => Reach::Private,
        [0x2000..=0x3fff, ..] => Reach::Public,
        _ => Reach::Private,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_judged_by_what_it_means() {
        for (reach, addresses) in [
            (
                Reach::Public,
                "1.1.1.1 8.8.8.8 172.32.0.1 100.128.0.1 192.0.1.1 ::ffff:1.1.1.1 2606:4700::1111 2a00:1450::5 64:ff9b::101:101",
            ),
            (
                Reach::Private,
                "0.0.0.0 0.1.2.3 10.0.0.1 127.0.0.1 127.255.0.9 172.16.0.1 172.31.9.9 192.168.1.1 100.64.0.1 192.0.2.1 198.18.0.1 \
                 203.0.113.9 240.0.0.1 :: ::1 fc00::1 fd12::1 fec0::1 ::ffff:127.0.0.1 ::ffff:a00:1 ::7f00:1 64:ff9b::7f00:1 \
                 64:ff9b:1::1 2002:7f00:1:: 2002:101:101:: 2001::1 2001:db8::1 3fff::1 4000::1 100::1 5f00::1",
            ),
            (
                Reach::Never,
                "169.254.169.254 169.254.170.2 100.100.100.200 168.63.129.16 192.0.0.192 224.0.0.1 255.255.255.255 fe80::1 ff02::1 \
                 fd00:ec2::254 fd20:ce::254 ::ffff:169.254.169.254 64:ff9b::a9fe:a9fe 2002:a9fe:a9fe::",
            ),
        ] {
            for address in addresses.split_whitespace() {
                assert_eq!(Reach::of(address.parse().unwrap()), reach, "{address}");
            }
        }
    }
}
