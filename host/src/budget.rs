//! How many CPUs this process may use.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Sourced;

/// How many CPUs this process may use: min(affinity, floor(cgroup quota)), at least 1.
///
/// The quota is rounded down because one thread too many stalls all of them: every layer of the model ends in a barrier,
/// and a throttled thread reaches it only in the next scheduling period.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CpuBudget {
    /// The budget itself.
    pub cpus: usize,
    /// CPUs that the scheduler may put us on; cgroup cpusets and `taskset` both show up here.
    pub affinity: Sourced<usize>,
    /// The tightest CPU quota of all our cgroups, in CPUs (`7.65`); `None` when no cgroup sets one.
    pub quota: Option<Sourced<f64>>,
    /// Physical cores that the affinity reaches; fewer than `affinity` when it holds SMT siblings.
    pub cores: Option<usize>,
}

impl CpuBudget {
    /// The budget that follows from affinity, quota, and the physical cores that the affinity reaches.
    pub fn new(affinity: Sourced<usize>, quota: Option<Sourced<f64>>, cores: Option<usize>) -> CpuBudget {
        // A quota that is no number (NaN, from hostile JSON) floors to 0 here and becomes the minimum of 1.
        let by_quota = quota.as_ref().map_or(usize::MAX, |quota| quota.value as usize);
        CpuBudget { cpus: affinity.value.min(by_quota).max(1), affinity, quota, cores }
    }

    /// Whether the quota, and not the affinity, sets the budget.
    pub fn limited_by_quota(&self) -> bool {
        self.cpus < self.affinity.value
    }
}

/// `2 CPUs (quota 2.50 of 8, /sys/fs/cgroup/cpu.max)`.
impl fmt::Display for CpuBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.cpus == 1 { "" } else { "s" };
        write!(f, "{} CPU{plural} ", self.cpus)?;
        match &self.quota {
            Some(quota) if self.limited_by_quota() => {
                write!(f, "(quota {:.2} of {}, {})", quota.value, self.affinity.value, quota.source)
            }
            _ => write!(f, "({})", self.affinity.source),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(affinity: usize, quota: Option<f64>) -> CpuBudget {
        CpuBudget::new(Sourced::new(affinity, "affinity"), quota.map(|quota| Sourced::new(quota, "cpu.max")), None)
    }

    #[test]
    fn the_quota_is_rounded_down_and_one_is_the_least() {
        for (affinity, quota, cpus) in [
            (96, Some(7.65), 7),
            (4, Some(7.65), 4),
            (96, None, 96),
            (8, Some(8.0), 8),
            (8, Some(0.5), 1),
            (0, None, 1),
            (8, Some(f64::NAN), 1),
            (8, Some(-1.0), 1),
            (8, Some(1e300), 8),
        ] {
            assert_eq!(budget(affinity, quota).cpus, cpus, "{affinity} {quota:?}");
        }
    }

    #[test]
    fn it_says_what_binds() {
        insta::assert_snapshot!(budget(96, Some(7.65)), @"7 CPUs (quota 7.65 of 96, cpu.max)");
        insta::assert_snapshot!(budget(1, Some(7.65)), @"1 CPU (affinity)");
    }
}
