//! The program under test: its log, its memory, its end.

use std::path::Path;
use std::time::Duration;

use ground::{Folder, Operator};

const SOON: Duration = Duration::from_secs(10);

fn shell(script: &str, env: &[(&str, &str)]) -> ground::Result<Operator> {
    Operator::start(Path::new("/bin/sh"), &["-c", script], env)
}

#[tokio::test]
async fn both_streams_are_in_the_log() {
    let operator = shell("echo $GREETING; echo there >&2; sleep 60", &[("GREETING", "hello")]).unwrap();
    assert_eq!(operator.logged("hello", SOON).await.unwrap(), "hello");
    operator.logged("there", SOON).await.unwrap();
}

#[tokio::test]
async fn a_line_that_never_comes_is_an_error_with_what_came() {
    let operator = shell("echo something; sleep 60", &[]).unwrap();
    operator.logged("something", SOON).await.unwrap();
    let error = operator.logged("else", Duration::from_millis(200)).await.unwrap_err().to_string();
    assert!(error.contains("\"else\"") && error.ends_with("\nsomething"), "{error}");
}

#[tokio::test]
async fn stop_is_polite_and_waits() {
    let mut operator = shell("trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.05; done", &[]).unwrap();
    operator.logged("up", SOON).await.unwrap();
    assert!(operator.exit_status().unwrap().is_none());
    assert_eq!(operator.stop(SOON).await.unwrap().code(), Some(3));
    operator.logged("bye", SOON).await.unwrap();
    assert_eq!(operator.stop(SOON).await.unwrap().code(), Some(3), "stopping twice is no error");
}

#[tokio::test]
async fn stop_says_so_when_it_is_ignored() {
    let mut operator = shell("trap '' TERM; echo up; while :; do sleep 0.05; done", &[]).unwrap();
    operator.logged("up", SOON).await.unwrap();
    let error = operator.stop(Duration::from_millis(300)).await.unwrap_err().to_string();
    assert!(error.contains("it still runs"), "{error}");
    operator.kill();
    assert!(operator.exit_status().unwrap().is_some());
}

#[tokio::test]
async fn a_file_has_the_log_as_well() {
    let folder = Folder::new("operator-log", false).unwrap();
    let file = folder.path().join("operator.log");
    let args = ["-c", "echo kept; sleep 60"];
    let operator = Operator::start_logging_to(Some(&file), Path::new("/bin/sh"), &args, &[]).unwrap();
    operator.logged("kept", SOON).await.unwrap();
    assert!(operator.rss_kib().unwrap() > 100);
    assert!((1..operator.rss_kib().unwrap()).contains(&operator.private_kib().unwrap()));
    drop(operator);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "kept\n");
}
