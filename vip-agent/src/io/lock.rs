//! One agent per node: a name among the abstract Unix sockets of the network namespace, which
//! ends with the process, however that ends.

use std::{
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
};

/// The name, as `ss -xa` shows it behind an `@`.
pub const NAME: &str = "xvip-agent";

/// Held as long as it is kept.
#[derive(Debug)]
pub struct AgentLock {
    _socket: UnixDatagram,
}

/// The lock was not given.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another agent holds it.
    #[error(
        "another vip-agent runs in this network namespace: stop it first (`ss -xap | grep {NAME}` names the process)"
    )]
    Held,
    /// The socket could not be made.
    #[error("cannot take the lock @{NAME}: {0}")]
    Socket(#[from] io::Error),
}

impl AgentLock {
    /// Takes the lock of the network namespace of this thread.
    pub fn take() -> Result<Self, LockError> {
        let name = SocketAddr::from_abstract_name(NAME)?;
        match UnixDatagram::bind_addr(&name) {
            Ok(socket) => Ok(Self { _socket: socket }),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(LockError::Held),
            Err(error) => Err(error.into()),
        }
    }
}
