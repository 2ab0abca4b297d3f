//! Commands as people copy them from the pages, one after the other, by a shell.

use ground::Folder;
use tokio::process::Command;

#[path = "../pages/mod.rs"]
mod commands;

use crate::world::World;

/// Whatever namespace a page names is the test's own.
const KUBECTL: &str = r#"kubectl() { if [ "$1" = -n ]; then shift 2; fi; command kubectl -n "$NS" "$@"; }"#;

/// The command of a page that begins so.
fn command(page: &str, start: &str) -> String {
    let path = format!("{}/{page}", env!("CARGO_MANIFEST_DIR"));
    let all = commands::commands(&std::fs::read_to_string(path).unwrap());
    all.into_iter().find(|command| command.starts_with(start)).unwrap_or_else(|| panic!("{page}: no {start}"))
}

/// Runs a command where the repository's files and the key are; it has to succeed.
async fn run(world: &World, folder: &Folder, line: &str) -> String {
    let binaries = ground::kubernetes().await.unwrap();
    let mut shell = Command::new("bash");
    shell
        .args(["-euo", "pipefail", "-c", &format!("PATH=$BINARIES:$PATH\n{KUBECTL}\n{line}")])
        .current_dir(folder.path());
    shell.env("BINARIES", binaries).env("NS", &world.namespace).env("KUBECONFIG", world.plane.admin_kubeconfig());
    let output = shell.output().await.unwrap();
    let (said, complaint) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{line}\n{said}{complaint}\n{}", world.logs());
    said.into_owned()
}

/// Lines of a zone, from type, verdict, name and value as the page's command prints them.
fn zone(printed: &str) -> String {
    let line = |line: &str| {
        let columns: Vec<&str> = line.split('\t').collect();
        let [kind, _, name, value] = columns[..] else { panic!("{line}") };
        format!("{name}. {} {value}\n", if kind == "MX" { "MX" } else { "TXT" })
    };
    printed.lines().map(line).collect()
}

#[tokio::test]
async fn the_commands_of_the_pages_do_what_the_pages_say() {
    let world = World::new("pages").await;
    world.dns.zone("example.com", "").unwrap();
    let folder = Folder::new("pages", false).unwrap();
    for name in ["examples", "crds"] {
        let there = format!("{}/{name}", env!("CARGO_MANIFEST_DIR"));
        std::os::unix::fs::symlink(there, folder.path().join(name)).unwrap();
    }
    std::fs::write(folder.path().join("api-key"), "not-used").unwrap();
    for (page, start) in commands::IN_ORDER {
        let said = run(&world, &folder, &command(page, start)).await;
        assert!(!said.trim().is_empty(), "{page}: {start} says nothing");
        if said.lines().count() == 4 && said.starts_with("MX\tMissing") {
            world.dns.zone("example.com", &zone(&said)).unwrap();
        }
    }
}
