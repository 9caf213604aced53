//! The application's word on whose browser this is (`connect.session.check_url`). It is asked once about a browser in a few
//! seconds, however many pages that browser asks for, and once at a time. What is remembered is known by a hash of the
//! browser's cookies, and there is an end to how much.

use std::{collections::HashMap, sync::Arc, time::Duration};

use http::{HeaderMap, Request, StatusCode, header};
use parking_lot::Mutex;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;
use url::Url;

use super::State;
use crate::{
    caller::Caller,
    clock::Timestamp,
    connection::Unavailable,
    id::{CallerId, Issuer, Subject},
    outbound::CallLimits,
};

/// How long the application's word counts.
const LIFE: Duration = Duration::from_secs(5);
/// How long it is left alone after it failed.
const PAUSE: Duration = Duration::from_secs(1);
/// About how many browsers something is remembered.
const BROWSERS_MAX: usize = 1024;

/// Whom a browser has proved to be.
#[derive(Debug, Clone)]
pub(super) struct Proven {
    /// The caller.
    pub id: CallerId,
    /// Their name or address, where known.
    pub name: Option<String>,
    /// The application, where it is not the configured one.
    pub application: Option<String>,
    /// What its JWT says, where that is the proof.
    pub caller: Option<Arc<Caller>>,
}

type Word = Result<Option<Proven>, Unavailable>;
/// A word and when it was said, or that it is being asked for.
type Place = OnceCell<(Word, Timestamp)>;

/// What the application said of browsers just now.
#[derive(Default)]
pub(super) struct Words(Mutex<HashMap<[u8; 32], Arc<Place>>>);

impl Words {
    /// Where the word on these cookies stands or will stand.
    fn place(&self, cookies: &str, now: Timestamp) -> Arc<Place> {
        let key = Sha256::digest(cookies.as_bytes()).into();
        let mut places = self.0.lock();
        if let Some(place) = places.get(&key).filter(|place| counts(place, now)) {
            return Arc::clone(place);
        }
        if places.len() >= BROWSERS_MAX {
            places.retain(|_, place| counts(place, now));
        }
        let place = Arc::default();
        // Where so many ask at once, those who come later are asked about by themselves.
        if places.len() < BROWSERS_MAX {
            places.insert(key, Arc::clone(&place));
        }
        place
    }
}

/// Whether a word still counts, or is being asked for.
fn counts(place: &Place, now: Timestamp) -> bool {
    place.get().is_none_or(|(word, said)| {
        // A clock that was set back makes nothing younger.
        said.reached(now) && now.since(*said) < if word.is_ok() { LIFE } else { PAUSE }
    })
}

/// What the application answers about a browser.
#[derive(Deserialize)]
struct Vouched {
    issuer: Issuer,
    user: Subject,
}

/// Whose browser the application says this is.
pub(super) async fn word(state: &State, url: &Url, headers: &HeaderMap) -> Word {
    let cookies = state.cookies.of_others(headers);
    if cookies.is_empty() {
        return Ok(None);
    }
    let place = state.words.place(&cookies, state.now());
    let asked = place.get_or_init(|| async {
        let word = ask(state, url, cookies).await;
        (word, state.now())
    });
    asked.await.0.clone()
}

/// Asks with the browser's cookies but for ours. 401 or 403: nobody's.
async fn ask(state: &State, url: &Url, cookies: String) -> Word {
    let request = Request::get(url.as_str())
        .header(header::ACCEPT, "application/json")
        .header(header::COOKIE, cookies)
        .body(Vec::new());
    let Ok(request) = request else { return Ok(None) };
    // Configuration lets plain HTTP through on loopback only, and so does the client.
    let answer = state.parts.outbound.send(request, CallLimits::default()).await.map_err(|error| {
        tracing::warn!(%error, "connect.session.check_url could not be asked");
        Unavailable::Busy
    })?;
    match answer.status() {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Ok(None),
        StatusCode::OK => {}
        status => {
            tracing::warn!(status = status.as_u16(), "connect.session.check_url answered neither 200 nor 401");
            return Err(Unavailable::Busy);
        }
    }
    let vouched: Vouched = serde_json::from_slice(answer.body()).map_err(|_| {
        tracing::warn!("connect.session.check_url did not answer with issuer and user");
        Unavailable::Busy
    })?;
    if !state.parts.callers.knows(&vouched.issuer) {
        tracing::warn!("connect.session.check_url named an issuer that is not configured");
        return Ok(None);
    }
    let application = state.parts.callers.application(&vouched.issuer).map(str::to_owned);
    Ok(Some(Proven {
        id: CallerId { issuer: vouched.issuer, subject: vouched.user },
        name: None,
        application,
        caller: None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_an_end_to_what_is_remembered_and_old_words_make_room() {
        let (words, start) = (Words::default(), Timestamp::from_seconds(1_800_000_000));
        for browser in 0..2 * BROWSERS_MAX {
            words.place(&format!("sid={browser}"), start).set((Ok(None), start)).unwrap();
        }
        assert_eq!(words.0.lock().len(), BROWSERS_MAX);
        assert!(words.place("sid=1", start).get().is_some());
        let later = start.plus(LIFE);
        assert!(words.place("sid=new", later).get().is_none());
        assert_eq!(words.0.lock().len(), 1);
        words.place("sid=fails", later).set((Err(Unavailable::Busy), later)).unwrap();
        assert!(words.place("sid=fails", later).get().is_some());
        assert!(words.place("sid=fails", later.plus(PAUSE)).get().is_none());
        // A clock that was set back.
        words.place("sid=back", later).set((Ok(None), later)).unwrap();
        assert!(words.place("sid=back", start).get().is_none());
    }
}
