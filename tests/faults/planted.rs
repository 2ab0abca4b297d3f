//! The oracles judge builds of the operator with planted faults: each has to be found. The sources are copied, changed in
//! the places below, and built once; an environment variable says which fault such a program has. The operator itself has
//! no switch for that.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream};

use crate::campaign::{self, Outcome};
use crate::churn;
use crate::ledger::Oracle;
use crate::schedule::{Act, Fault, Place, Resync, Schedule, When};
use crate::story;
use crate::world;

/// A fault in the operator, and what has to be found of it.
struct Plant {
    name: &'static str,
    trial: Trial,
    oracle: Oracle,
    /// A part of the alarm.
    finds: &'static str,
}

/// What happens to the operator meanwhile.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trial {
    /// A story, with a resync as often as this, in which so many writes to the API server fail from the first on.
    Story(&'static str, Resync, u32),
    Churn,
}

const PLANTS: [Plant; 12] = [
    Plant {
        name: "never-retries",
        trial: Trial::Story("calm", Resync::Never, 12),
        oracle: Oracle::End,
        finds: "at rest",
    },
    Plant {
        name: "keeps-an-old-password",
        trial: Trial::Story("passwords", Resync::Never, 0),
        oracle: Oracle::End,
        finds: "has not the password of the Secret",
    },
    Plant {
        name: "repeats-statuses",
        trial: Trial::Story("calm", Resync::Fast, 0),
        oracle: Oracle::Stays,
        finds: "PATCH emailmailboxes/ada status",
    },
    Plant {
        name: "forgets-a-field",
        trial: Trial::Story("everything", Resync::Never, 0),
        oracle: Oracle::Never,
        finds: "EmailAlias {0}/sales is told Ready=True: goto",
    },
    Plant {
        name: "deletes-what-is-retained",
        trial: Trial::Story("everything", Resync::Never, 0),
        oracle: Oracle::Never,
        finds: "EmailAlias info@example.com was deleted on Mailcow, which no policy allows",
    },
    Plant {
        name: "adopts-against-the-policy",
        trial: Trial::Story("adoption", Resync::Never, 0),
        oracle: Oracle::Never,
        finds: "was adopted under adoptionPolicy: Never",
    },
    Plant {
        name: "sets-passwords-again",
        trial: Trial::Story("passwords", Resync::Fast, 0),
        oracle: Oracle::Never,
        finds: "was set twice without a change",
    },
    Plant {
        name: "leaves-scripts",
        trial: Trial::Story("rules", Resync::Never, 0),
        oracle: Oracle::Never,
        finds: "no rule asks for the forward",
    },
    Plant {
        name: "panics",
        trial: Trial::Story("calm", Resync::Never, 12),
        oracle: Oracle::Healthy,
        finds: "panicked at",
    },
    Plant {
        name: "loops",
        trial: Trial::Story("calm", Resync::Never, 0),
        oracle: Oracle::Healthy,
        finds: "mailcow 0: edit/mailbox fails again and again",
    },
    Plant { name: "leaks-memory", trial: Trial::Churn, oracle: Oracle::Healthy, finds: "bytes stay of each object" },
    Plant { name: "leaks-tasks", trial: Trial::Churn, oracle: Oracle::Healthy, finds: "tasks grow" },
];

/// Where faults are planted.
struct Change {
    file: &'static str,
    /// What stands there once.
    from: &'static str,
    /// What stands there instead.
    to: &'static str,
}

const CHANGES: [Change; 14] = [
    Change {
        file: "src/controller/driver/queue.rs",
        from: "Ok((next, Outcome::Waiting(_))) =>",
        to: "Ok(_) if crate::planted(\"loops\") => (Action::requeue(Duration::from_millis(100)), Priority::Low),\n                Ok((next, Outcome::Waiting(_))) =>",
    },
    Change {
        file: "src/controller/driver/queue.rs",
        from: "Err(_) => (after_failure(",
        to: "Err(_) if crate::planted(\"panics\") => panic!(\"planted\"),\n                Err(_) if crate::planted(\"never-retries\") => (Action::Requeue(ctx.settings.resync), Priority::Low),\n                Err(_) => (after_failure(",
    },
    Change {
        file: "src/controller/driver/queue.rs",
        from: "    let (next, priority) = match ctx.requests",
        to: "    if crate::planted(\"leaks-memory\") {\n        std::mem::forget(vec![1_u8; 8192]);\n    }\n    if crate::planted(\"leaks-tasks\") {\n        tokio::spawn(std::future::pending::<()>());\n    }\n    let (next, priority) = match ctx.requests",
    },
    Change {
        file: "src/kubernetes/writer.rs",
        from: "if before == after && !is_new && !is_doubted(after) {",
        to: "if before == after && !is_new && !is_doubted(after) && !crate::planted(\"repeats-statuses\") {",
    },
    Change {
        file: "src/kubernetes/writer.rs",
        from: "if before == after && !is_doubted(after) {",
        to: "if before == after && !is_doubted(after) && !crate::planted(\"repeats-statuses\") {",
    },
    Change {
        file: "src/plan/alias.rs",
        from: ".then(|| want.goto.clone());",
        to: ".then(|| want.goto.clone()).filter(|_| !crate::planted(\"forgets-a-field\"));",
    },
    Change {
        file: "src/plan/alias.rs",
        from: "        RemovalPolicy::Retain => {\n",
        to: "        RemovalPolicy::Retain if !crate::planted(\"deletes-what-is-retained\") => {\n",
    },
    Change { file: "src/plan/alias.rs", from: "        RemovalPolicy::Delete => Change", to: "        _ => Change" },
    Change {
        file: "src/plan/ownership.rs",
        from: "        (None, AdoptionPolicy::Never) =>",
        to: "        (None, AdoptionPolicy::Never) if crate::planted(\"adopts-against-the-policy\") => Ok(Claim::Adopt),\n        (None, AdoptionPolicy::Never) =>",
    },
    Change {
        file: "src/controller/mailbox/mod.rs",
        from: "    let is_set = needs_none && is_password_set(object, before, ctx, seen);\n",
        to: "    let is_set = needs_none && is_password_set(object, before, ctx, seen) && !crate::planted(\"sets-passwords-again\") && !crate::planted(\"loops\");\n",
    },
    Change {
        file: "src/controller/mailbox/mod.rs",
        from: "    !is_set\n",
        to: "    !is_set || crate::planted(\"sets-passwords-again\") || crate::planted(\"loops\")\n",
    },
    Change {
        file: "src/controller/mailbox/mod.rs",
        from: "        (_, Some(set)) if is_same(set) => true,\n",
        to: "        (_, Some(set)) if is_same(set) || crate::planted(\"keeps-an-old-password\") => true,\n",
    },
    Change {
        file: "src/controller/mailbox/mod.rs",
        from: "        let mut shown = server.mailbox(&want.address, Age::Now).await?;\n",
        to: "        if crate::planted(\"sets-passwords-again\") {\n            tokio::time::sleep(std::time::Duration::from_millis(100)).await;\n        }\n        let mut shown = server.mailbox(&want.address, Age::Now).await?;\n",
    },
    Change {
        file: "src/plan/filter.rs",
        from: "    let gone = ours.map(",
        to: "    let gone = ours.filter(|_| !crate::planted(\"leaves-scripts\")).map(",
    },
];

/// Which planted fault this program has.
const SWITCH: &str = "\npub(crate) fn planted(name: &str) -> bool {\n    std::env::var(\"PLANTED\").is_ok_and(|planted| planted == name)\n}\n";

/// A rest that never comes is waited for no longer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Churn goes on for as many rounds as it needs to judge them.
const AT_LEAST: Duration = Duration::ZERO;
/// So many trials go on at once on each core.
const AT_ONCE: usize = 2;
/// The name of no plant.
const NONE: &str = "none";

fn sources() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The text of a source file with its faults planted.
fn planted(file: &str) -> String {
    let mut text = std::fs::read_to_string(sources().join(file)).unwrap();
    for Change { from, to, .. } in CHANGES.iter().filter(|change| change.file == file) {
        assert_eq!(text.matches(from).count(), 1, "{file} has to have once: {from}");
        text = text.replace(from, to);
    }
    text
}

fn succeed(command: &mut Command) {
    let status = command.status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}

/// Builds the operator with all of them; gives the folder and the program.
fn build() -> (PathBuf, PathBuf) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("planted");
    let copy = folder.join("sources");
    drop(std::fs::remove_dir_all(&copy));
    std::fs::create_dir_all(&copy).unwrap();
    for entry in std::fs::read_dir(sources()).unwrap() {
        let name = entry.unwrap().file_name();
        if !name.to_string_lossy().starts_with('.') && name != "target" {
            succeed(Command::new("cp").arg("-Rp").arg(sources().join(name)).arg(&copy));
        }
    }
    for Change { file, .. } in &CHANGES {
        std::fs::write(copy.join(file), planted(file)).unwrap();
    }
    let lib = std::fs::read_to_string(copy.join("src/lib.rs")).unwrap();
    std::fs::write(copy.join("src/lib.rs"), lib + SWITCH).unwrap();
    let target = folder.join("target");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(&copy).args(["build", "--locked", "--bin", "mailcow-operator", "--target-dir"]).arg(&target);
    succeed(cargo.env_remove("CARGO_TARGET_DIR"));
    (folder, target.join("debug/mailcow-operator"))
}

/// A program with one of them, or with none.
fn program(folder: &Path, built: &Path, name: &str) -> String {
    let file = folder.join(name);
    std::fs::write(&file, format!("#!/bin/sh\nPLANTED={name} exec '{}' \"$@\"\n", built.display())).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    file.display().to_string()
}

/// A program in a trial, and what has to be found of it.
struct Run<'a> {
    name: &'a str,
    program: String,
    trial: Trial,
    /// How long a rest is waited for.
    patience: Duration,
    /// None where nothing is planted.
    finds: Option<(Oracle, &'a str)>,
}

impl Run<'_> {
    /// Runs it, prints its line of the table, and tells whether it came as it has to.
    async fn judged(self) -> bool {
        let started = Instant::now();
        let alarms = self.outcome().await.alarms;
        let is_right = match self.finds {
            Some((oracle, text)) => alarms.iter().any(|alarm| alarm.oracle == oracle && alarm.text.contains(text)),
            None => alarms.is_empty(),
        };
        let oracle = self.finds.map_or_else(|| "none".to_owned(), |(oracle, _)| format!("{oracle:?}"));
        println!("| {} | {oracle} | {is_right} | {} s |", self.name, started.elapsed().as_secs());
        if !is_right {
            println!("{alarms:#?}");
        }
        is_right
    }

    async fn outcome(&self) -> Outcome {
        let Trial::Story(name, resync, failing) = self.trial else {
            return churn::run(&self.program, AT_LEAST).await.0;
        };
        let story = story::named(name).unwrap();
        let fail = |nth| Fault { place: Place::KubeWrite, nth, act: Act::Fail(When::Before) };
        let schedule = Schedule { faults: (1..=failing).map(fail).collect(), ..Schedule::quiet(name, resync) };
        let reference = campaign::reference(&story, resync).await;
        assert!(reference.alarms.is_empty(), "{:#?}", reference.alarms);
        campaign::run_against(&story, &schedule, reference.rests.clone(), (&self.program, self.patience)).await
    }
}

/// Each of them, or those whose name begins so, has to be found, and nothing where none is planted.
pub(crate) async fn all_found(only: &str) {
    let chosen: Vec<&Plant> = PLANTS.iter().filter(|plant| plant.name.starts_with(only)).collect();
    assert!(
        !chosen.is_empty(),
        "no planted fault is called {only}; there are: {}",
        PLANTS.map(|its| its.name).join(", ")
    );
    let (folder, built) = tokio::task::spawn_blocking(build).await.unwrap();
    let mut trials: Vec<Trial> = Vec::new();
    for plant in &chosen {
        if !trials.contains(&plant.trial) {
            trials.push(plant.trial);
        }
    }
    let clean = program(&folder, &built, NONE);
    let controls = trials.iter().map(|trial| Run {
        name: NONE,
        program: clean.clone(),
        trial: *trial,
        patience: world::PATIENCE,
        finds: None,
    });
    let plants = chosen.iter().map(|plant| Run {
        name: plant.name,
        program: program(&folder, &built, plant.name),
        trial: plant.trial,
        patience: PATIENCE,
        finds: Some((plant.oracle, plant.finds)),
    });
    // What counts memory and tasks runs by itself.
    let (beside, alone): (Vec<Run>, Vec<Run>) = controls.chain(plants).partition(|run| run.trial != Trial::Churn);
    println!("| planted fault | oracle | as it has to be | time |\n|---|---|---|---|");
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut right: Vec<bool> = stream::iter(beside).map(Run::judged).buffer_unordered(AT_ONCE * cores).collect().await;
    for one in alone {
        right.push(one.judged().await);
    }
    assert!(right.into_iter().all(|is_right| is_right), "see the table");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_its_place() {
        for Change { file, to, .. } in &CHANGES {
            assert!(planted(file).contains(to));
        }
        for plant in &PLANTS {
            let switch = format!("planted(\"{}\")", plant.name);
            let is_planted = CHANGES.iter().any(|change| change.to.contains(&switch));
            assert!(is_planted, "{}", plant.name);
        }
    }
}
