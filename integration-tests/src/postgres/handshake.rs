//! As much of PostgreSQL's protocol as it takes to see whether a server is ready.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// Whether it would begin a session. A server that is starting up or shutting down answers with an error; the port of
/// a container without a server accepts the connection and closes it. Blocks for a second at most.
pub(super) fn accepts_sessions(address: SocketAddr) -> bool {
    let limit = Duration::from_secs(1);
    let ask = || {
        let mut stream = TcpStream::connect_timeout(&address, limit)?;
        stream.set_read_timeout(Some(limit))?;
        stream.set_write_timeout(Some(limit))?;
        stream.write_all(&startup_message())?;
        let mut kind = [0];
        stream.read_exact(&mut kind)?;
        std::io::Result::Ok(kind)
    };
    // "Authentication…", whichever it wants.
    ask().is_ok_and(|kind| kind == *b"R")
}

fn startup_message() -> Vec<u8> {
    let body = [&[0, 3, 0, 0], &b"user\0postgres\0database\0postgres\0\0"[..]].concat();
    let length = u32::try_from(body.len() + 4).unwrap_or(0);
    [&length.to_be_bytes(), &body[..]].concat()
}
