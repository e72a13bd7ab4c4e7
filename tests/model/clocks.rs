//! Time: each process's clock ticks by itself, and no two come further apart than the scene's drift.

use crate::rules::{Protection, Scene};
use crate::state::{Age, ISSUERS, LookUp, Node, PRIMARY, Phase, Remover, Renewal, State, Step};

/// One more, up to where it makes no difference any more.
fn older(age: Age, most: Age) -> Age {
    (age + 1).min(most)
}

/// The clocks that there are.
fn clocks(scene: &Scene) -> impl Iterator<Item = usize> + use<> {
    // One that can't run on needs no clock.
    (0..scene.nodes).chain([ISSUERS]).chain((scene.lag() > 0).then_some(PRIMARY))
}

impl State {
    /// The clocks that may tick now. With no drift, one stands for all.
    pub fn may_tick(&self, scene: &Scene) -> impl Iterator<Item = usize> {
        clocks(scene)
            .filter(|clock| if scene.drift == 0 { *clock == ISSUERS } else { self.ahead[*clock] < scene.drift })
    }

    pub fn tick(&mut self, scene: &Scene, clock: usize) {
        if scene.drift == 0 {
            return clocks(scene).for_each(|each| self.ticks(scene, each));
        }
        self.ticks(scene, clock);
        self.ahead[clock] += 1;
        if clocks(scene).all(|each| self.ahead[each] > 0) {
            clocks(scene).for_each(|each| self.ahead[each] -= 1);
        }
    }

    fn ticks(&mut self, scene: &Scene, clock: usize) {
        match clock {
            ISSUERS => self.issuers_tick(scene),
            PRIMARY => self.promoted = self.promoted.map(|age| older(age, scene.lag())),
            node => self.node_ticks(scene, node),
        }
    }

    fn issuers_tick(&mut self, scene: &Scene) {
        let issuer = &mut self.issuer;
        if let Some(age) = issuer.settling {
            issuer.settling = Some(age + 1).filter(|age| *age < scene.settle());
            issuer.named |= issuer.settling.is_none();
        }
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
            memory.lease = memory.lease.map(|age| age + 1).filter(|age| *age < scene.lease);
            memory.window = memory.window.map(|age| age + 1).filter(|age| *age <= scene.lease);
        }
        for slot in renewals {
            *slot = slot.map(|renewal| Renewal { noted: older(renewal.noted, scene.lease), ..renewal });
            // No lease can come of it any more.
            if scene.has(Protection::NotedBeforeSending) && !scene.slow_requests {
                *slot = slot.filter(|renewal| renewal.noted < scene.lease);
            }
        }
        for slot in look_ups {
            *slot = slot.map(|look_up| LookUp { asked: older(look_up.asked, scene.lease + 1), ..look_up });
            // Nobody can use it any more.
            if scene.has(Protection::NoLateFill) {
                *slot = slot.filter(|look_up| look_up.asked <= scene.lease || look_up.awaited);
            }
        }
        if usize::from(self.verification.node) != number {
            return;
        }
        let step = &mut self.verification.step;
        let lease = |lease: Option<Age>| lease.map(|age| older(age, scene.lease)).filter(|age| *age < scene.lease);
        *step = match *step {
            Step::Captured(captured) if scene.has(Protection::ClockReadLast) => Step::Captured(lease(captured)),
            Step::Waits(captured) => Step::Waits(lease(captured)),
            Step::Read(age) => Step::Read(older(age, scene.lease)),
            Step::Answered(age) => Step::Answered(older(age, scene.lease)),
            other => other,
        };
    }
}
