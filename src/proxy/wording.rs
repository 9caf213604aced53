//! The stream of a client's connection, with two things changed. Where Pingora answers a head that its parser didn't take,
//! which it does by itself and in words of its own, the answer is Valetkey's (docs/PINGORA.md). And what its parser wouldn't
//! take of a request's target is kept from it (see `lines`).

use std::{
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use async_trait::async_trait;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream, TimingDigest,
    UniqueID, UniqueIDType, raw_connect::ProxyDigest, tls::SslDigest,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf},
    time::timeout,
};

use crate::refusal::{Refusal, TooLarge};

use super::{deadline::Deadline, lines::Line, target};

/// What Pingora's own answer begins with.
const OWN: &[u8] = b"HTTP/1.1 400 ";
/// Whoever sent more than this for one head was refused for its size: Pingora takes a mebibyte.
const LONG: usize = 512 << 10;
/// How much of what a refused client still sends is read, and for how long: closing with unread bytes would make the kernel
/// throw the answer away.
const READ_ON_BYTES: usize = 16 << 20;
const READ_ON_TIME: Duration = Duration::from_secs(2);

/// Makes the answer to what was no request, and counts it.
pub type Refuse = Arc<dyn Fn(&Refusal) -> Vec<u8> + Send + Sync>;

/// The stream.
pub struct Worded {
    inner: Stream,
    /// Says whether a head is still waited for: then no answer can be anybody's but the parser's.
    deadline: Arc<Deadline>,
    refuse: Refuse,
    /// Bytes read since the last write.
    read: usize,
    /// The first line of the request that is read; of HTTP/2 there is none.
    line: Line,
    /// What of our own answer is still to be written, once it stands in for Pingora's.
    instead: Option<Vec<u8>>,
}

impl Worded {
    /// Wraps a client's stream.
    pub fn new(inner: Stream, deadline: Arc<Deadline>, refuse: Refuse) -> Self {
        Self { inner, deadline, refuse, read: 0, line: Line::default(), instead: None }
    }

    /// The same stream, from which a request of HTTP/1 is read next.
    pub fn at_a_request(stream: Stream) -> Stream {
        if !(*stream).as_any().is::<Self>() {
            return stream;
        }
        match stream.into_any().downcast::<Self>() {
            Ok(mut worded) => {
                worded.line = Line::awaited();
                worded
            }
            Err(_) => unreachable!("its type was asked for"),
        }
    }

    /// The first line of the request that was read from this stream.
    pub fn line_of(stream: &Stream) -> Option<&Line> {
        (**stream).as_any().downcast_ref().map(|worded: &Self| &worded.line)
    }

    fn is_the_parsers(&self, bytes: &[u8]) -> bool {
        self.deadline.is_set() && bytes.starts_with(OWN)
    }

    fn poll_instead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(left) = self.instead.as_mut().filter(|left| !left.is_empty()) {
            let written = ready!(Pin::new(&mut self.inner).poll_write(cx, left))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            left.drain(..written);
        }
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for Worded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl AsyncRead for Worded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        self.read += buf.filled().len() - before;
        self.line.look(&mut buf.filled_mut()[before..]);
        polled
    }
}

impl AsyncWrite for Worded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.instead.is_none() {
            if !self.is_the_parsers(bytes) {
                self.read = 0;
                return Pin::new(&mut self.inner).poll_write(cx, bytes);
            }
            let refusal = if self.read > LONG {
                Refusal::too_large(TooLarge::Headers)
            } else if self.line.is_torn() {
                Refusal::bad_request(target::ODD)
            } else {
                Refusal::bad_request("This request is malformed")
            };
            self.instead = Some((self.refuse)(&refusal));
        }
        ready!(self.poll_instead(cx))?;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = pieces.iter().find(|piece| !piece.is_empty());
        match first {
            Some(first) if self.instead.is_some() || self.is_the_parsers(first) => self.poll_write(cx, first),
            _ => {
                self.read = 0;
                Pin::new(&mut self.inner).poll_write_vectored(cx, pieces)
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[async_trait]
impl Shutdown for Worded {
    async fn shutdown(&mut self) {
        self.inner.shutdown().await;
        if self.instead.is_some() {
            let mut read_on = (&mut self.inner).take(READ_ON_BYTES as u64);
            let _ = timeout(READ_ON_TIME, tokio::io::copy(&mut read_on, &mut tokio::io::sink())).await;
        }
    }
}

impl UniqueID for Worded {
    fn id(&self) -> UniqueIDType {
        self.inner.id()
    }
}

impl Ssl for Worded {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.inner.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.inner.selected_alpn_proto()
    }
}

impl GetTimingDigest for Worded {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.inner.get_timing_digest()
    }
}

impl GetProxyDigest for Worded {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.inner.get_proxy_digest()
    }
}

impl GetSocketDigest for Worded {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.inner.get_socket_digest()
    }
}

#[async_trait]
impl Peek for Worded {
    async fn try_peek(&mut self, buf: &mut [u8]) -> io::Result<bool> {
        self.inner.try_peek(buf).await
    }
}
