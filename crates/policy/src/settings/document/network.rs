//! A network of addresses, as `server.trusted_proxies` names them.

use serde::Serialize;
use std::net::IpAddr;

/// A network of addresses.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Serialize)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// The addresses that have the first `bits` in common with this one; without, this one alone. `None`: too many bits.
    pub fn new(address: IpAddr, bits: Option<u8>) -> Option<Network> {
        let address = address.to_canonical();
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        (bits <= most).then_some(Network { address, bits })
    }

    /// Whether the address lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        let beginning = |number: u128, of: u8| number.checked_shr(u32::from(of - self.bits)).unwrap_or(0);
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                beginning(u32::from(own).into(), 32) == beginning(u32::from(other).into(), 32)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                beginning(own.into(), 128) == beginning(other.into(), 128)
            }
            _ => false,
        }
    }
}
