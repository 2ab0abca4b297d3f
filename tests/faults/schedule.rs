//! What goes wrong and when: a schedule, made from a seed, that prints and reads as text.
//!
//! ```text
//! story everything
//! resync fast
//! seed 17
//! kube write 4: fail after
//! kube watch emailmailboxes 2: hold 800ms
//! mailcow write 3: kill after
//! ```
//!
//! One fault a line: where it strikes, at the how-many-eth time since the story began, and what happens then.

use std::fmt;
use std::str::FromStr;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

/// The kinds whose watches and lists can be disturbed, as the API server's paths name them.
pub(crate) const KINDS: [&str; 6] =
    ["emaildomains", "emailmailboxes", "emailaliases", "emailforwardingrules", "secrets", "namespaces"];

/// A story and what goes wrong in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    /// The name of the story.
    pub(crate) story: String,
    /// How often the operator looks again by itself.
    pub(crate) resync: Resync,
    /// What it was made from; kept so that a report can name it.
    pub(crate) seed: u64,
    pub(crate) faults: Vec<Fault>,
}

/// How often the operator looks again by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Resync {
    /// Every few seconds: what an event missed, the next resync finds.
    Fast,
    /// Never within a story: everything has to come from events.
    Never,
}

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) place: Place,
    /// At the how-many-eth time, from 1.
    pub(crate) nth: u32,
    pub(crate) act: Act,
}

/// Where it goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Writes to the API server, but for events and Leases.
    KubeWrite,
    /// Events of the watches of a kind.
    KubeWatch(&'static str),
    /// Lists of a kind.
    KubeList(&'static str),
    /// Writes to Mailcow, of all servers.
    MailcowWrite,
    /// Reads of Mailcow, of all servers.
    MailcowRead,
}

/// Whether a request still takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    Before,
    After,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// The server answers with an error.
    Fail(When),
    /// The connection is cut.
    Cut(When),
    /// The answer is 200 and empty.
    Empty(When),
    /// The operator is killed (SIGKILL) and started again.
    Kill(When),
    /// The operator stands still (SIGSTOP) for so many milliseconds.
    Stop(u32),
    /// The API server answers nobody for so many milliseconds.
    Silence(u32),
    /// The request, or the watch from this event on, is held back for so many milliseconds.
    Hold(u32),
    /// Another has changed the object: 409.
    Conflict,
    /// The database gives up a deadlock.
    Deadlock,
    /// Half of the list is missing.
    Half,
    /// The event is lost with all that follow, until the watch ends with 410 half a second later.
    Drop,
    /// The event comes twice.
    Repeat,
    /// The watch ends before the event.
    Close,
    /// The watch ends with 410 instead of the event.
    Gone,
    /// An older list is served, and the watch goes on from there.
    Stale,
    /// For so many milliseconds the API server knows nothing newer than the first list. A watch ends then, with 410; a
    /// list that is asked for is that one, also if the answers before it were newer.
    Lag(u32),
}

const BOTH: [When; 2] = [When::Before, When::After];

impl Place {
    /// Whether an act can happen there.
    fn takes(self, act: Act) -> bool {
        use Act::{
            Close, Conflict, Cut, Deadlock, Drop, Empty, Fail, Gone, Half, Hold, Kill, Lag, Repeat, Silence, Stale,
            Stop,
        };
        match self {
            Self::KubeWrite => matches!(act, Fail(_) | Cut(_) | Kill(_) | Stop(_) | Silence(_) | Hold(_) | Conflict),
            Self::KubeWatch(_) => {
                matches!(
                    act,
                    Drop | Repeat | Close | Gone | Lag(_) | Hold(_) | Silence(_) | Stop(_) | Kill(When::After)
                )
            }
            Self::KubeList(_) => matches!(act, Stale | Lag(_) | Fail(When::Before) | Hold(_)),
            Self::MailcowWrite => {
                matches!(act, Fail(_) | Cut(_) | Empty(_) | Kill(_) | Stop(_) | Hold(_) | Deadlock)
            }
            Self::MailcowRead => {
                matches!(act, Fail(When::Before) | Cut(_) | Empty(When::Before) | Hold(_) | Half | Stop(_))
            }
        }
    }
}

impl Schedule {
    /// The story without faults.
    pub(crate) fn quiet(story: &str, resync: Resync) -> Self {
        Self { story: story.to_owned(), resync, seed: 0, faults: Vec::new() }
    }

    /// The story with one fault.
    pub(crate) fn one(story: &str, resync: Resync, fault: Fault) -> Self {
        Self { faults: vec![fault], ..Self::quiet(story, resync) }
    }

    /// A schedule of one of the stories, the same for the same seed.
    pub(crate) fn random(stories: &[&str], seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let story = stories.choose(&mut rng).copied().unwrap_or_default().to_owned();
        let resync = if rng.random_bool(0.5) { Resync::Fast } else { Resync::Never };
        let faults = (0..rng.random_range(1..=6)).map(|_| random_fault(&mut rng)).collect();
        Self { story, resync, seed, faults }
    }

    /// This schedule without one of its faults, for each of them.
    pub(crate) fn shorter(&self) -> impl Iterator<Item = Self> + '_ {
        (0..self.faults.len()).map(|leave| {
            let mut shorter = self.clone();
            shorter.faults.remove(leave);
            shorter
        })
    }

    /// The name of a file that keeps it.
    pub(crate) fn file_name(&self) -> String {
        if self.seed > 0 {
            return format!("{}-{:x}.txt", self.story, self.seed);
        }
        let faults: Vec<String> = self.faults.iter().map(ToString::to_string).collect();
        let word = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let faults: String = faults.join("-").replace(": ", "-").chars().map(word).collect();
        format!("{}-{faults}.txt", self.story)
    }
}

fn random_fault(rng: &mut StdRng) -> Fault {
    let kind = KINDS.choose(rng).copied().unwrap_or(KINDS[0]);
    let place = match rng.random_range(0..10) {
        0..=2 => Place::KubeWrite,
        3..=4 => Place::KubeWatch(kind),
        5 => Place::KubeList(kind),
        6..=8 => Place::MailcowWrite,
        _ => Place::MailcowRead,
    };
    // Early ones are more likely: what comes late in a short story never happens.
    let most = match place {
        Place::KubeList(_) => 4,
        Place::MailcowRead | Place::KubeWrite => 40,
        _ => 20,
    };
    let most = rng.random_range(1..=most);
    let nth = rng.random_range(1..=most);
    let when = BOTH.choose(rng).copied().unwrap_or(When::Before);
    let mut time = || rng.random_range(1..=30) * 100;
    let (short, long) = (time(), time());
    let acts = [
        Act::Fail(when),
        Act::Cut(when),
        Act::Empty(when),
        Act::Kill(when),
        Act::Stop(long),
        Act::Silence(long),
        Act::Hold(short),
        Act::Conflict,
        Act::Deadlock,
        Act::Half,
        Act::Drop,
        Act::Repeat,
        Act::Close,
        Act::Gone,
        Act::Stale,
        Act::Lag(5 * long),
    ];
    let possible: Vec<Act> = acts.into_iter().filter(|act| place.takes(*act)).collect();
    let act = possible.choose(rng).copied().unwrap_or(Act::Hold(short));
    Fault { place, nth, act }
}

impl fmt::Display for Resync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fast => "fast",
            Self::Never => "never",
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KubeWrite => f.write_str("kube write"),
            Self::KubeWatch(kind) => write!(f, "kube watch {kind}"),
            Self::KubeList(kind) => write!(f, "kube list {kind}"),
            Self::MailcowWrite => f.write_str("mailcow write"),
            Self::MailcowRead => f.write_str("mailcow read"),
        }
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Before => "before",
            Self::After => "after",
        })
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fail(when) => write!(f, "fail {when}"),
            Self::Cut(when) => write!(f, "cut {when}"),
            Self::Empty(when) => write!(f, "empty {when}"),
            Self::Kill(when) => write!(f, "kill {when}"),
            Self::Stop(ms) => write!(f, "stop {ms}ms"),
            Self::Silence(ms) => write!(f, "silence {ms}ms"),
            Self::Hold(ms) => write!(f, "hold {ms}ms"),
            Self::Conflict => f.write_str("conflict"),
            Self::Deadlock => f.write_str("deadlock"),
            Self::Half => f.write_str("half"),
            Self::Drop => f.write_str("drop"),
            Self::Repeat => f.write_str("repeat"),
            Self::Close => f.write_str("close"),
            Self::Gone => f.write_str("gone"),
            Self::Stale => f.write_str("stale"),
            Self::Lag(ms) => write!(f, "lag {ms}ms"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.place, self.nth, self.act)
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "story {}\nresync {}\nseed {}", self.story, self.resync, self.seed)?;
        self.faults.iter().try_for_each(|fault| writeln!(f, "{fault}"))
    }
}

impl FromStr for Schedule {
    type Err = String;

    /// Blank lines and lines that begin with `#` say nothing.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut schedule = Self::quiet("", Resync::Fast);
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            match line.split_once(' ') {
                Some(("story", name)) => name.clone_into(&mut schedule.story),
                Some(("resync", "fast")) => schedule.resync = Resync::Fast,
                Some(("resync", "never")) => schedule.resync = Resync::Never,
                Some(("seed", seed)) => schedule.seed = seed.parse().map_err(|_| format!("{seed:?} is no seed"))?,
                _ => schedule.faults.push(line.parse()?),
            }
        }
        if schedule.story.is_empty() { Err("no story is named".to_owned()) } else { Ok(schedule) }
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let bad = || {
            format!("{line:?} is no fault: write where, at which time, and what, as in \"kube write 3: kill after\"")
        };
        let (head, act) = line.split_once(": ").ok_or_else(bad)?;
        let (place, nth) = head.rsplit_once(' ').ok_or_else(bad)?;
        let nth = nth.parse().ok().filter(|nth| *nth > 0).ok_or_else(bad)?;
        let kind = |name: &str| KINDS.iter().find(|kind| **kind == name).copied().ok_or_else(bad);
        let place = match place.split(' ').collect::<Vec<_>>()[..] {
            ["kube", "write"] => Place::KubeWrite,
            ["kube", "watch", name] => Place::KubeWatch(kind(name)?),
            ["kube", "list", name] => Place::KubeList(kind(name)?),
            ["mailcow", "write"] => Place::MailcowWrite,
            ["mailcow", "read"] => Place::MailcowRead,
            _ => return Err(bad()),
        };
        let act: Act = act.parse().map_err(|()| bad())?;
        if place.takes(act) { Ok(Self { place, nth, act }) } else { Err(format!("{act} can't happen at a {place}")) }
    }
}

impl FromStr for Act {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let when = |word: &str| BOTH.into_iter().find(|when| when.to_string() == word).ok_or(());
        let time = |word: &str| word.strip_suffix("ms").and_then(|ms| ms.parse().ok()).ok_or(());
        match text.split_once(' ') {
            Some(("fail", word)) => Ok(Self::Fail(when(word)?)),
            Some(("cut", word)) => Ok(Self::Cut(when(word)?)),
            Some(("empty", word)) => Ok(Self::Empty(when(word)?)),
            Some(("kill", word)) => Ok(Self::Kill(when(word)?)),
            Some(("stop", word)) => Ok(Self::Stop(time(word)?)),
            Some(("silence", word)) => Ok(Self::Silence(time(word)?)),
            Some(("hold", word)) => Ok(Self::Hold(time(word)?)),
            Some(("lag", word)) => Ok(Self::Lag(time(word)?)),
            Some(_) => Err(()),
            None => match text {
                "conflict" => Ok(Self::Conflict),
                "deadlock" => Ok(Self::Deadlock),
                "half" => Ok(Self::Half),
                "drop" => Ok(Self::Drop),
                "repeat" => Ok(Self::Repeat),
                "close" => Ok(Self::Close),
                "gone" => Ok(Self::Gone),
                "stale" => Ok(Self::Stale),
                _ => Err(()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_is_the_same_after_it_was_printed_and_read() {
        for seed in 0..5000 {
            let schedule = Schedule::random(&["one", "two"], seed);
            assert_eq!(schedule.to_string().parse::<Schedule>(), Ok(schedule));
        }
    }

    #[test]
    fn a_seed_makes_one_schedule_and_seeds_together_make_every_fault() {
        assert_eq!(Schedule::random(&["one"], 7), Schedule::random(&["one"], 7));
        let mut lines: Vec<String> = (0..5000)
            .flat_map(|seed| Schedule::random(&["one"], seed).faults)
            .map(|fault| {
                let act = fault.act.to_string();
                format!("{}: {}", fault.place, act.split(|c: char| c.is_ascii_digit()).next().unwrap_or_default())
            })
            .collect();
        lines.sort();
        lines.dedup();
        // Ten at writes to the API server, nine at each of six watches, four at each of six lists, eleven at writes
        // to Mailcow, seven at reads of it.
        assert_eq!(lines.len(), 10 + 9 * 6 + 4 * 6 + 11 + 7, "{lines:#?}");
    }

    #[test]
    fn what_is_no_fault_is_refused() {
        for bad in
            ["kube write 0: kill after", "kube write 1: half", "kube watch pods 1: drop", "kube write: drop", "x"]
        {
            assert!(bad.parse::<Fault>().is_err(), "{bad}");
        }
    }
}
