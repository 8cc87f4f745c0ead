//! [`Network`]: addresses with the same first bits.
use core::{net::IpAddr, str::FromStr};

/// An address, or all addresses with the same first bits: `192.0.2.7`, `192.0.2.0/24`,
/// `2001:db8::/32`, `[2001:db8::]/32`. An IPv4 address that is written as an IPv6 address
/// (`::ffff:192.0.2.7`) is the IPv4 address, in the network as in what is compared with it.
///
/// ```
/// use tickwire_dial::Network;
///
/// let balancers: Network = "192.0.2.0/24".parse()?;
/// assert!(balancers.contains("192.0.2.7".parse()?));
/// assert!(!balancers.contains("2001:db8::7".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    /// Invariant: an IPv6 address here is no IPv4 address that is written as one.
    address: IpAddr,
    /// Invariant: at most 32, or 128 for IPv6.
    bits: u32,
}

/// A text that is neither an address nor a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("neither an IP address nor a network such as 192.0.2.0/24 or 2001:db8::/32")]
pub struct BadNetwork;

impl FromStr for Network {
    type Err = BadNetwork;

    fn from_str(text: &str) -> Result<Self, BadNetwork> {
        let (written, bits) = match without_brackets(text).split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u32>().map_err(|_| BadNetwork)?)),
            None => (text, None),
        };
        let written: IpAddr = without_brackets(written).parse().map_err(|_| BadNetwork)?;
        let address = written.to_canonical();
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            // The prefix of an IPv4 address in IPv6 has 96 bits in front of the IPv4 address.
            Some(bits) if written.is_ipv6() && address.is_ipv4() => {
                bits.checked_sub(96).ok_or(BadNetwork)?
            }
            Some(bits) => bits,
        };
        if bits <= most { Ok(Self { address, bits }) } else { Err(BadNetwork) }
    }
}

impl Network {
    /// Whether the address is of this network.
    pub fn contains(&self, address: IpAddr) -> bool {
        // With no bits to compare, the shift is too wide, and `checked_shr` gives `None`.
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(of), IpAddr::V4(address)) => {
                let differ = u32::from(of) ^ u32::from(address);
                differ.checked_shr(32 - self.bits).unwrap_or(0) == 0
            }
            (IpAddr::V6(of), IpAddr::V6(address)) => {
                let differ = u128::from(of) ^ u128::from(address);
                differ.checked_shr(128 - self.bits).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

fn without_brackets(text: &str) -> &str {
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    inner.unwrap_or(text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_the_addresses_with_its_first_bits() {
        let addresses =
            ["192.0.2.7", "192.0.3.7", "::ffff:192.0.2.7", "2001:db8::7", "2001:db9::7", "::1"];
        for (text, meant) in [
            ("192.0.2.7", &[0, 2][..]),
            ("192.0.2.0/24", &[0, 2]),
            ("192.0.2.99/24", &[0, 2]),
            ("192.0.2.0/23", &[0, 1, 2]),
            ("192.0.2.7/32", &[0, 2]),
            ("0.0.0.0/0", &[0, 1, 2]),
            ("::ffff:192.0.2.0/120", &[0, 2]),
            ("::ffff:0.0.0.0/96", &[0, 1, 2]),
            ("2001:db8::7", &[3]),
            ("[2001:db8::]/32", &[3]),
            ("[2001:db8::/32]", &[3]),
            ("2001:db8::/31", &[3, 4]),
            ("2001:db8::7/128", &[3]),
            ("::/0", &[3, 4, 5]),
        ] {
            let network: Network = text.parse().unwrap();
            let found = |at: &usize| network.contains(addresses[*at].parse().unwrap());
            assert!((0..addresses.len()).filter(found).eq(meant.iter().copied()), "{text}");
        }
        for text in [
            "",
            "*",
            "localhost",
            "192.0.2",
            "192.0.2.7/33",
            "192.0.2.7/",
            "192.0.2.7/-1",
            "/24",
            "192.0.2.0/255.255.255.0",
            "2001:db8::7/129",
            "::ffff:192.0.2.7/95",
            "[192.0.2.7",
            "192.0.2.7:80",
            "fe80::1%eth0",
            " 192.0.2.7",
        ] {
            assert_eq!(text.parse::<Network>(), Err(BadNetwork), "{text}");
        }
    }
}
