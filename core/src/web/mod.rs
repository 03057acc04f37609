//! Talking to web servers: addresses, and the one way to make a client (feature `http`).
//!
//! Whoever asks says whom it believes ([`WebOptions`]); TLS is rustls with ring, and nothing is followed, unpacked or sent
//! through a proxy unless that was said.

#[cfg(feature = "http")]
mod agent;
#[cfg(feature = "http")]
mod fault;
#[cfg(feature = "http")]
mod options;
#[cfg(feature = "http")]
mod resolve;
#[cfg(feature = "http")]
mod secret;
mod url;

#[cfg(feature = "http")]
#[cfg(feature = "build")]
pub(crate) use agent::tls;
#[cfg(feature = "http")]
pub(crate) use agent::{Pace, agent};
#[cfg(feature = "http")]
pub(crate) use fault::Fault;
#[cfg(feature = "http")]
pub use options::WebOptions;
#[cfg(feature = "http")]
pub use secret::read_secret;
pub use url::Url;
