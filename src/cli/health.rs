//! `valetkey health`: asks the admin listener for `/readyz`, for probes of container runtimes that have no HTTP client of
//! their own. What counts as well is the caller's to say: a startup probe must not wait for Redis, and a readiness probe must.

use std::time::Duration;

use clap::Args;

use super::{
    Outcome,
    listener::ListenerArgs,
    output::{complain, say},
};

/// Arguments of `health`.
#[derive(Debug, Args)]
pub struct HealthArgs {
    /// Whom to ask.
    #[command(flatten)]
    pub listener: ListenerArgs,
    /// How long the answer may take.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
}

/// Asks.
pub fn run(args: &HealthArgs) -> Outcome {
    let Some(place) = args.listener.place() else { return Outcome::Wrong };
    match place.readiness(args.listener.expect, args.timeout) {
        Ok(body) => {
            say(body);
            Outcome::Done
        }
        Err(why) => {
            complain(why);
            Outcome::Failed
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener};

    use super::*;
    use crate::cli::listener::{Expect, tests::answering};

    fn health(address: SocketAddr) -> Outcome {
        let listener = ListenerArgs { config: None, address: address.to_string(), expect: Expect::Ready };
        run(&HealthArgs { listener, timeout: Duration::from_secs(5) })
    }

    #[test]
    fn ready_is_0_and_everything_else_is_1() {
        let ready = answering("HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{\"status\":\"ok\"}\r\n");
        assert_eq!(health(ready), Outcome::Done);
        let draining = answering("HTTP/1.1 503 Service Unavailable\r\n\r\n{\"status\":\"draining\"}");
        assert_eq!(health(draining), Outcome::Failed);
        assert_eq!(health(answering("SSH-2.0-nobody\r\n")), Outcome::Failed);
        let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(health(gone), Outcome::Failed);
    }
}
