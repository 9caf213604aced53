//! Streams that Pingora takes for upstream connections: `Pipe`, an in-memory way to Valetkey's own routes, and `Calm`, for
//! upgrades and for targets that Pingora can't write (docs/PINGORA.md says why each is needed). Neither is pooled.

use std::{
    fmt, io, mem,
    pin::Pin,
    sync::{Arc, LazyLock},
    task::{Context, Poll, ready},
};

use async_trait::async_trait;
use memchr::memchr;
use pingora::{
    Result,
    connectors::{L4Connect, TransportConnector},
    protocols::{
        self,
        l4::{
            socket::SocketAddr,
            stream::Stream,
            virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream},
        },
    },
    upstreams::peer::HttpPeer,
};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use super::lines::lowered;

/// Serves HTTP/1.1 on one end of a pipe, in a task of its own.
pub type ServePipe = Arc<dyn Fn(DuplexStream) + Send + Sync>;

const PIPE: usize = 64 * 1024;

/// "Connects" to Valetkey's own routes.
pub struct OwnRoutes(pub ServePipe);

impl fmt::Debug for OwnRoutes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnRoutes")
    }
}

#[async_trait]
impl L4Connect for OwnRoutes {
    async fn connect(&self, _address: &SocketAddr) -> Result<Stream> {
        let (ours, theirs) = tokio::io::duplex(PIPE);
        (self.0)(theirs);
        Ok(Stream::from(VirtualSocketStream::new(Box::new(Pipe(ours)))))
    }
}

#[derive(Debug)]
struct Pipe(DuplexStream);

impl VirtualSocket for Pipe {
    fn set_socket_option(&self, _option: VirtualSockOpt) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Pipe {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Makes the connections below [`Calm`], whose TLS is Pingora's as everywhere. Its certificates are read when it is first
/// needed.
static DIALS: LazyLock<TransportConnector> = LazyLock::new(|| TransportConnector::new(None));

/// Connects for a request that goes alone, to such a peer.
#[derive(Debug)]
pub struct CalmConnector(pub HttpPeer);

#[async_trait]
impl L4Connect for CalmConnector {
    async fn connect(&self, address: &SocketAddr) -> Result<Stream> {
        let mut peer = self.0.clone();
        peer._address = address.clone();
        let inner = DIALS.new_stream(&peer).await?;
        Ok(Stream::from(VirtualSocketStream::new(Box::new(Calm { inner, wrote: false, began: false }))))
    }
}

/// A connection for one request. It lets everything written be finished before anything is read: if the upstream's 101 were
/// read before the request's own (empty) end, Pingora would take that end for the tunnel's. And it writes the request's
/// first line as the client did (see `lines`).
#[derive(Debug)]
struct Calm {
    inner: protocols::Stream,
    wrote: bool,
    /// The first line is written.
    began: bool,
}

impl VirtualSocket for Calm {
    fn set_socket_option(&self, _option: VirtualSockOpt) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Calm {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if mem::take(&mut self.wrote) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for Calm {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.wrote = true;
        if self.began {
            return Pin::new(&mut self.inner).poll_write(cx, bytes);
        }
        let (line, rest) = bytes.split_at(memchr(b'\n', bytes).unwrap_or(bytes.len()));
        let sent: Vec<u8> = lowered(line).chain(rest.iter().copied()).collect();
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, &sent))?;
        self.began = written > line.len();
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
