//! Commands without a driver.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// What a server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// A text or a status.
    Text(String),
    /// A number.
    Integer(i64),
    /// Nothing.
    Nil,
    /// Several answers.
    Many(Vec<Reply>),
    /// What the server refuses.
    Error(String),
}

impl Reply {
    /// The text of an answer, a number included; empty for anything else.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Integer(number) => number.to_string(),
            Self::Nil | Self::Many(_) | Self::Error(_) => String::new(),
        }
    }
}

/// Runs a command on a connection of its own.
pub(super) fn command(address: SocketAddr, words: &[String]) -> io::Result<Reply> {
    let patience = Duration::from_secs(5);
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    stream.write_all(request.as_bytes())?;
    read(&mut BufReader::new(stream))
}

/// Whether it answers, and has loaded what is on its disk.
pub(super) fn serves(address: SocketAddr) -> bool {
    match command(address, &["PING".into()]) {
        // Or another error: it wants a password, but it is there.
        Ok(Reply::Error(error)) => !error.starts_with("LOADING"),
        Ok(_) => true,
        Err(_) => false,
    }
}

fn read(stream: &mut impl BufRead) -> io::Result<Reply> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let line = line.trim_end();
    let nonsense = || io::Error::new(io::ErrorKind::InvalidData, format!("no answer of Redis: {line:?}"));
    let (kind, rest) = line.split_at_checked(1).ok_or_else(nonsense)?;
    let number = || rest.parse::<i64>().map_err(|_| nonsense());
    match kind {
        "+" => Ok(Reply::Text(rest.to_owned())),
        "-" => Ok(Reply::Error(rest.to_owned())),
        ":" => Ok(Reply::Integer(number()?)),
        "$" | "*" if number()? < 0 => Ok(Reply::Nil),
        "$" => {
            let mut bytes = vec![0; usize::try_from(number()?).map_err(|_| nonsense())? + 2];
            stream.read_exact(&mut bytes)?;
            bytes.truncate(bytes.len() - 2);
            Ok(Reply::Text(String::from_utf8_lossy(&bytes).into_owned()))
        }
        "*" => (0..number()?).map(|_| read(stream)).collect::<io::Result<_>>().map(Reply::Many),
        _ => Err(nonsense()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_every_kind_are_read() {
        let mut bytes = &b"*5\r\n+OK\r\n$3\r\na\nb\r\n:-7\r\n$-1\r\n-ERR no\r\n"[..];
        let expected = vec![
            Reply::Text("OK".into()),
            Reply::Text("a\nb".into()),
            Reply::Integer(-7),
            Reply::Nil,
            Reply::Error("ERR no".into()),
        ];
        assert_eq!(read(&mut bytes).unwrap(), Reply::Many(expected));
        assert!(read(&mut &b""[..]).is_err());
        assert!(read(&mut &b"?\r\n"[..]).is_err());
    }
}
