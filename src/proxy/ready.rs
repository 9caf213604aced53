//! Phases that end without waiting, which is what nearly all of them do: futures that are ready when they are made.

use std::{
    future::{Future, ready},
    pin::Pin,
    task::{Context, Poll},
};

use pingora::Result;

/// A phase's future, as `async_trait` has it.
pub type Phase<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// A phase that went well without waiting. It has no size, so that its box takes no memory: a request goes through a dozen
/// phases, and most of them never wait.
struct Done;

impl Future for Done {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A phase that says no, likewise: `request_filter`, where the request hasn't been answered.
pub struct No;

impl Future for No {
    type Output = Result<bool>;

    fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Result<bool>> {
        Poll::Ready(Ok(false))
    }
}

/// A phase that says yes, likewise: `proxy_upstream_filter`, where the request goes upstream.
pub struct Yes;

impl Future for Yes {
    type Output = Result<bool>;

    fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Result<bool>> {
        Poll::Ready(Ok(true))
    }
}

/// The end of `logging`, likewise.
pub struct Logged;

impl Future for Logged {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

/// The end of a phase that has no more to say than that it went well, or why it didn't.
pub fn done<'a>(result: Result<()>) -> Phase<'a, ()> {
    match result {
        Ok(()) => Box::pin(Done),
        Err(error) => Box::pin(ready(Err(error))),
    }
}
