//! Servers die and come back, and nothing stays behind when the test dies.

#[cfg(test)]
mod common;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{a_box, boxes, install_boxes};
use ground::{ControlPlane, Operator, Options, wait_until};
use kube::api::PostParams;

const SOON: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_restart_of_api_server_and_etcd_keeps_the_data() {
    let plane = ControlPlane::start(Options::default()).await.unwrap();
    install_boxes(&plane).await;
    let boxes = boxes(plane.admin().await.unwrap(), "default");
    boxes.create(&PostParams::default(), &a_box("kept", 3)).await.unwrap();

    plane.kill_apiserver();
    assert_eq!(plane.pids().api_server, None);
    boxes.get("kept").await.unwrap_err();
    plane.restart_apiserver().await.unwrap();
    wait_until(SOON, "the box to be there", async || boxes.get("kept").await).await.unwrap();

    plane.kill_etcd();
    plane.restart_etcd().await.unwrap();
    let kept = wait_until(SOON, "the box to be there", async || boxes.get("kept").await).await.unwrap();
    assert_eq!(kept.data["spec"]["size"], 3);

    let namespace = plane.namespace("after").await.unwrap();
    plane.service_account_kubeconfig(&namespace, "default").await.expect("the controllers to work again");
}

#[tokio::test]
async fn a_dropped_control_plane_leaves_nothing() {
    let plane = ControlPlane::start(Options::default()).await.unwrap();
    let (folder, pids) = (plane.folder().path().to_owned(), plane.pids());
    assert!(folder.join("admin.kubeconfig").exists());
    drop(plane);
    assert!(!folder.exists());
    for pid in [pids.etcd, pids.api_server, pids.controller_manager] {
        assert!(!runs(&pid.unwrap().to_string()));
    }
}

#[tokio::test]
async fn a_server_that_refuses_its_flags_shows_its_log() {
    let options = Options { api_server_flags: vec!["--no-such-flag".to_owned()], ..Options::default() };
    let error = ControlPlane::start(options).await.unwrap_err().to_string();
    assert!(error.starts_with("kube-apiserver ended") && error.contains("unknown flag: --no-such-flag"), "{error}");
}

/// What a victim writes before its folder and process ids.
const VICTIM: &str = "victim: ";

#[tokio::test]
#[ignore = "the victim of the next test, which starts it"]
async fn a_victim_with_a_control_plane_and_an_operator() {
    let plane = ControlPlane::shared().await.unwrap();
    let operator = Operator::start(Path::new("/bin/sleep"), &["600"], &[]).unwrap();
    let pids = plane.pids();
    let pids = [pids.etcd.unwrap(), pids.api_server.unwrap(), pids.controller_manager.unwrap(), operator.pid()];
    println!("{VICTIM}{} {}", plane.folder().path().display(), pids.map(|pid| pid.to_string()).join(" "));
    tokio::time::sleep(SOON).await;
}

#[tokio::test]
async fn all_end_with_a_parent_that_is_killed() {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_victim_with_a_control_plane_and_an_operator", "--ignored", "--nocapture"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines().map(Result::unwrap);
    let line = lines.find_map(|line| line.split_once(VICTIM).map(|(_, rest)| rest.to_owned())).unwrap();
    let (folder, pids) = line.split_once(' ').unwrap();
    let pids: Vec<_> = pids.split(' ').collect();
    assert_eq!(pids.iter().filter(|pid| runs(pid)).count(), 4);

    victim.kill().unwrap();
    victim.wait().unwrap();
    wait_until(SOON, "the children to end and their folder to go", async || {
        let left: Vec<_> = pids.iter().filter(|pid| runs(pid)).collect();
        let folder_left = Path::new(folder).exists();
        if left.is_empty() && !folder_left { Ok(()) } else { Err(format!("processes {left:?}, folder {folder_left}")) }
    })
    .await
    .unwrap();
}

/// Whether a process is there and no mere zombie.
fn runs(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}
