//! The race: all proxies under the same load, round by round, first cold and then hot.

use crate::{
    contestant::{Contestant, Job, VALETKEY, WITH_GLIBC, YARDSTICK},
    failure::Failure,
    fleet::{PROXY, same},
    measure::{self, Load, Sample},
    peers::Peer,
    progress::Progress,
    report::{Report, Row},
    scene::Scene,
    users::Signing,
};

/// How much a hot call may cost of the bare proxy's instructions.
const HOT_GOAL: f64 = 1.05;
/// How long each proxy is warmed up.
const WARM_SECONDS: u64 = 2;

/// Who runs, and how often.
pub struct Race<'s> {
    /// What stands behind the proxies.
    pub scene: &'s Scene,
    /// The load of a hot turn.
    pub load: Load,
    /// How often each has its turn.
    pub rounds: usize,
    /// The algorithms of cold calls.
    pub signings: &'s [Signing],
    /// Whom to race beside Valetkey and the bare proxies.
    pub peers: Vec<Peer>,
}

impl Race<'_> {
    /// Runs it.
    ///
    /// # Errors
    /// Where a proxy doesn't come up, does its job wrongly, or refuses a call.
    pub fn run(&self, progress: &Progress, report: &mut Report) -> Result<(), Failure> {
        let cold = self.cold(progress)?;
        let scene = self.scene;
        let mut contestants = vec![
            scene.bare(YARDSTICK, scene.upstream, PROXY, same)?,
            scene.bare(WITH_GLIBC, scene.upstream, PROXY, same)?,
            scene.valetkey(PROXY, same)?,
        ];
        for peer in &self.peers {
            contestants.push(peer.start(scene, PROXY, same)?);
        }
        contestants.iter().try_for_each(Contestant::check)?;
        progress.say("each user gets their own token and bad JWTs are refused, as far as each proxy's job goes");
        let hot = self.hot(&contestants, progress)?;
        for (one, samples) in contestants.iter().zip(hot) {
            let goal = (one.who == VALETKEY).then_some(HOT_GOAL);
            report.rows.push(Row { who: one.who, what: "hot", samples, peak_kib: one.process.peak_kib(), goal });
        }
        report.rows.extend(cold);
        Ok(())
    }

    fn hot(&self, contestants: &[Contestant], progress: &Progress) -> Result<Vec<Vec<Sample>>, Failure> {
        let warm = Load { time: std::time::Duration::from_secs(WARM_SECONDS), ..self.load };
        for contestant in contestants {
            measure::hot(contestant, &self.scene.jwts, warm)?;
        }
        progress.begin("hot: every caller was seen before", self.rounds * contestants.len());
        let mut samples = vec![Vec::new(); contestants.len()];
        for round in 1..=self.rounds {
            for (contestant, samples) in contestants.iter().zip(&mut samples) {
                let sample = measure::hot(contestant, &self.scene.jwts, self.load)?;
                let Sample { per_second, cpu_micros, .. } = sample;
                let who = contestant.who;
                progress.say(&format!("round {round}: {who:<34}{per_second:>8.0} requests/s {cpu_micros:>7.1} µs CPU"));
                progress.step();
                samples.push(sample);
            }
        }
        Ok(samples)
    }

    /// Each caller for the first time, on a fresh process each round. Of peers, those that verify JWTs.
    fn cold(&self, progress: &Progress) -> Result<Vec<Row>, Failure> {
        let scene = self.scene;
        let peers: Vec<Peer> = self.peers.iter().copied().filter(|peer| peer.job() != Job::FixedHeader).collect();
        progress.begin("cold: each caller for the first time", self.rounds * (self.signings.len() + peers.len()));
        let row = |who, signing: Signing, goal| Row { who, what: signing.cold(), samples: vec![], peak_kib: 0, goal };
        let mut ours: Vec<Row> =
            self.signings.iter().map(|signing| row(VALETKEY, *signing, Some(signing.cold_goal()))).collect();
        let mut theirs: Vec<Row> = peers.iter().map(|peer| row(peer.who(), Signing::Hs256, None)).collect();
        let pass = |row: &mut Row, contestant: Contestant, signing: Signing| -> Result<(), Failure> {
            row.samples.push(measure::cold(&contestant, &scene.jwts_of(signing), self.load)?);
            row.peak_kib = row.peak_kib.max(contestant.process.peak_kib());
            progress.step();
            Ok(())
        };
        for _ in 0..self.rounds {
            for (signing, row) in self.signings.iter().zip(&mut ours) {
                pass(row, scene.valetkey(PROXY, same)?, *signing)?;
            }
            for (peer, row) in peers.iter().zip(&mut theirs) {
                pass(row, peer.start(scene, PROXY, same)?, Signing::Hs256)?;
            }
        }
        ours.append(&mut theirs);
        Ok(ours)
    }
}
