//! A challenger on trial: registry, followers, endpoint and rollout together, in the order that a service needs.
//!
//! The alias `champion` says who answers, and nothing else does: a promotion is a commit that moves it, and the
//! follower does the swap. The alias `challenger` says who is on trial. What was seen of the trial is one stored
//! value, with which a process that was killed goes on.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use mlops_core::data::Value;
use mlops_core::onnx::{LinearModel, Link};
use mlops_core::{
    Clock as _, Error, ManualClock, ModelVersion, RequestId, Result, Seed, SystemClock, Timestamp,
};
use mlops_registry::{Draft, Expect, NewVersion, blocking::Registry};
use mlops_serve::endpoint::{Endpoint, Follower, Loader};
use mlops_serve::rollout::{Action, Decision, Guardrail, Metric, Plan, Proof, Rollout, Status};
use mlops_serve::{CHALLENGER, CHAMPION};
use rand::RngExt as _;

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

/// What runs in the service's process and is gone when that is killed.
struct Service {
    endpoint: Endpoint,
    champion: Follower,
    rollout: Rollout,
}

impl Service {
    /// What a service does when it starts, the first time and after a kill: load the champion, load the
    /// challenger, go on with the stored rollout, set the split.
    fn start(registry: &Arc<Registry>, stored: Option<&str>, now: Timestamp) -> Result<Self> {
        let endpoint = Endpoint::new("shop", SystemClock::new());
        let follow = |alias: &str| {
            let source: Arc<Registry> = Arc::clone(registry);
            Follower::new(Loader::auto(SystemClock::new()), source, format!("shop@{alias}").parse()?)
        };
        let champion = follow(CHAMPION)?;
        champion.poll_blocking(&endpoint)?;
        // Without traffic until the rollout says how much.
        follow(CHALLENGER)?.as_challenger(0.0)?.poll_blocking(&endpoint)?;
        let rollout = match stored {
            Some(json) => serde_json::from_str(json)
                .map_err(|error| Error::data("the stored rollout cannot be read").with_source(error))?,
            None => {
                let version = |alias: &str| registry.resolve(&format!("shop@{alias}").parse()?);
                Rollout::new(plan(), version(CHAMPION)?, version(CHALLENGER)?, now)?
            }
        };
        let service = Self { endpoint, champion, rollout };
        service.settle(registry)?;
        Ok(service)
    }

    /// Makes the registry and the endpoint what the stored rollout says; repeating it does no harm, so that a
    /// kill between any two lines of it loses nothing.
    fn settle(&self, registry: &Registry) -> Result<()> {
        let [champion, challenger] = [self.rollout.champion(), self.rollout.challenger()];
        let end = Draft::new("rollout", "the trial is over").key(format!("end of the trial of {challenger}"));
        match self.rollout.status() {
            Status::Running => {}
            Status::Promoted => {
                let expect = Expect::Version(champion.version);
                registry.commit(end.approve(challenger).alias(CHAMPION, challenger, expect))?;
                self.champion.poll_blocking(&self.endpoint)?;
            }
            Status::RolledBack => drop(registry.commit(end.reject(challenger))?),
        }
        self.endpoint.apply(&self.rollout)
    }

    /// Feeds what the endpoint counted, and decides: as often as one likes, here after each request.
    fn look(&mut self, now: Timestamp) -> Decision {
        for arm in self.endpoint.take_traffic() {
            self.rollout.add_traffic(&arm.version, &arm.arm, arm.propensity, &arm.traffic);
        }
        self.rollout.advance(now)
    }
}

/// Puts a challenger with these weights on trial, kills the service at each step, and gives the champion at the end.
///
/// # Errors
/// None, unless something is broken.
pub fn run(weights: [f64; 2], say: &mut impl FnMut(String)) -> Result<ModelVersion> {
    let registry = Arc::new(Registry::open("memory:")?);
    for (name, weights) in [("first", [0.1, -0.1]), ("new", weights)] {
        let onnx = LinearModel::new(weights.to_vec(), -0.5).link(Link::Logistic).to_bytes()?;
        registry
            .commit(Draft::new("ann", name).register(NewVersion::new("shop").file("model.onnx", onnx)))?;
    }
    let [first, new] = [1, 2].map(|version| ModelVersion::new("shop", version));
    let draft = Draft::new("ann", "the first serves, the new one is on trial").approve(&first);
    let draft = draft.alias(CHAMPION, &first, Expect::Absent).alias(CHALLENGER, &new, Expect::Absent);
    registry.commit(draft)?;

    let clock = ManualClock::new(Timestamp::EPOCH);
    let mut service = Service::start(&registry, None, clock.now())?;
    let mut shop = Seed::new(6).rng();
    // In a service, the captured records keep what each answer's origin says until the label comes.
    let mut unlabelled = VecDeque::new();
    for visit in 1_u64.. {
        clock.advance(Duration::from_secs(1));
        let [pages, bounces] = [shop.random_range(0.0..2.0), shop.random_range(0.0..2.0)];
        let id = RequestId::from_key(visit.to_le_bytes());
        let answer = service.endpoint.score(id, &[Value::Float(pages), Value::Float(bounces)])?;
        let buys = shop.random_bool(1.0 / (1.0 + (0.5 - 0.8 * pages + 1.5 * bounces).exp()));
        unlabelled.push_back((answer.origin, (answer.score - f64::from(u8::from(buys))).powi(2)));
        if unlabelled.len() > LABELS_LATE
            && let Some((origin, error)) = unlabelled.pop_front()
        {
            let (version, arm, propensity) = (&origin.version, &origin.arm, origin.propensity);
            service.rollout.add_outcome("squared_error", version, arm, propensity, error)?;
        }

        let decision = service.look(clock.now());
        if decision.action == Action::Hold {
            continue;
        }
        let stored = serde_json::to_string(&service.rollout)
            .map_err(|error| Error::internal("a rollout cannot be stored").with_source(error))?;
        service.settle(&registry)?;
        say(format!("visit {visit}: {decision}"));
        // Killed and started again; a kill before `settle` would end in the same state.
        service = Service::start(&registry, Some(&stored), clock.now())?;
        if service.rollout.status() != Status::Running {
            break;
        }
    }
    let answers = service.endpoint.arms()[0].model.version().clone();
    say(format!("{answers} answers, alias {CHAMPION} is {}", registry.resolve(&"shop@champion".parse()?)?));
    Ok(answers)
}
