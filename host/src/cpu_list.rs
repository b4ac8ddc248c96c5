//! The kernel's notation for sets of CPUs and NUMA nodes: `0-3,8,10-11`.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// One more than the largest CPU number that is believed: the kernel's own limit (`NR_CPUS`) is 8192 on x86-64. It
/// bounds what a damaged file such as `0-4294967295` can cost.
pub const MAX_CPUS: u32 = 8192;

/// A set of CPU (or NUMA node) numbers below [`MAX_CPUS`].
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct CpuList(BTreeSet<u32>);

impl CpuList {
    /// Reads the kernel's list notation; surrounding white space is ignored and an empty text is the empty set.
    ///
    /// `None` when the text is anything else: signs, spaces within, a range that runs backwards, or a number of
    /// [`MAX_CPUS`] or more. Half a list is never returned.
    pub fn parse(text: &str) -> Option<CpuList> {
        let text = text.trim();
        let mut cpus = BTreeSet::new();
        if text.is_empty() {
            return Some(CpuList(cpus));
        }
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return None;
            }
            cpus.extend(first..=last);
        }
        Some(CpuList(cpus))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `cpu` is one of them.
    pub fn contains(&self, cpu: u32) -> bool {
        self.0.contains(&cpu)
    }

    /// Whether the two have a CPU in common.
    pub fn intersects(&self, other: &CpuList) -> bool {
        !self.0.is_disjoint(&other.0)
    }

    /// What the two have in common.
    pub fn intersection(&self, other: &CpuList) -> CpuList {
        CpuList(self.0.intersection(&other.0).copied().collect())
    }

    /// What either of the two has.
    pub fn union(&self, other: &CpuList) -> CpuList {
        CpuList(self.0.union(&other.0).copied().collect())
    }

    /// The lowest of them.
    pub fn first(&self) -> Option<u32> {
        self.0.first().copied()
    }

    /// The numbers, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().copied()
    }
}

/// Numbers of [`MAX_CPUS`] or more are dropped.
impl FromIterator<u32> for CpuList {
    fn from_iter<I: IntoIterator<Item = u32>>(cpus: I) -> CpuList {
        CpuList(cpus.into_iter().filter(|cpu| *cpu < MAX_CPUS).collect())
    }
}

/// The kernel's notation again.
impl fmt::Display for CpuList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cpus = self.iter().peekable();
        let mut separator = "";
        while let Some(first) = cpus.next() {
            let mut last = first;
            while cpus.next_if_eq(&(last + 1)).is_some() {
                last += 1;
            }
            match last - first {
                0 => write!(f, "{separator}{first}")?,
                _ => write!(f, "{separator}{first}-{last}")?,
            }
            separator = ",";
        }
        Ok(())
    }
}

/// As text in the kernel's notation.
impl Serialize for CpuList {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CpuList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<CpuList, D::Error> {
        let text = String::deserialize(deserializer)?;
        CpuList::parse(&text).ok_or_else(|| de::Error::custom("not a list of CPUs such as `0-3,8`"))
    }
}

/// A plain decimal number below [`MAX_CPUS`]; `u32::from_str` alone would take `+3`.
fn number(text: &str) -> Option<u32> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|cpu| *cpu < MAX_CPUS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cpus(text: &str) -> Option<Vec<u32>> {
        CpuList::parse(text).map(|list| list.iter().collect())
    }

    #[test]
    fn reads_what_the_kernel_writes() {
        assert_eq!(cpus("0-3,8,10-11\n"), Some(vec![0, 1, 2, 3, 8, 10, 11]));
        assert_eq!(cpus("5"), Some(vec![5]));
        assert_eq!(cpus("\n"), Some(vec![]), "offline CPUs of a machine where all are online");
        assert_eq!(cpus("8191"), Some(vec![8191]));
    }

    #[test]
    fn refuses_everything_else_whole() {
        for text in ["0-4294967295", "8192", "3-1", "0-", "-3", "+1", "1,,2", "1,", "a", "0 - 3", "0-3-5", "max", "0,٣"]
        {
            assert_eq!(cpus(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(list in prop::collection::btree_set(0..MAX_CPUS, 0..200)) {
            let list = CpuList(list);
            prop_assert_eq!(CpuList::parse(&list.to_string()), Some(list));
        }

        #[test]
        fn any_text_is_read_or_refused_within_bounds(text in "[0-9,\\-]{0,40}|.{0,40}") {
            if let Some(list) = CpuList::parse(&text) {
                prop_assert!(list.len() <= MAX_CPUS as usize);
                prop_assert_eq!(CpuList::parse(&list.to_string()), Some(list));
            }
        }
    }
}
