//! The dashboard's queries, asked of a real Prometheus that watches a real operator: each is valid and finds something.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ground::{Folder, free_port, wait_until};
use mailcow_operator::crd::{EmailDomain, EmailMailbox};
use serde_json::Value;

use crate::telemetry::{MIXED, address};
use crate::world::{ADA, DOMAIN, World};

/// A Prometheus that asks one target every second; dropped, it is killed.
struct Prometheus {
    process: Child,
    url: String,
    _folder: Folder,
}

impl Prometheus {
    /// Nothing where the program is missing.
    fn start(target: &str) -> Option<Self> {
        let folder = Folder::new("prometheus", false).unwrap();
        let rules = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("charts/mailcow-operator/files/alerts.yaml");
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [{}]\nscrape_configs:\n- job_name: operator\n  static_configs: [{{targets: ['{target}']}}]\n",
            rules.display()
        );
        folder.write("prometheus.yaml", config).unwrap();
        let listen = format!("127.0.0.1:{}", free_port().unwrap());
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", folder.path().join("prometheus.yaml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={listen}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match process {
            Ok(process) => Some(Self { process, url: format!("http://{listen}"), _folder: folder }),
            Err(error) => {
                eprintln!("skipped, prometheus: {error} (on Debian: apt-get install prometheus)");
                None
            }
        }
    }

    /// How many series a query finds, or what is wrong with it.
    async fn finds(&self, query: &str) -> Result<usize, String> {
        let url = reqwest::Url::parse_with_params(&format!("{}/api/v1/query", self.url), [("query", query)]).unwrap();
        let answer = reqwest::get(url).await.map_err(|error| error.to_string())?;
        let answer: Value = serde_json::from_str(&answer.text().await.unwrap()).map_err(|error| error.to_string())?;
        let found = answer["data"]["result"].as_array().ok_or_else(|| answer.to_string())?;
        // What is no number stands for nothing.
        Ok(found.iter().filter(|series| series["value"][1] != "NaN").count())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Every query of the dashboard by its panel, with Grafana's variables filled in.
fn queries() -> Vec<(String, String)> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("charts/mailcow-operator/files/dashboard.json");
    let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let of_panel = |panel: &Value| {
        let title = panel["title"].as_str().unwrap().to_owned();
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        targets.into_iter().map(move |target| {
            let query = target["expr"].as_str().unwrap();
            (title.clone(), query.replace("$job", "operator").replace("$__rate_interval", "15s"))
        })
    };
    // The worker of task delivery, which is not running here, has its own figures; `tests/delivery` reads them.
    let is_workers = |query: &(String, String)| query.1.contains("mailcow_operator_intake_");
    let queries = dashboard["panels"].as_array().unwrap().iter().flat_map(of_panel);
    queries.filter(|query| !is_workers(query)).collect()
}

#[tokio::test]
async fn every_query_of_the_dashboard_finds_something() {
    let mut world = World::without_mailcow("dashboard").await;
    world.connect().await;
    world.start_operator(&["--resync", "2s", "--poll-interval", "1s"]);
    let Some(prometheus) = Prometheus::start(&address(&world).await) else { return };
    world.apply(&format!("{DOMAIN}{ADA}")).await;
    world.ready::<EmailMailbox>("ada").await;
    world.ready::<EmailDomain>("example").await;
    let watched = async || match prometheus.finds("mailcow_operator_objects{state='Ready'} == 1").await {
        Ok(0) => Err("no metrics yet".to_owned()),
        other => other,
    };
    wait_until(Duration::from_secs(30), "Prometheus to know the operator", watched).await.unwrap();
    // Only what happens while somebody watches has a rate.
    world.apply(MIXED).await;
    let queries = queries();
    assert!(queries.len() > 20, "{}", queries.len());
    for (panel, query) in &queries {
        wait_until(Duration::from_secs(30), &format!("{panel}: {query}"), async || {
            match prometheus.finds(query).await {
                Ok(0) => Err("it finds nothing".to_owned()),
                other => other,
            }
        })
        .await
        .unwrap();
    }
    let pending = "count(ALERTS{alertstate='pending', alertname='EmailObjectsStalled'})";
    let evaluated = async || match prometheus.finds(pending).await {
        Ok(1) => Ok(()),
        other => Err(format!("{other:?}")),
    };
    wait_until(Duration::from_secs(30), "the rules to be evaluated", evaluated).await.unwrap();
}
