//! A challenger on trial: registry, followers, endpoint and rollout together, in the order that a service needs.
//!
//! The alias `champion` says who answers, and nothing else does: a promotion is a commit that moves it, and the
//! follower does the swap. The alias `challenger` says who is on trial. What was seen of the trial, and how many
//! labels that took, is one stored value, with which a process that was killed goes on.

use std::sync::Arc;
use std::time::Duration;

use mlops_core::data::Value;
use mlops_core::onnx::{LinearModel, Link};
use mlops_core::{
    Clock as _, Error, ErrorKind, ManualClock, ModelVersion, RequestId, Result, Seed, SystemClock, Timestamp,
};
use mlops_registry::{Draft, Expect, NewVersion, blocking::Registry};
use mlops_serve::endpoint::{Endpoint, Follower, Loader, Origin};
use mlops_serve::rollout::{Action, Decision, Guardrail, Metric, Plan, Proof, Rollout, Status};
use mlops_serve::{CHALLENGER, CHAMPION};
use rand::RngExt as _;
use serde::{Deserialize, Serialize};

/// The labels of this many visits are still to come.
const LABELS_LATE: usize = 200;

/// A fifth, then half of the visits, ten minutes each at least; promoted once it is shown to be better.
fn plan() -> Plan {
    Plan::canary([0.2, 0.5], 600, 100)
        .guardrail(Guardrail::FailureRatio { max: 2.0 })
        .guardrail(Guardrail::ShareMismatch)
        .guardrail(Metric::new("squared_error").lower_is_better())
        .proof(Proof::Better, Some(24 * 3600))
}

/// A trial, as it is stored: in one write, so that no label counts twice or not at all.
#[derive(Debug, Serialize, Deserialize)]
pub struct Trial {
    /// What was seen and decided.
    pub rollout: Rollout,
    /// How many labels it has read of those that came.
    pub labels: usize,
}

/// A label that came: where the answer came from, and how far off it was. The captured records keep the origin until
/// the label joins it.
#[derive(Debug)]
pub struct Labelled {
    origin: Arc<Origin>,
    squared_error: f64,
}

/// What runs in the service's process and is gone when that is killed.
#[derive(Debug)]
pub struct Service {
    /// What answers.
    pub endpoint: Endpoint,
    champion: Follower,
    /// The trial, if a version is on trial.
    pub trial: Option<Trial>,
}

impl Service {
    /// What a service does when it starts, the first time and after a kill: load the champion, end the stored
    /// rollout if it is over, load the challenger, go on with the rollout of these two or begin one, set the split.
    ///
    /// # Errors
    /// If the registry is out of reach, a model does not load, or the stored trial cannot be read.
    pub fn start(registry: &Arc<Registry>, stored: Option<&str>, now: Timestamp) -> Result<Self> {
        let endpoint = Endpoint::new("shop", SystemClock::new());
        let follow = |alias: &str| {
            let source: Arc<Registry> = Arc::clone(registry);
            Follower::new(Loader::auto(SystemClock::new()), source, format!("shop@{alias}").parse()?)
        };
        let champion = follow(CHAMPION)?;
        champion.poll_blocking(&endpoint)?;
        let mut service = Self { endpoint, champion, trial: None };
        let stored = stored.map(serde_json::from_str::<Trial>).transpose();
        let stored =
            stored.map_err(|error| Error::data("the stored trial cannot be read").with_source(error))?;
        if let Some(over) = stored.as_ref().filter(|stored| stored.rollout.status() != Status::Running) {
            service.end(registry, &over.rollout)?;
        }
        // Without traffic until the rollout says how much.
        follow(CHALLENGER)?.as_challenger(0.0)?.poll_blocking(&service.endpoint)?;
        if let [champion, challenger] = &service.endpoint.arms()[..] {
            let [champion, challenger] = [champion, challenger].map(|arm| arm.model.version());
            // Where an alias was moved by hand, the stored one is of versions that no longer answer.
            let goes_on = |Trial { rollout, .. }: &Trial| {
                let is_running = rollout.status() == Status::Running;
                is_running && (rollout.champion(), rollout.challenger()) == (champion, challenger)
            };
            let trial = match stored.filter(goes_on) {
                Some(stored) => stored,
                None => {
                    let rollout = Rollout::new(plan(), champion.clone(), challenger.clone(), now)?;
                    Trial { rollout, labels: 0 }
                }
            };
            service.endpoint.apply(&trial.rollout)?;
            service.trial = Some(trial);
        }
        Ok(service)
    }

    /// Tells the registry how the trial ended, and makes its champion the only arm. Repeating it does no harm, so
    /// that a kill between any two lines of it loses nothing; nor does what was released meanwhile.
    fn end(&self, registry: &Registry, rollout: &Rollout) -> Result<()> {
        let [champion, challenger] = [rollout.champion(), rollout.challenger()];
        let draft = Draft::new("rollout", format!("the trial of {challenger} is over"));
        let draft = draft.remove_alias("shop", CHALLENGER, Expect::Version(challenger.version));
        let draft = match rollout.status() {
            Status::Promoted => {
                draft.approve(challenger).alias(CHAMPION, challenger, Expect::Version(champion.version))
            }
            _ => draft.reject(challenger),
        };
        match registry.commit(draft) {
            // Done before, or somebody else moved an alias since: theirs holds.
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            committed => drop(committed?),
        }
        self.champion.poll_blocking(&self.endpoint)?;
        self.endpoint.roll_back()
    }

    /// Makes the endpoint, and at the end the registry, what the rollout says.
    fn settle(&mut self, registry: &Registry) -> Result<()> {
        match &self.trial {
            Some(Trial { rollout, .. }) if rollout.status() == Status::Running => {
                self.endpoint.apply(rollout)
            }
            Some(Trial { rollout, .. }) => {
                self.end(registry, rollout)?;
                self.trial = None;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Feeds the labels that came and what the endpoint counted, and decides: as often as one likes, here after each
    /// request.
    fn look(&mut self, labels: &[Labelled], now: Timestamp) -> Result<Decision> {
        let trial = self.trial.as_mut().ok_or_else(|| Error::internal("nothing is on trial"))?;
        for Labelled { origin, squared_error } in &labels[trial.labels..] {
            let Origin { version, arm, propensity, .. } = &**origin;
            trial.rollout.add_outcome("squared_error", version, arm, *propensity, *squared_error)?;
        }
        trial.labels = labels.len();
        for arm in self.endpoint.take_traffic() {
            trial.rollout.add_traffic(&arm.version, &arm.arm, arm.propensity, &arm.traffic);
        }
        Ok(trial.rollout.advance(now))
    }
}

/// What outlives the process.
#[derive(Debug)]
struct Outside {
    registry: Arc<Registry>,
    clock: ManualClock,
    /// The file of the trial.
    stored: Option<String>,
    /// Every answer and what came of it.
    labels: Vec<Labelled>,
}

impl Outside {
    fn start(&self) -> Result<Service> {
        Service::start(&self.registry, self.stored.as_deref(), self.clock.now())
    }

    /// Decides what an answer changes, and does it. Gives whether the service was killed between two of the steps; a
    /// kill within one of them is a kill before or after what it writes: the file, or the commit of `settle`.
    fn decide(
        &mut self,
        service: &mut Service,
        killed: &mut impl FnMut(&str) -> bool,
        say: &mut impl FnMut(String),
    ) -> Result<bool> {
        if killed("answered") {
            return Ok(true);
        }
        let came = &self.labels[..self.labels.len().saturating_sub(LABELS_LATE)];
        let decision = service.look(came, self.clock.now())?;
        if killed("decided") {
            return Ok(true);
        }
        let stored = serde_json::to_string(&service.trial);
        self.stored =
            Some(stored.map_err(|error| Error::internal("a trial cannot be stored").with_source(error))?);
        if decision.action != Action::Hold {
            say(format!("visit {}: {decision}", self.labels.len()));
        }
        if killed("stored") {
            return Ok(true);
        }
        if decision.action != Action::Hold {
            service.settle(&self.registry)?;
        }
        Ok(killed("settled"))
    }
}

/// A registry with a champion, and a challenger with these weights.
///
/// # Errors
/// None, unless something is broken.
pub fn registry(weights: [f64; 2]) -> Result<Arc<Registry>> {
    let registry = Arc::new(Registry::open("memory:")?);
    for (name, weights) in [("first", [0.1, -0.1]), ("new", weights)] {
        register(&registry, name, weights)?;
    }
    let [first, new] = [1, 2].map(|version| ModelVersion::new("shop", version));
    let draft = Draft::new("ann", "the first serves, the new one is on trial").approve(&first);
    let draft = draft.alias(CHAMPION, &first, Expect::Absent).alias(CHALLENGER, &new, Expect::Absent);
    registry.commit(draft)?;
    Ok(registry)
}

/// Adds a version with these weights.
///
/// # Errors
/// None, unless something is broken.
pub fn register(registry: &Registry, name: &str, weights: [f64; 2]) -> Result<()> {
    let onnx = LinearModel::new(weights.to_vec(), -0.5).link(Link::Logistic).to_bytes()?;
    let version = NewVersion::new("shop").file("model.onnx", onnx);
    registry.commit(Draft::new("ann", name).register(version)).map(drop)
}

/// Puts a challenger with these weights on trial, and gives the champion at the end. After each step of the service
/// `killed` says whether it is killed there, and started again.
///
/// # Errors
/// None, unless something is broken.
pub fn run(
    weights: [f64; 2],
    killed: &mut impl FnMut(&str) -> bool,
    say: &mut impl FnMut(String),
) -> Result<ModelVersion> {
    let clock = ManualClock::new(Timestamp::EPOCH);
    let mut outside = Outside { registry: registry(weights)?, clock, stored: None, labels: Vec::new() };
    let mut service = outside.start()?;
    let mut shop = Seed::new(6).rng();
    for visit in 1_u64.. {
        outside.clock.advance(Duration::from_secs(1));
        let [pages, bounces] = [shop.random_range(0.0..2.0), shop.random_range(0.0..2.0)];
        let id = RequestId::from_key(visit.to_le_bytes());
        let answer = service.endpoint.score(id, &[Value::Float(pages), Value::Float(bounces)])?;
        let buys = shop.random_bool(1.0 / (1.0 + (0.5 - 0.8 * pages + 1.5 * bounces).exp()));
        let squared_error = (answer.score - f64::from(u8::from(buys))).powi(2);
        outside.labels.push(Labelled { origin: answer.origin, squared_error });
        if outside.decide(&mut service, killed, say)? {
            service = outside.start()?;
        }
        if service.trial.is_none() {
            break;
        }
    }
    let answers = service.endpoint.arms()[0].model.version().clone();
    let alias = outside.registry.resolve(&"shop@champion".parse()?)?;
    say(format!("{answers} answers, alias {CHAMPION} is {alias}"));
    Ok(answers)
}
