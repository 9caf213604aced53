//! The walk: the whole life of one connection, step by step, over real HTTP against a running Valetkey. Each step makes
//! its claims and holds Valetkey to them; the stand-in's journal is the independent witness of which token a call carried.
//! Ends at the first claim that doesn't hold. Starts nothing itself: it is given a world that runs.

use std::time::Instant;

use reqwest::Method;
use url::Url;
use valetkey_standin::{Happening, StandIn};

use super::{
    client::{Exchange, Form, Parties, Party},
    setup::SERVICE,
};
use crate::clock::Clock;

mod steps;
mod transcript;

pub use transcript::Reader;
use transcript::{Broken, Scene};

/// Where the walk takes place.
pub struct World<'a> {
    /// The application and the browser.
    pub parties: Parties,
    /// The provider.
    pub standin: &'a StandIn,
    /// Valetkey's `public_url`.
    pub public: Url,
    /// What tells the time.
    pub clock: Clock,
}

/// A step of the walk, in the order of [`Step::ALL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Stranger,
    FirstCall,
    Open,
    GoOn,
    Consent,
    Callback,
    Dashboard,
    Works,
    Pages,
    Streams,
    Expires,
    TakenBack,
    Reconnect,
    WorksAgain,
    Disconnect,
}

impl Step {
    const ALL: [Self; 15] = [
        Self::Stranger,
        Self::FirstCall,
        Self::Open,
        Self::GoOn,
        Self::Consent,
        Self::Callback,
        Self::Dashboard,
        Self::Works,
        Self::Pages,
        Self::Streams,
        Self::Expires,
        Self::TakenBack,
        Self::Reconnect,
        Self::WorksAgain,
        Self::Disconnect,
    ];

    const fn title(self) -> &'static str {
        match self {
            Self::Stranger => "A call without a JWT is refused",
            Self::FirstCall => "Ada's app calls; nothing is connected yet",
            Self::Open => "Ada opens the link, which spends nothing",
            Self::GoOn => "She goes on; this browser is bound to the attempt",
            Self::Consent => "The provider asks, she allows",
            Self::Callback => "Valetkey takes the code, and only once",
            Self::Dashboard => "The dashboard shows the connection",
            Self::Works => "The same call works",
            Self::Pages => "Pagination stays inside the proxy",
            Self::Streams => "A body goes up, a stream comes down unbuffered",
            Self::Expires => "The token expires; the next call doesn't notice",
            Self::TakenBack => "Access is taken back at the provider",
            Self::Reconnect => "Ada connects again",
            Self::WorksAgain => "The call works again",
            Self::Disconnect => "The app disconnects; the provider is told",
        }
    }
}

/// Walks the whole way. True only if every step held.
pub async fn walk(world: World<'_>, reader: Reader) -> bool {
    let (begun, home) = (Instant::now(), world.public.origin().ascii_serialization());
    transcript::open(reader, &home, world.standin.origin());
    let mut walk = Walk { world, link: None, form: None, onward: None, first_token: None };
    let mut scenes = Vec::new();
    for (at, step) in Step::ALL.into_iter().enumerate() {
        let mut scene = Scene::begin(reader, home.clone(), at + 1, step.title());
        let outcome = walk.play(step, &mut scene).await;
        let scene = scene.end(outcome);
        let held = scene.held();
        scenes.push(scene);
        if !held {
            break;
        }
    }
    let unreached: Vec<_> = Step::ALL.iter().skip(scenes.len()).map(|step| step.title()).collect();
    transcript::close(reader, &scenes, &unreached, begun.elapsed());
    unreached.is_empty() && scenes.iter().all(Scene::held)
}

/// The walk under way: what one step hands to the next.
struct Walk<'a> {
    world: World<'a>,
    /// The last connect link.
    link: Option<Url>,
    /// The form of the page that the browser shows.
    form: Option<Form>,
    /// Where the browser was last sent.
    onward: Option<Url>,
    /// The number of the token that the first accepted call carried.
    first_token: Option<u64>,
}

impl Walk<'_> {
    async fn play(&mut self, step: Step, scene: &mut Scene) -> Result<(), Broken> {
        match step {
            Step::Stranger => self.stranger(scene).await,
            Step::FirstCall => self.asks_for_consent(scene, &["not_connected"]).await,
            Step::Open => self.open(scene).await,
            Step::GoOn => self.go_on(scene).await,
            Step::Consent => self.consent(scene).await,
            Step::Callback => self.callback(scene).await,
            Step::Dashboard => self.dashboard(scene).await,
            Step::Works => self.works(scene).await,
            Step::Pages => self.pages(scene).await,
            Step::Streams => self.streams(scene).await,
            Step::Expires => self.expires(scene).await,
            Step::TakenBack => self.taken_back(scene).await,
            Step::Reconnect => self.reconnect(scene).await,
            Step::WorksAgain => self.works_again(scene).await,
            Step::Disconnect => self.disconnect(scene).await,
        }
    }

    /// A URL of Valetkey's own.
    fn at(&self, path: &str) -> Url {
        let mut url = self.world.public.clone();
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        url.set_path(path);
        url.set_query(query);
        url
    }

    /// A URL of the service, through the proxy.
    fn through(&self, path: &str) -> Url {
        self.at(&format!("/proxy/{SERVICE}/{path}"))
    }

    async fn get(&mut self, party: Party, url: Url) -> Result<Exchange, Broken> {
        self.world.parties.call(party, Method::GET, url, None).await.map_err(|error| unanswered(&error))
    }

    async fn browse(&mut self, url: Url) -> Result<Exchange, Broken> {
        self.world.parties.open(url).await.map_err(|error| unanswered(&error))
    }

    async fn submit(&mut self, form: &Form) -> Result<Exchange, Broken> {
        self.world.parties.submit(form).await.map_err(|error| unanswered(&error))
    }

    fn witnessed(&self, since: usize, what: impl Fn(&Happening) -> bool) -> bool {
        self.world.standin.journal_since(since).iter().any(what)
    }
}

fn unanswered(error: &reqwest::Error) -> Broken {
    let mut found = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        found = format!("{found}: {cause}");
        source = cause.source();
    }
    Broken { claim: "every request is answered in time".into(), found }
}
