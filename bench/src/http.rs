//! The least of HTTP/1.1 that checks and the one-pass driver need: GET over a connection that is kept, answers with
//! `Content-Length` or `chunked`.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// A kept connection.
pub struct Connection {
    address: SocketAddr,
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// Where nobody listens.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self { address, stream: BufReader::new(stream) })
    }

    /// Asks with a bearer token; gives status and body.
    ///
    /// # Errors
    /// Where the answer isn't HTTP, or doesn't come.
    pub fn get(&mut self, path: &str, token: &str) -> io::Result<(u16, Vec<u8>)> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n\r\n", self.address);
        self.stream.get_mut().write_all(request.as_bytes())?;
        let bad = || io::Error::new(io::ErrorKind::InvalidData, "not an HTTP answer");
        let status = self.line()?.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(bad)?;
        let (mut length, mut chunked) = (0, false);
        loop {
            let line = self.line()?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().map_err(|_| bad())?;
            }
            chunked |= line.starts_with("transfer-encoding:") && line.ends_with("chunked");
        }
        let mut body = Vec::new();
        if !chunked {
            body = self.exactly(length)?;
            return Ok((status, body));
        }
        loop {
            let size = usize::from_str_radix(self.line()?.split(';').next().unwrap_or_default().trim(), 16);
            let size = size.map_err(|_| bad())?;
            body.extend(self.exactly(size)?);
            self.line()?;
            if size == 0 {
                return Ok((status, body));
            }
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }

    fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}
