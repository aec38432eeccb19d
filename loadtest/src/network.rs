//! An address prefix, to choose addresses from.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::random::Random;

/// A prefix: `10.0.0.0/8`, `2001:db8::/32`; an address alone is a prefix of full length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    base: IpAddr,
    length: u32,
}

impl Network {
    /// Its first address.
    pub fn base(&self) -> IpAddr {
        self.base
    }

    /// Any of its addresses.
    pub fn address(&self, random: &mut Random) -> IpAddr {
        match self.base {
            IpAddr::V4(base) => {
                let host = u32::MAX.checked_shr(self.length).unwrap_or(0);
                Ipv4Addr::from_bits(base.to_bits() & !host | random.number() as u32 & host).into()
            }
            IpAddr::V6(base) => {
                let host = u128::MAX.checked_shr(self.length).unwrap_or(0);
                let any = u128::from(random.number()) << 64 | u128::from(random.number());
                Ipv6Addr::from_bits(base.to_bits() & !host | any & host).into()
            }
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, length) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
        let base: IpAddr = address.parse().map_err(|_| format!("{address:?} is no address"))?;
        let most = if base.is_ipv4() { 32 } else { 128 };
        let length = length.map_or(Ok(most), str::parse).map_err(|_| format!("{text:?} is no prefix"))?;
        if length > most {
            return Err(format!("{text:?}: a prefix has at most {most} bits"));
        }
        Ok(Self { base, length })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lie_in_their_network() {
        let mut random = Random::new(3);
        let mut any = |text: &str| text.parse::<Network>().unwrap().address(&mut random).to_string();
        for _ in 0..100 {
            assert!(any("10.9.8.7/8").starts_with("10."));
            assert!(any("2001:db8::/32").starts_with("2001:db8:"));
            assert_eq!(any("192.0.2.7"), "192.0.2.7");
            assert_eq!(any("fd00::1/128"), "fd00::1");
        }
        assert_ne!(any("0.0.0.0/0"), any("0.0.0.0/0"));
        assert_ne!(any("::/0"), any("::/0"));
        for wrong in ["10.0.0.0/33", "10.0.0.0/", "10/8", "::/129", "x"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }
}
