//! The machines on real sockets: an image is sent to a network, and received into a directory, or onto the disks of a node.

mod assembly;
mod deploy;
mod feed;
mod network;
mod receive;
mod send;

pub use deploy::{Deployed, deploy};
pub use receive::{Delivered, ReceiveOptions, receive};
pub use send::{SendOptions, SendReport, Watch, send};

use super::wire::{SECRET, Session};
use crate::error::{Error, Result};
use crate::sign::read_key;
use crate::sys::udp::check_group;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

/// The control group, unless another one is said. Part of the protocol.
pub const GROUP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(239, 192, 67, 86)), 7786);
/// Data groups beside the control group.
const DATA_GROUPS: u64 = 32;

/// The data group of a session, which follows from the control group.
#[must_use]
pub fn data_group(control: SocketAddr, session: Session) -> SocketAddr {
    let n = 1 + (session.0 % DATA_GROUPS) as u32;
    let ip = match control.ip() {
        IpAddr::V4(ip) => IpAddr::V4((u32::from(ip).wrapping_add(n)).into()),
        IpAddr::V6(ip) => IpAddr::V6((u128::from(ip).wrapping_add(u128::from(n))).into()),
    };
    SocketAddr::new(ip, control.port().wrapping_add(1))
}

/// Reads a group as people write it, `ADDR:PORT`.
///
/// # Errors
/// `Invalid`, also for an address that is none of a group.
pub fn parse_group(text: &str) -> Result<SocketAddr> {
    let group = text.parse::<SocketAddr>().map_err(|_| {
        Error::invalid(format!("\"{text}\" is no address of a group"))
            .hint("give ADDR:PORT, such as 239.192.67.86:7786")
    })?;
    check_group(group)?;
    // Data goes to one of the next groups, and to the next port.
    let last = data_group(group, Session(DATA_GROUPS - 1));
    if !last.ip().is_multicast() || group.port() == 0 || group.port() == u16::MAX {
        return Err(Error::invalid(format!("{group} leaves no room for the groups and the port of the data"))
            .hint("give a group that 32 others follow, and a port from 1 to 65534"));
    }
    Ok(group)
}

/// Reads the secret that sender and receivers share: 64 hex digits, or 32 bytes.
///
/// # Errors
/// `Invalid` when it is neither; `NotFound`, `Limit`, `Io`.
pub fn read_secret(file: &Path) -> Result<[u8; SECRET]> {
    let bytes = read_key(file)?;
    let wrong = || {
        Error::invalid(format!("{} holds no key of 32 bytes", file.display()))
            .hint("openssl rand -hex 32 > FILE makes one")
    };
    if let Ok(secret) = <[u8; SECRET]>::try_from(&bytes[..]) {
        return Ok(secret);
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| wrong())?.trim();
    text.parse::<crate::image::Hash>().map(|h| h.0).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_goes_beside_control() {
        assert_eq!(data_group(GROUP, Session(33)), "239.192.67.88:7787".parse().unwrap());
        assert_eq!(
            data_group("[ff15::4356:4d]:7786".parse().unwrap(), Session(0)),
            "[ff15::4356:4e]:7787".parse().unwrap()
        );
    }

    #[test]
    fn a_group_is_one_of_multicast() {
        assert_eq!(parse_group("239.192.67.86:7786").unwrap(), GROUP);
        assert!(parse_group("[ff15::1]:7786").is_ok());
        for bad in [
            "239.1.1.1:65535",
            "239.1.1.1:0",
            "239.255.255.250:7786",
            "",
            "239.192.67.86",
            "127.0.0.1:7786",
            "[::1]:7786",
            "head:7786",
        ] {
            assert_eq!(parse_group(bad).unwrap_err().kind(), crate::ErrorKind::Invalid, "{bad}");
        }
    }

    #[test]
    fn a_secret_is_hex_or_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        for (content, good) in [
            (vec![9; 32], true),
            ("09".repeat(32).into_bytes(), true),
            (format!("{}\n", "09".repeat(32)).into_bytes(), true),
            (vec![9; 31], false),
            (b"secret".to_vec(), false),
        ] {
            std::fs::write(&file, content).unwrap();
            let read = read_secret(&file);
            assert_eq!(read.as_ref().ok(), good.then_some(&[9; 32]));
        }
        assert_eq!(read_secret(&dir.path().join("none")).unwrap_err().kind(), crate::ErrorKind::NotFound);
    }
}
