//! Nodes that a server can ask for something (`docs/node-protocol.md`).
//!
//! ```text
//!  where the store lies                       the node
//!  register: its name, the hash of a secret   connect: asks for orders, and waits for an answer
//!  orders: what is asked, what became of it       │ policy: what this node lets others ask
//!      └── the server hands them out ───────────> └─> a capture that is sent, an update in place ──> a report
//! ```
//!
//! Nobody connects to a node, and it listens nowhere. What it does is for its own policy to say, not for the server.

pub mod action;
#[cfg(feature = "server")]
mod ask;
pub mod connect;
#[cfg(feature = "server")]
pub(crate) mod orders;
pub mod policy;
#[cfg(feature = "server")]
pub(crate) mod register;

pub use action::Action;
pub use connect::{ConnectOptions, connect};
pub use policy::Policy;
#[cfg(feature = "server")]
pub use register::NodeInfo;
