//! Calls, as the proxy makes them, and whether their answers have a cause.

use crate::events::CALLER;
use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::{super::provider, Process, User, World};
use crate::connection::{AfterRejection, Credential, Unusable, Want};

impl World {
    /// One call, as the proxy makes it. `spite`: the API refuses the first token for nothing.
    pub async fn call(&self, user: &User, process: &Process, spite: bool) {
        // The dead answer nobody, whatever is left in their memory.
        if process.gate.is_killed() {
            return;
        }
        process.open.fetch_add(1, Ordering::Relaxed);
        self.journal.count(|counts| counts.calls += 1);
        let (want, began) = (self.want(user), Instant::now());
        let outcome = self.attempt(&want, user, process, began, spite).await;
        process.open.fetch_sub(1, Ordering::Relaxed);
        if process.gate.is_killed() {
            return;
        }
        self.journal.step(&process.gate.name, "call", &outcome);
        if let Err(unusable) = outcome
            && !user.explains(self, &unusable, began)
        {
            self.journal.violated(format!("a call through {} got {unusable:?} without cause", process.gate.name));
        }
    }

    /// As [`World::call`], but only success or a refusal with a cause will do.
    pub async fn call_in_calm(&self, user: &User, process: &Process) {
        let (want, began) = (self.want(user), Instant::now());
        let outcome = self.attempt(&want, user, process, began, false).await;
        self.journal.step(&process.gate.name, "calm call", &outcome);
        match outcome {
            Ok(()) => {}
            Err(unusable @ Unusable::AuthRequired { .. }) if user.explains(self, &unusable, began) => {}
            Err(unusable) => self.journal.violated(format!("at peace, {} got {unusable:?}", process.gate.name)),
        }
    }

    async fn attempt(
        &self,
        want: &Want<'_>,
        user: &User,
        process: &Process,
        began: Instant,
        spite: bool,
    ) -> Result<(), Unusable> {
        let connections = &process.connections;
        let now = || connections.records.now();
        let start = now();
        let mut credential = connections.resolver.resolve(want).await?;
        let mut renewed = false;
        for attempt in 0..4 {
            if self.serves(&credential, user, process, began, spite && attempt == 0) {
                connections.resolver.accepted(&credential, start);
                return Ok(());
            }
            let refused = now();
            let verdict = if renewed {
                {
                    let mut known = user.known.lock();
                    known.refused_twice = true;
                    // What was renewed for this call, and served another before it came to it, died on the way.
                    let served = self.provider.has_served(token_of(&credential));
                    known.late |= served || process.gate.troubled(began, Instant::now());
                }
                connections.resolver.rejected_again(want, &credential, start, &CALLER).await
            } else {
                connections.resolver.rejected(want, &credential, start, &CALLER).await
            };
            match verdict {
                AfterRejection::Replay(next) => {
                    // As the proxy tells a renewed credential from one that was only replaced.
                    renewed = attempt > 0 || next.issued_at.is_some_and(|issued| issued >= refused);
                    credential = next;
                }
                AfterRejection::PassOn => return Ok(()),
                AfterRejection::Refuse(unusable) => return Err(unusable),
            }
        }
        Ok(())
    }

    /// Whether the API takes the credential. It must be this person's, and none that was given up.
    fn serves(&self, credential: &Credential, user: &User, process: &Process, began: Instant, spite: bool) -> bool {
        let token = token_of(credential);
        let (accepted, whose) = self.provider.accepts(token);
        if whose != user.number {
            self.journal.violated(format!("{token} was used for {}", user.number));
        }
        let mut known = user.known.lock();
        let is_key = provider::key(user.number) == token && (known.has_key || known.key_in_doubt);
        if let Some(gone) = known.gone_since.filter(|_| !known.connecting && !known.forgotten && !is_key) {
            let blind = process.gate.troubled(gone, Instant::now()) || self.server.was_down(gone, Instant::now());
            if began > gone + self.server.felt_within() && !blind {
                self.journal.violated(format!("{token} was used after it was disconnected"));
            }
        }
        // One refusal is a key's end.
        known.refused_twice |= spite && is_key;
        if spite && accepted {
            self.provider.refuse_for_nothing(token);
        }
        let answer = if spite {
            "refused for nothing"
        } else if accepted {
            "served"
        } else {
            "refused"
        };
        self.journal.step(&process.gate.name, token, &answer);
        accepted && !spite
    }
}

fn token_of(credential: &Credential) -> &str {
    credential.headers[0].1.to_str().unwrap().trim_start_matches("Bearer ")
}
