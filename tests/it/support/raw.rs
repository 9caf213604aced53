//! A TCP client that sends bytes exactly as typed and reads HTTP/1.1 answers without opinions.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::wait::within;

/// A connection.
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer as it came.
#[derive(Debug, Clone)]
pub(crate) struct RawAnswer {
    pub(crate) status: u16,
    /// Status line and headers, without the empty line.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl RawAnswer {
    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// All values of a header in a message's head.
pub(crate) fn values<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    let lines = head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
    lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
}

impl Raw {
    /// Connects to a base URL such as `http://127.0.0.1:8080`.
    pub(crate) async fn connect(url: &str) -> Self {
        let address = url.strip_prefix("http://").expect("a plain URL");
        let stream = TcpStream::connect(address).await.expect("it listens");
        stream.set_nodelay(true).expect("a socket option");
        Self { stream, buffer: Vec::new() }
    }

    /// Sends bytes.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.expect("the connection takes it");
    }

    /// Sends bytes; whether the other side still took them.
    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).await.is_ok()
    }

    /// Reads one final answer to a request that was not HEAD; `None` when the connection ends first.
    pub(crate) async fn answer(&mut self) -> Option<RawAnswer> {
        self.read_answer(false).await
    }

    /// Reads one final answer to a HEAD request.
    pub(crate) async fn head_answer(&mut self) -> Option<RawAnswer> {
        self.read_answer(true).await
    }

    /// Reads an answer's head only, informational ones included.
    pub(crate) async fn head(&mut self) -> Option<RawAnswer> {
        let head = within("an answer's head", self.until_empty_line()).await?;
        let status =
            head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("not HTTP: {head}"));
        Some(RawAnswer { status, head, body: Vec::new() })
    }

    async fn read_answer(&mut self, of_head: bool) -> Option<RawAnswer> {
        loop {
            let mut answer = self.head().await?;
            if (100..200).contains(&answer.status) && answer.status != 101 {
                continue;
            }
            if !of_head && !matches!(answer.status, 101 | 204 | 304) {
                answer.body = within("an answer's body", self.body(&answer.head)).await;
            }
            return Some(answer);
        }
    }

    async fn body(&mut self, head: &str) -> Vec<u8> {
        if values(head, "transfer-encoding").iter().any(|value| value.eq_ignore_ascii_case("chunked")) {
            let mut body = Vec::new();
            loop {
                let line = self.line().await.expect("a chunk's size");
                let size =
                    usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16).expect("hexadecimal");
                let chunk = self.exactly(size).await.expect("a whole chunk");
                body.extend_from_slice(&chunk);
                let end = self.line().await.expect("the chunk's end");
                assert_eq!(end, "", "after a chunk");
                if size == 0 {
                    return body;
                }
            }
        }
        match values(head, "content-length").first() {
            Some(length) => self.exactly(length.parse().expect("a number")).await.expect("the whole body"),
            None => {
                while self.more().await {}
                std::mem::take(&mut self.buffer)
            }
        }
    }

    /// Reads until this text has come, and takes everything up to its end.
    pub(crate) async fn until(&mut self, text: &str) -> Option<Vec<u8>> {
        within("an awaited text", async {
            loop {
                let at = self.buffer.windows(text.len()).position(|window| window == text.as_bytes());
                if let Some(at) = at {
                    return Some(self.buffer.drain(..at + text.len()).collect());
                }
                if !self.more().await {
                    return None;
                }
            }
        })
        .await
    }

    async fn until_empty_line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                let head: Vec<u8> = self.buffer.drain(..at + 4).collect();
                return Some(String::from_utf8_lossy(&head[..at]).into_owned());
            }
            if !self.more().await {
                return None;
            }
        }
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|window| window == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..at + 2).collect();
                return Some(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// So many bytes; `None` when the connection ends first.
    pub(crate) async fn exactly(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < count {
            if !self.more().await {
                return None;
            }
        }
        Some(self.buffer.drain(..count).collect())
    }

    async fn more(&mut self) -> bool {
        let mut part = vec![0; 16 * 1024];
        match self.stream.read(&mut part).await {
            Ok(0) | Err(_) => false,
            Ok(read) => {
                self.buffer.extend_from_slice(&part[..read]);
                true
            }
        }
    }
}
