//! Several things at once, on threads of their own.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use diagnostic::{Error, Result};

/// Does `work` for every item, for at most `at_once` of them at the same time, in their order. After a failure no further one
/// is begun; of several failures the one of the first item is told.
pub(crate) fn for_each<T: Sync>(items: &[T], at_once: usize, work: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
    let next = AtomicUsize::new(0);
    let work_off = || -> Result<(), (usize, Error)> {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(at) else { return Ok(()) };
            work(item).map_err(|error| {
                next.store(items.len(), Ordering::Relaxed);
                (at, error)
            })?;
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..at_once.min(items.len())).map(|_| scope.spawn(work_off)).collect();
        let done = workers.into_iter().map(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic)));
        done.filter_map(Result::err).min_by_key(|(at, _)| *at).map_or(Ok(()), |(_, error)| Err(error))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use diagnostic::codes;

    use super::*;

    #[test]
    fn everything_is_done_once() {
        for at_once in [1, 3, 200] {
            let done: Vec<_> = (0..100).map(|_| AtomicUsize::new(0)).collect();
            for_each(&done, at_once, |count| {
                count.fetch_add(1, Ordering::Relaxed);
                Ok(())
            })
            .unwrap();
            assert!(done.into_iter().all(|count| count.into_inner() == 1), "{at_once}");
        }
        for_each(&[], 4, |_: &()| unreachable!()).unwrap();
    }

    #[test]
    fn the_first_failure_is_told_and_nothing_is_begun_after_it() {
        // Items 1 and 2 fail at the same time.
        let together = Barrier::new(2);
        let begun = AtomicUsize::new(0);
        let error = for_each(&[0, 1, 2, 3, 4, 5], 2, |item| {
            begun.fetch_add(1, Ordering::Relaxed);
            if *item == 0 {
                return Ok(());
            }
            together.wait();
            Err(Error::new(codes::IO, format!("item {item}")))
        })
        .unwrap_err();
        assert_eq!(error.to_string(), "item 1");
        assert_eq!(begun.into_inner(), 3);
    }
}
