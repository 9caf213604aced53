//! Streams that Pingora takes for upstream connections: `Pipe`, an in-memory way to Valetkey's own routes, and `Calm`, a
//! TCP connection for upgrades (docs/PINGORA.md says why each is needed). Neither is pooled.

use std::{
    fmt, io, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use pingora::{
    Error, ErrorType, OrErr as _, Result,
    connectors::L4Connect,
    protocols::l4::{
        socket::SocketAddr,
        stream::Stream,
        virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream},
    },
};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf},
    net::TcpStream,
    time::timeout,
};

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

/// Connects for a request that asks to be upgraded.
#[derive(Debug, Clone, Copy)]
pub struct CalmConnector(pub Duration);

#[async_trait]
impl L4Connect for CalmConnector {
    async fn connect(&self, address: &SocketAddr) -> Result<Stream> {
        let SocketAddr::Inet(address) = address else {
            return Error::e_explain(ErrorType::ConnectError, "an upgrade needs an IP address");
        };
        let tcp = timeout(self.0, TcpStream::connect(address))
            .await
            .or_err(ErrorType::ConnectTimedout, "for an upgrade")?
            .or_err(ErrorType::ConnectError, "for an upgrade")?;
        let _ = tcp.set_nodelay(true);
        Ok(Stream::from(VirtualSocketStream::new(Box::new(Calm { tcp, wrote: false }))))
    }
}

/// A TCP connection that lets everything written be finished before anything is read: if the upstream's 101 were read
/// before the request's own (empty) end, Pingora would take that end for the tunnel's.
#[derive(Debug)]
struct Calm {
    tcp: TcpStream,
    wrote: bool,
}

impl VirtualSocket for Calm {
    fn set_socket_option(&self, option: VirtualSockOpt) -> io::Result<()> {
        match option {
            VirtualSockOpt::NoDelay => self.tcp.set_nodelay(true),
            _ => Ok(()),
        }
    }
}

impl AsyncRead for Calm {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if mem::take(&mut self.wrote) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Calm {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.wrote = true;
        Pin::new(&mut self.tcp).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
