//! The yardstick: a Pingora proxy that sets one fixed header and does nothing else. `bare-pingora LISTEN UPSTREAM HEADER`,
//! e.g. `bare-pingora 127.0.0.1:8001 127.0.0.1:8002 "Bearer token"`. One worker thread, as Valetkey has on one core, and
//! Pingora's defaults for everything else. Two programs differ only in their allocator.

use std::{net::SocketAddr, process::ExitCode};

use async_trait::async_trait;
use pingora::{
    http::RequestHeader,
    prelude::{HttpPeer, ProxyHttp, Result, Session, http_proxy_service},
    server::{Server, configuration::ServerConf},
};

struct Bare {
    upstream: SocketAddr,
    header: String,
}

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) -> Self::CTX {}

    async fn upstream_peer(&self, _: &mut Session, _: &mut Self::CTX) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.upstream, false, String::new())))
    }

    async fn upstream_request_filter(
        &self,
        _: &mut Session,
        upstream: &mut RequestHeader,
        _: &mut Self::CTX,
    ) -> Result<()> {
        upstream.insert_header("Authorization", &self.header)
    }
}

/// Serves until it is killed.
pub fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(listen), Some(Ok(upstream)), Some(header)) =
        (arguments.next(), arguments.next().map(|address| address.parse()), arguments.next())
    else {
        eprintln!("usage: bare-pingora LISTEN UPSTREAM HEADER");
        return ExitCode::from(2);
    };
    // Ends at once when it is told to: that is when a profile of it would be written.
    let conf = ServerConf { threads: 1, grace_period_seconds: Some(0), ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, Bare { upstream, header });
    service.add_tcp(&listen);
    server.add_service(service);
    server.run_forever()
}
