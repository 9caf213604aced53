//! A stream to a client, with one thing changed: where hyper answers a head that its parser didn't take, which it does by
//! itself and with a bare status, the answer is Valetkey's.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use super::State;
use crate::refusal::{Refusal, TooLarge};

/// How long a refused client is read on: closing with unread bytes would make the kernel throw the answer away.
const READ_ON: Duration = Duration::from_secs(2);

/// The stream.
pub(super) struct Worded<S> {
    inner: S,
    state: Arc<State>,
    /// What of our own answer is still to be written, once it stands in for hyper's.
    instead: Option<Vec<u8>>,
    reading_on: Option<Pin<Box<Sleep>>>,
}

impl<S> Worded<S> {
    pub(super) fn new(inner: S, state: Arc<State>) -> Self {
        Self { inner, state, instead: None, reading_on: None }
    }
}

/// What hyper means by a bare answer. Every answer of a handler has a request id, and hyper writes heads whole.
fn meant(bytes: &[u8]) -> Option<Refusal> {
    let status = bytes.strip_prefix(b"HTTP/1.1 ").or_else(|| bytes.strip_prefix(b"HTTP/1.0 "))?.get(..3)?;
    let refusal = match status {
        b"400" => Refusal::bad_request("This request is malformed"),
        b"414" => Refusal::too_large(TooLarge::Target),
        b"431" => Refusal::too_large(TooLarge::Headers),
        _ => return None,
    };
    let bare = !bytes.windows(22).any(|name| name.eq_ignore_ascii_case(b"\nvaletkey-request-id: "));
    bare.then_some(refusal)
}

impl<S: AsyncRead + Unpin> AsyncRead for Worded<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Worded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.instead.is_none() {
            let Some(refusal) = meant(bytes) else { return Pin::new(&mut this.inner).poll_write(cx, bytes) };
            this.instead = Some(this.state.refused_unread(&refusal));
        }
        while let Some(left) = this.instead.as_mut().filter(|left| !left.is_empty()) {
            let written = ready!(Pin::new(&mut this.inner).poll_write(cx, left))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            left.drain(..written);
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(Pin::new(&mut this.inner).poll_shutdown(cx))?;
        if this.instead.is_none() {
            return Poll::Ready(Ok(()));
        }
        let time = this.reading_on.get_or_insert_with(|| Box::pin(sleep(READ_ON)));
        let mut scrap = [0; 4096];
        while time.as_mut().poll(cx).is_pending() {
            let mut buf = ReadBuf::new(&mut scrap);
            match ready!(Pin::new(&mut this.inner).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => {}
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}
