//! Random schedules.

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};

use super::{Fault, Planned, Schedule, Target};

/// What random schedules keep to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Ids of the nodes.
    pub nodes: Vec<u64>,
    /// Kinds of faults; each comes about as often as any other.
    pub kinds: Vec<Fault>,
    /// Length of the run.
    pub duration_ms: u64,
    /// Shortest and longest time that a fault lasts.
    pub hold_ms: (u64, u64),
    /// Shortest and longest time without a fault, before each: recovery is seen
    /// here.
    pub quiet_ms: (u64, u64),
    /// Time without a fault at the end.
    pub end_ms: u64,
}

/// Why there is no schedule for a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// No nodes, no kinds, or a shortest time above the longest.
    #[error("a plan needs nodes, kinds, and shortest times that are not above the longest")]
    Empty,
    /// The run ends before each kind was installed once.
    #[error("the run is too short for {kinds} kinds of faults")]
    Short {
        /// How many were asked for.
        kinds: usize,
    },
}

impl Plan {
    /// Draws a schedule. The same plan and seed, the same schedule (of one version
    /// of this program: replay from the file that was kept).
    ///
    /// One fault at a time; whom it strikes is a minority, but for those that
    /// strike all. Half of them strike the leader.
    ///
    /// # Errors
    ///
    /// When the plan is empty or too short for each kind to come once.
    pub fn draw(&self, seed: u64) -> Result<Schedule, PlanError> {
        let ordered = |(least, most): (u64, u64)| least <= most;
        if self.nodes.is_empty()
            || self.kinds.is_empty()
            || !ordered(self.hold_ms)
            || !ordered(self.quiet_ms)
        {
            return Err(PlanError::Empty);
        }
        let mut random = StdRng::seed_from_u64(seed);
        let mut bag: Vec<Fault> = Vec::new();
        let mut faults = Vec::new();
        let mut now_ms = 0;
        let last_ms = self.duration_ms.saturating_sub(self.end_ms);
        loop {
            let at_ms = now_ms + random.random_range(self.quiet_ms.0..=self.quiet_ms.1);
            let until_ms = at_ms + random.random_range(self.hold_ms.0..=self.hold_ms.1);
            // A time that passes nothing would never end.
            if until_ms > last_ms || until_ms == now_ms {
                break;
            }
            if bag.is_empty() {
                bag.clone_from(&self.kinds);
                bag.shuffle(&mut random);
            }
            let kind = bag.pop().expect("the bag was filled with the kinds, of which there are");
            let target = self.target(kind, &mut random);
            let fault = faults.len() as u64;
            faults.push(Planned { fault, kind, target, at_ms, until_ms });
            now_ms = until_ms;
        }
        if faults.len() < self.kinds.len() {
            return Err(PlanError::Short { kinds: self.kinds.len() });
        }
        Ok(Schedule { seed, faults })
    }

    fn target(&self, kind: Fault, random: &mut StdRng) -> Target {
        let minority = (self.nodes.len() - 1) / 2;
        match kind {
            Fault::KillAll | Fault::RotateBarrier => Target::All,
            Fault::TransferLeader => Target::Leader,
            _ if random.random() => Target::Leader,
            _ => {
                let mut nodes = self.nodes.clone();
                nodes.shuffle(random);
                nodes.truncate(random.random_range(1..=minority.max(1)));
                nodes.sort_unstable();
                Target::Nodes(nodes)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plan() -> Plan {
        Plan {
            nodes: vec![1, 2, 3, 4, 5],
            kinds: vec![Fault::Kill, Fault::Pause, Fault::Cut, Fault::KillAll],
            duration_ms: 120_000,
            hold_ms: (2_000, 6_000),
            quiet_ms: (3_000, 5_000),
            end_ms: 10_000,
        }
    }

    #[test]
    fn a_plan_that_can_not_be_kept_is_refused() {
        for empty in [
            Plan { nodes: vec![], ..plan() },
            Plan { kinds: vec![], ..plan() },
            Plan { hold_ms: (2, 1), ..plan() },
        ] {
            assert_eq!(empty.draw(1), Err(PlanError::Empty));
        }
        let short = Plan { duration_ms: 30_000, ..plan() };
        assert_eq!(short.draw(1), Err(PlanError::Short { kinds: 4 }));
        let no_time = Plan { hold_ms: (0, 0), quiet_ms: (0, 0), ..plan() };
        assert_eq!(no_time.draw(1), Err(PlanError::Short { kinds: 4 }));
    }

    #[test]
    fn another_seed_is_another_schedule() {
        assert_ne!(plan().draw(1).unwrap().faults, plan().draw(2).unwrap().faults);
    }

    proptest! {
        #[test]
        fn schedules_are_the_seeds_and_keep_to_the_plan(seed: u64) {
            let plan = plan();
            let schedule = plan.draw(seed).unwrap();
            prop_assert_eq!(&schedule, &plan.draw(seed).unwrap());
            let mut before = 0;
            for (number, fault) in schedule.faults.iter().enumerate() {
                prop_assert_eq!(fault.fault, number as u64);
                let (quiet, hold) = (fault.at_ms - before, fault.until_ms - fault.at_ms);
                prop_assert!((3_000..=5_000).contains(&quiet) && (2_000..=6_000).contains(&hold));
                before = fault.until_ms;
                match &fault.target {
                    Target::Nodes(nodes) => prop_assert!((1..=2).contains(&nodes.len())),
                    Target::All => prop_assert_eq!(fault.kind, Fault::KillAll),
                    Target::Leader => {}
                }
            }
            prop_assert!(before <= 110_000);
            for kind in plan.kinds {
                prop_assert!(schedule.faults.iter().any(|fault| fault.kind == kind));
            }
            let text = serde_json::to_string(&schedule).unwrap();
            prop_assert_eq!(serde_json::from_str::<Schedule>(&text).unwrap(), schedule);
        }
    }

    #[test]
    fn every_kind_is_found_by_its_name() {
        for fault in Fault::ALL {
            assert_eq!(Fault::named(fault.name()), Some(fault));
            assert_eq!(serde_json::to_value(fault).unwrap(), fault.name());
        }
        assert_eq!(Fault::named("nothing"), None);
    }
}
