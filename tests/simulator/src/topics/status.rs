//! The state of the server itself.

use crate::json::{Json, list, obj};

/// The release whose behaviour this is.
const VERSION: &str = "2026-07a";

const CONTAINERS: [&str; 18] = [
    "unbound",
    "mysql",
    "redis",
    "clamd",
    "rspamd",
    "php-fpm",
    "sogo",
    "dovecot",
    "postfix",
    "postfix-tlspol",
    "memcached",
    "nginx",
    "acme",
    "netfilter",
    "watchdog",
    "dockerapi",
    "olefy",
    "ofelia",
];

/// `get/status/{which}`; `None` for one that does not exist.
pub(crate) fn get(which: &str) -> Option<Json> {
    match which {
        "version" => Some(obj! { "version" => VERSION }),
        "vmail" => Some(obj! {
            "type" => "info",
            "disk" => "/dev/vda1",
            "used" => "20G",
            "total" => "100G",
            "used_percent" => "20%",
        }),
        "host" => Some(host()),
        "containers" => Some(containers()),
        _ => None,
    }
}

fn host() -> Json {
    obj! {
        "cpu" => obj! { "cores" => 2, "usage" => 1 },
        "memory" => obj! { "total" => 1, "usage" => 1, "swap" => list![] },
        "uptime" => 1,
        "system_time" => crate::clock::now(),
        "architecture" => "x86_64",
    }
}

fn containers() -> Json {
    let mut all = obj! {};
    for name in CONTAINERS {
        let container = format!("{name}-mailcow");
        let shown = obj! {
            "type" => "info",
            "container" => &container,
            "state" => "running",
            "started_at" => "2026-11-24T00:00:00.000000000Z",
            "image" => format!("ghcr.io/mailcow/{name}:stub"),
        };
        all.set(&container, shown);
    }
    all
}
