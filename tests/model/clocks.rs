//! Time: each process's clock ticks by itself, and no two come further apart than `DRIFT`.

use crate::rules::{DRIFT, LEASE, Protection, Scene, WINDOW};
use crate::state::{Age, ISSUERS, Node, PRIMARY, Phase, Remover, State, Step};

/// One more, up to where it makes no difference any more.
fn older(age: Age, most: Age) -> Age {
    (age + 1).min(most)
}

/// The clocks that there are.
pub fn clocks(scene: &Scene) -> impl Iterator<Item = usize> {
    (0..scene.nodes).chain([ISSUERS]).chain(scene.failover.map(|_| PRIMARY))
}

impl State {
    pub fn may_tick(&self, clock: usize) -> bool {
        self.ahead[clock] < DRIFT
    }

    pub fn tick(&mut self, scene: &Scene, clock: usize) {
        self.ahead[clock] += 1;
        if clocks(scene).all(|each| self.ahead[each] > 0) {
            clocks(scene).for_each(|each| self.ahead[each] -= 1);
        }
        match clock {
            ISSUERS => self.issuers_tick(scene),
            PRIMARY => self.promoted = self.promoted.map(|age| older(age, scene.lag())),
            node => self.node_ticks(scene, node),
        }
    }

    fn issuers_tick(&mut self, scene: &Scene) {
        let issuer = &mut self.issuer;
        issuer.settling = issuer.settling.map(|age| age + 1).filter(|age| *age < scene.settle());
        match &mut issuer.phase {
            Phase::Sent { elapsed } | Phase::Committed { elapsed, .. } if scene.has(Protection::WaitFromReply) => {
                *elapsed = 0;
            }
            Phase::Sent { elapsed } | Phase::Committed { elapsed, .. } | Phase::Waiting { elapsed, .. } => {
                *elapsed = older(*elapsed, scene.leases_end());
            }
            Phase::Idle | Phase::Confirmed { .. } | Phase::Receipted { .. } => {}
        }
        for remover in &mut self.removers {
            if let Remover::Watches { age, .. } = remover {
                *age = older(*age, scene.stands_still());
            }
        }
    }

    fn node_ticks(&mut self, scene: &Scene, number: usize) {
        self.dead[number] = self.dead[number].map(|age| older(age, scene.bound()));
        let Node { memory, renewals, look_ups, .. } = &mut self.nodes[number];
        if let Some(memory) = memory {
            memory.lease = memory.lease.map(|age| age + 1).filter(|age| *age < LEASE);
            memory.window = memory.window.map(|age| age + 1).filter(|age| *age <= WINDOW);
        }
        for slot in renewals {
            *slot = slot.map(|renewal| super::state::Renewal { noted: older(renewal.noted, LEASE), ..renewal });
            // No lease can come of it any more.
            if scene.has(Protection::NotedBeforeSending) && !scene.slow_requests {
                *slot = slot.filter(|renewal| renewal.noted < LEASE);
            }
        }
        for slot in look_ups {
            *slot = slot.map(|look_up| super::state::LookUp { asked: older(look_up.asked, WINDOW + 1), ..look_up });
            // Nobody can use it any more.
            if scene.has(Protection::NoLateFill) {
                *slot = slot.filter(|look_up| look_up.asked <= WINDOW || look_up.awaited);
            }
        }
        if usize::from(self.verification.node) != number {
            return;
        }
        let step = &mut self.verification.step;
        let lease = |lease: Option<Age>| lease.map(|age| older(age, LEASE)).filter(|age| *age < LEASE);
        *step = match *step {
            Step::Captured(captured) if scene.has(Protection::ClockReadLast) => Step::Captured(lease(captured)),
            Step::Waits(captured) => Step::Waits(lease(captured)),
            Step::Read(age) => Step::Read(older(age, LEASE)),
            Step::Answered(age) => Step::Answered(older(age, LEASE)),
            other => other,
        };
    }
}
