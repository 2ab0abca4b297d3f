//! What the recordings' server had or got by other ways than recorded requests, in the first run: objects
//! that were there before the first line, settings changed by hand, things deleted between two lines.

use std::time::Duration;

use mailcow_simulator::{ApiKey, Backend, Fault, FilterKind, PasswordPolicy, SieveFilter, Simulator, State, Trouble};
use serde_json::Value;

use crate::recording::{Line, Topic};

/// Mailcow's own defaults in MiB: mailbox default, mailbox maximum, whole domain.
const DEFAULT: [i64; 3] = [3072, 10_240, 10_240];

/// A domain with limits: aliases, mailboxes, quotas.
pub(crate) fn domain(state: &mut State, name: &str, aliases: i64, mailboxes: i64, quotas: [i64; 3]) {
    let domain = state.seed_domain(name);
    domain.max_aliases = aliases;
    domain.max_mailboxes = mailboxes;
    [domain.default_quota, domain.max_quota, domain.quota] = quotas;
}

/// An alias made by a request that was not recorded, without a place in `SOGo`.
fn alias(state: &mut State, address: &str, goto: &str) {
    let id = state.seed_alias(address, goto);
    if let Some(alias) = state.aliases.get_mut(&id) {
        alias.sogo_visible = 0;
        alias.sender_allowed = 0;
    }
}

fn seed_mailboxes(state: &mut State, names: &[&str], domain: &str) {
    for name in names {
        state.seed_mailbox(&format!("{name}@{domain}"));
    }
}

fn delete_mailbox(state: &mut State, address: &str) {
    state.mailboxes.remove(&address.to_uppercase());
    state.aliases.retain(|_, alias| alias.address != address);
    state.filters.retain(|_, filter| filter.username != address);
}

/// Before the first line of a topic.
pub(crate) fn start(topic: &Topic, simulator: &Simulator) {
    simulator.edit(|state| match topic.name.as_str() {
        "01_auth" => domain(state, "auth.test", 400, 10, [1, 1, 10]),
        "03_dkim" => {
            for name in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"] {
                domain(state, &format!("{name}.test"), 400, 10, DEFAULT);
            }
        }
        "05_alias" => {
            domain(state, "al.test", 100, 10, [100, 1024, 5000]);
            domain(state, "lim.test", 2, 10, [100, 1024, 5000]);
            domain(state, "xn--mller-kva.test", 400, 10, DEFAULT);
            seed_mailboxes(state, &["a", "b", "c"], "al.test");
        }
        "06_ratelimit" => {
            domain(state, "rl.test", 400, 10, DEFAULT);
            domain(state, "rl2.test", 400, 10, DEFAULT);
            seed_mailboxes(state, &["a", "b"], "rl.test");
        }
        "07_sieve" => {
            domain(state, "sv.test", 400, 10, DEFAULT);
            seed_mailboxes(state, &["a", "b", "c"], "sv.test");
            state.global_filters[0] = recorded_global_filter(topic);
        }
        "08_others" => {
            domain(state, "ot.test", 400, 50, DEFAULT);
            seed_mailboxes(state, &["a", "b"], "ot.test");
            state.next_template_id = 6;
        }
        "09_quirks" => {
            domain(state, "p.test", 1000, 1000, [1, 10, 100_000]);
            domain(state, "lim3.test", 3, 3, [1, 10, 100_000]);
            domain(state, "q.test", 1000, 1000, [1, 10, 30]);
        }
        "10_backend_trouble" => {
            domain(state, "bk.test", 400, 10, DEFAULT);
            seed_mailboxes(state, &["a", "b", "c", "d"], "bk.test");
        }
        "11_contention" => many(state, 1),
        "12_deadlocks" => {
            many(state, 50);
            for n in 0..10 {
                domain(state, &format!("t{n}.test"), 400, 100, DEFAULT);
            }
            for n in 0..60 {
                state.seed_mailbox(&format!("dd{n}@t{}.test", n % 10));
            }
        }
        "13_orphan_race" => domain(state, "orph5.test", 400, 10, DEFAULT),
        "14_half_deleted" => {
            domain(state, "hd.test", 400, 10, DEFAULT);
            seed_mailboxes(state, &["a", "b"], "hd.test");
            state.seed_half_deleted("a@hd.test");
        }
        _ => {}
    });
}

/// The global filter the server came with: a later line puts it back.
fn recorded_global_filter(topic: &Topic) -> String {
    let line = topic.lines.iter().find(|line| line.name == "global_restore");
    let script = line.map(|line| &line.request["body"]["script_data"]);
    script.and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The bulk data of the two topics that were recorded under load: mailboxes `u0`…`u1000` spread over
/// domains, each with a name, a limit and an alias.
fn many(state: &mut State, domains: usize) {
    for n in 0..domains {
        domain(state, &format!("d{n}.lat.test"), 100_000, 100_000, [10, 1024, 1 << 30]);
    }
    for n in 0..1000 {
        let address = format!("u{n}@d{}.lat.test", n % domains);
        let mailbox = state.seed_mailbox(&address);
        mailbox.name = format!("User u{n}");
        mailbox.modified = None;
        let limit = mailcow_simulator::RateLimit { value: 10, frame: "h".to_owned() };
        state.rate_limits.insert(address, limit);
    }
}

/// Before a line.
pub(crate) fn before(topic: &Topic, line: &Line, simulator: &Simulator) {
    let line = line.name.as_str();
    match topic.name.as_str() {
        "01_auth" => keys(line, simulator),
        "02_domain" => domains(line, simulator),
        "04_mailbox" => mailboxes(line, simulator),
        "06_ratelimit" => limits(line, simulator),
        "07_sieve" => filters(line, simulator),
        "08_others" if line == "quarantine_all" => {
            for _ in 0..3 {
                simulator.edit(|s| s.seed_quarantine("a@ot.test", "s@ext.example", "Spam <b>&</b>", 22.5));
            }
        }
        "10_backend_trouble" => backends(line, simulator),
        "12_deadlocks" if line.ends_with("_sqlstate") => simulator.fault(Fault::once("", Trouble::Deadlock)),
        "12_deadlocks" if line == "delete_mailbox_distinct_empty" => {
            simulator.fault(Fault::once("", Trouble::HalfDelete));
        }
        _ => {}
    }
}

fn keys(line: &str, simulator: &Simulator) {
    let change = |change: &dyn Fn(&mut ApiKey)| simulator.edit(|state| change(&mut state.api_keys[0]));
    match line {
        "allow_from_cidr" => change(&|key| "127.0.0.0/8".clone_into(&mut key.allow_from)),
        "skip_ip_check" => change(&|key| {
            "10.0.0.1".clone_into(&mut key.allow_from);
            key.skip_ip_check = true;
        }),
        "inactive_key" => change(&|key| key.active = false),
        "unknown_category_get" => change(&|key| {
            "127.0.0.1,::1".clone_into(&mut key.allow_from);
            key.active = true;
            key.skip_ip_check = false;
        }),
        _ => {}
    }
}

fn domains(line: &str, simulator: &Simulator) {
    if line == "get_in_use" {
        simulator.edit(|state| {
            if let Some(domain) = state.domain_mut("full.test") {
                domain.max_mailboxes = 20;
                [domain.default_quota, domain.max_quota, domain.quota] = [512, 1024, 20_480];
                (domain.backupmx, domain.relay_all_recipients, domain.relay_unknown_only) = (0, 0, 0);
                domain.active = 1;
            }
            for name in ["a", "b", "c"] {
                let mailbox = state.seed_mailbox(&format!("{name}@full.test"));
                mailbox.quota = 500 << 20;
                name.clone_into(&mut mailbox.name);
            }
            for name in ["x", "y", "z"] {
                alias(state, &format!("{name}@full.test"), "a@full.test");
            }
        });
    }
    if line == "delete_with_only_aliases" {
        simulator.edit(|state| {
            domain(state, "al.test", 400, 10, DEFAULT);
            alias(state, "x@al.test", "y@ext.example");
        });
    }
}

fn mailboxes(line: &str, simulator: &Simulator) {
    let fillers = || (0..7).map(|n| format!("filler{n}@m.test"));
    simulator.edit(|state| match line {
        "get_all_empty" => domain(state, "m.test", 100, 12, [100, 1024, 5000]),
        "add_no_password" => {
            for name in ["o'neil", "a+b", "a/b", "a&b", "-a", "_a", "a%b"] {
                delete_mailbox(state, &format!("{name}@m.test"));
            }
        }
        "add_policy_violation" => {
            state.password_policy =
                PasswordPolicy { length: 10, chars: false, special_chars: true, lowerupper: true, numbers: true };
        }
        "add_domain_missing" => state.password_policy = PasswordPolicy::default(),
        "add_over_max_count" => {
            for name in fillers() {
                state.seed_mailbox(&name);
            }
        }
        "add_address_is_alias" => {
            fillers().for_each(|name| delete_mailbox(state, &name));
            alias(state, "isalias@m.test", "min@m.test");
        }
        "get_with_usage" => usage(state),
        "aliases_before_delete" => {
            alias(state, "only@m.test", "full@m.test");
            alias(state, "both@m.test", "full@m.test,min@m.test");
            alias(state, "isalias2@m.test", "full@m.test,ext@ext.example");
        }
        // To see whether an edit that changes nothing moves it.
        "edit_noop" => {
            if let Some(mailbox) = state.mailbox_mut("acl@m.test") {
                mailbox.modified = None;
            }
        }
        "template_add" => state.next_template_id = 5,
        _ => {}
    });
}

/// What Dovecot and Postfix would have written.
fn usage(state: &mut State) {
    state.seed_usage("full@m.test", 1234, 400_000_000);
    state.seed_login("full@m.test", "imap", 1_795_168_800);
    state.seed_login("full@m.test", "smtp", 1_795_255_200);
}

fn limits(line: &str, simulator: &Simulator) {
    match line {
        "mailbox_no_limit_at_all" => drop(simulator.edit(|state| state.rate_limits.remove("rl.test"))),
        // The mailbox was deleted and made again.
        "after_delete_readd" => drop(simulator.edit(|state| state.rate_limits.remove("a@rl.test"))),
        _ => {}
    }
}

fn filters(line: &str, simulator: &Simulator) {
    simulator.edit(|state| match line {
        "get_base_for_edit" => {
            state.filters.retain(|id, filter| *id <= 3 || filter.username != "a@sv.test");
            let is_left = |filter: &&SieveFilter| filter.kind == FilterKind::Before && filter.username == "a@sv.test";
            assert_eq!(state.filters.values().filter(is_left).count(), 2, "two filters are left to edit");
        }
        "after_mailbox_delete" => delete_mailbox(state, "a@sv.test"),
        _ => {}
    });
}

fn backends(line: &str, simulator: &Simulator) {
    let backend = match line {
        "delete_mailbox_dockerapi_fails" => Backend::DockerapiFails,
        "delete_mailbox_dockerapi_slow" => Backend::DockerapiSlow(Duration::from_millis(100)),
        "dockerapi_down_get" => Backend::DockerapiDown,
        "redis_down_get" => Backend::RedisDown,
        "mysql_down_get" => Backend::DatabaseDown,
        "php_down_get" => Backend::PhpDown,
        "all_back" => Backend::Up,
        _ => simulator.inspect(|state| state.backend),
    };
    simulator.set_backend(backend);
    let trouble = match line {
        "edit_mailbox_lock_timeout" | "add_mailbox_lock_timeout" => Trouble::LockTimeout,
        "add_alias_lock_timeout" => Trouble::SogoLockTimeout,
        _ => return,
    };
    simulator.fault(Fault::once("", trouble));
}
