//! Time as it passes for programs that share this machine with others: while this process waits for a processor, less of
//! it passes. So a limit means the same on an idle machine and on a busy one.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// How often it is measured.
const TICK: Duration = Duration::from_millis(200);
/// More than this between two samples is no time at all: the whole machine, or all of this, stood still.
const LONGEST: Duration = Duration::from_secs(2);
/// So little work in a tick says nothing about how busy the machine is.
const NOISE: Duration = Duration::from_millis(1);

/// How much time had passed at a moment.
struct Sample {
    at: Instant,
    passed: Duration,
    /// How much passes in a second from then on.
    rate: f64,
}

static SAMPLES: Mutex<Vec<Sample>> = Mutex::new(Vec::new());

/// How much time has passed for this process since a moment; none for one that is still to come.
pub(crate) fn elapsed(since: Instant) -> Duration {
    static MEASURED: OnceLock<()> = OnceLock::new();
    MEASURED.get_or_init(|| {
        SAMPLES.lock().unwrap_or_else(PoisonError::into_inner).push(Sample {
            at: Instant::now(),
            passed: Duration::ZERO,
            rate: 1.0,
        });
        drop(std::thread::Builder::new().name("pace".to_owned()).spawn(measure));
    });
    let samples = SAMPLES.lock().unwrap_or_else(PoisonError::into_inner);
    passed(&samples, Instant::now()).saturating_sub(passed(&samples, since))
}

/// The time that had passed at a moment; before the first sample all of it did.
fn passed(samples: &[Sample], moment: Instant) -> Duration {
    let later = samples.partition_point(|sample| sample.at <= moment);
    let Some(sample) = later.checked_sub(1).and_then(|last| samples.get(last)) else { return Duration::ZERO };
    let next = samples.get(later);
    let since = moment.saturating_duration_since(sample.at);
    match next {
        Some(next) => {
            let part = since.as_secs_f64() / next.at.saturating_duration_since(sample.at).as_secs_f64().max(1e-9);
            sample.passed + next.passed.saturating_sub(sample.passed).mul_f64(part.min(1.0))
        }
        None => sample.passed + since.min(LONGEST).mul_f64(sample.rate),
    }
}

fn measure() {
    let mut before = threads();
    loop {
        std::thread::sleep(TICK);
        let now = threads();
        let mut sum = Spent::default();
        for (thread, spent) in now.iter().collect::<std::collections::BTreeMap<_, _>>() {
            let earlier = before.get(thread).copied().unwrap_or_default();
            sum.ran += spent.ran.saturating_sub(earlier.ran);
            sum.waited += spent.waited.saturating_sub(earlier.waited);
        }
        before = now;
        let rate = rate(&sum);
        let mut samples = SAMPLES.lock().unwrap_or_else(PoisonError::into_inner);
        let at = Instant::now();
        let Some(last) = samples.last() else { continue };
        let passed = last.passed + at.saturating_duration_since(last.at).min(LONGEST).mul_f64(rate);
        samples.push(Sample { at, passed, rate });
    }
}

/// How long a thread ran, and how long it was ready to run but had no processor.
#[derive(Clone, Copy, Default)]
struct Spent {
    ran: Duration,
    waited: Duration,
}

/// How much of a second passes, where threads ran and waited for so long together.
fn rate(sum: &Spent) -> f64 {
    (sum.ran + NOISE).as_secs_f64() / (sum.ran + sum.waited + NOISE).as_secs_f64()
}

/// What the system says of each thread of this process; nothing on systems that don't tell.
fn threads() -> HashMap<String, Spent> {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let spent = tasks.filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        let mut figures = text.split_whitespace().map(|figure| figure.parse().map(Duration::from_nanos));
        let (ran, waited) = (figures.next()?.ok()?, figures.next()?.ok()?);
        Some((task.file_name().to_string_lossy().into_owned(), Spent { ran, waited }))
    });
    spent.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_time_passes_for_who_waits_half_of_it() {
        let millis = Duration::from_millis;
        assert!(rate(&Spent { ran: millis(100), waited: millis(0) }) > 0.999);
        let half = rate(&Spent { ran: millis(100), waited: millis(100) });
        assert!((0.49..0.51).contains(&half), "{half}");
        let start = Instant::now();
        let samples = [
            Sample { at: start, passed: millis(0), rate: 1.0 },
            Sample { at: start + millis(200), passed: millis(100), rate: 0.5 },
        ];
        assert_eq!(passed(&samples, start + millis(100)), millis(50));
        assert_eq!(passed(&samples, start + millis(300)), millis(150));
    }

    #[test]
    fn less_time_passes_on_a_machine_that_is_kept_busy() {
        let started = Instant::now();
        assert!(elapsed(started + Duration::from_secs(9)).is_zero());
        let end = started + Duration::from_secs(2);
        let busy = || std::thread::spawn(move || while Instant::now() < end {});
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads: Vec<_> = (0..cores * 4).map(|_| busy()).collect();
        for thread in threads {
            thread.join().unwrap();
        }
        let (real, fair) = (started.elapsed(), elapsed(started));
        assert!(fair < real.mul_f64(0.7), "{fair:?} of {real:?}");
    }
}
