//! The rows beside the four that mail needs, over real DNS packets, HTTPS and SMTP.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

mod servers;

use std::time::Duration;

use mailcow_operator::crd::{DnsRecordKind, DnsSpec, DnsVerdict};
use mailcow_operator::dns::{Expected, Lookup, Options, Reach, Verdict, Wanted, check, expected};
use mailcow_operator::mail::DomainName;
use nameserver::{Fault, Server};
use servers::{Authority, MailServer, WebServer};

use DnsRecordKind::{Autoconfig, Autodiscover, Bimi, Caa, MtaSts, Ptr, Srv, TlsRpt, Tlsa};
use DnsVerdict::{Invalid, Mismatch, Missing, TempError, Verified};

const POLICY: &str = "version: STSv1\r\nmode: enforce\r\nmx: mail.host.test\r\nmax_age: 604800\r\n";
const BASE: &str = "@ NS ns1.example.test.\nns1 A 127.0.0.2\n@ MX 10 mail.host.test.\n";

/// An authority, a resolver that knows the same zones, and a mail host on 127.0.0.1 with both its servers.
struct World {
    resolver: Server,
    authority: Server,
    web: WebServer,
    mail: MailServer,
    ca: Authority,
}

impl World {
    async fn start() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let ca = Authority::new();
        let resolver = Server::start_recursive("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let authority = Server::start("127.0.0.2:0".parse().unwrap()).await.unwrap();
        let web = WebServer::start(&ca.issue("mta-sts.example.test"), 200, "text/plain; charset=utf-8", POLICY).await;
        let mail = MailServer::start(&ca.issue("mail.host.test")).await;
        let world = Self { resolver, authority, web, mail, ca };
        world.zone("example.test", BASE);
        world.zone("host.test", "@ NS ns1.example.test.\nmail A 127.0.0.1\n");
        world.zone("127.in-addr.arpa", "@ NS ns1.example.test.\n1.0.0 PTR mail.host.test.\n");
        world.zone("test", "@ NS ns1.example.test.\nexample NS ns1.example.test.\nhost NS ns1.example.test.\n");
        world
    }

    fn zone(&self, origin: &str, text: &str) {
        for server in [&self.resolver, &self.authority] {
            server.set_zone(origin, text).unwrap();
        }
    }

    fn more(&self, text: &str) {
        self.zone("example.test", &format!("{BASE}{text}\n"));
    }

    fn options(&self) -> Options {
        Options {
            resolvers: vec![self.resolver.address()],
            authoritative_port: self.authority.address().port(),
            allow_private: true,
            https_port: self.web.port,
            smtp_port: self.mail.port,
            certificate_authority: Some(self.ca.pem()),
            timeout: Duration::from_secs(2),
            ..Options::default()
        }
    }

    fn lookup(&self) -> Lookup {
        Lookup::new(self.options()).unwrap()
    }

    async fn row(&self, kind: DnsRecordKind) -> Vec<Verdict> {
        let mut found = check(&self.lookup(), &wanted(&[kind])).await;
        found.retain(|verdict| verdict.kind == kind);
        found
    }

    async fn one(&self, kind: DnsRecordKind) -> Verdict {
        let mut found = self.row(kind).await;
        assert_eq!(found.len(), 1, "{found:#?}");
        found.remove(0)
    }

    async fn policy(&self) -> Verdict {
        self.row(MtaSts).await.into_iter().find(|verdict| verdict.name == "mta-sts.example.test").unwrap()
    }
}

fn wanted(required: &[DnsRecordKind]) -> Wanted {
    Wanted {
        domain: DomainName::parse("example.test").unwrap(),
        mail_host: DomainName::parse("mail.host.test").unwrap(),
        egress: Vec::new(),
        certificate_authority: "letsencrypt.org".into(),
        dkim: None,
        spec: DnsSpec { required: required.to_vec(), ..DnsSpec::default() },
    }
}

#[tokio::test]
async fn what_is_expected_is_verified_once_it_is_pasted() {
    let world = World::start().await;
    let asked = [Autodiscover, Autoconfig, Srv, MtaSts, TlsRpt];
    let missing = check(&world.lookup(), &wanted(&asked)).await;
    let missing = missing.iter().filter(|verdict| asked.contains(&verdict.kind)).collect::<Vec<_>>();
    assert_eq!(missing.len(), 8);
    assert!(missing.iter().all(|verdict| verdict.verdict == Missing), "{missing:#?}");
    let own = expected(&wanted(&asked)).into_iter().filter(|record| asked.contains(&record.kind));
    world.more(&own.map(|record| Expected::zone_line(&record)).collect::<Vec<_>>().join("\n"));
    for kind in asked {
        for found in world.row(kind).await {
            assert_eq!((found.verdict, found.warnings.len()), (Verified, 0), "{found:#?}");
            assert_eq!(found.observed, found.expected, "{found:#?}");
            assert_eq!(found.propagation, Some(Reach::Everywhere), "{found:#?}");
        }
    }
}

#[tokio::test]
async fn what_is_not_asked_for_is_not_looked_up() {
    let world = World::start().await;
    check(&world.lookup(), &wanted(&[])).await;
    let names = world.authority.seen().into_iter().map(|seen| seen.name).collect::<Vec<_>>();
    assert!(names.iter().all(|name| !name.starts_with("mta-sts") && !name.starts_with("auto")), "{names:?}");
    assert_eq!((world.web.visits(), world.mail.visits()), (0, 0));
}

#[tokio::test]
async fn the_policy_is_judged_as_senders_see_it() {
    let world = World::start().await;
    world.more("mta-sts CNAME mail.host.test.\n");
    for (status, media_type, body, verdict, words) in [
        (200, "text/plain", POLICY.to_owned(), Verified, "mode enforce"),
        (200, "text/plain", POLICY.replace("mail.host", "other.host"), Mismatch, "does not list the mail server"),
        (200, "text/plain", "version: STSv2".to_owned(), Invalid, "malformed"),
        (200, "text/plain", "x".repeat(200_000), Invalid, "malformed"),
        (301, "text/plain", POLICY.to_owned(), Invalid, "redirects"),
        (404, "text/html", String::new(), Missing, "answers 404"),
        (500, "text/html", String::new(), Missing, "answers 500"),
    ] {
        world.web.serve(status, media_type, &body);
        let found = world.policy().await;
        assert_eq!(found.verdict, verdict, "{found:#?}");
        assert!(found.message.contains(words), "{}", found.message);
    }
}

#[tokio::test]
async fn a_certificate_of_another_name_or_authority_is_not_trusted() {
    let mut world = World::start().await;
    world.more("mta-sts CNAME mail.host.test.\n");
    world.web = WebServer::start(&world.ca.issue("mail.host.test"), 200, "text/plain", POLICY).await;
    let found = world.policy().await;
    assert_eq!(found.verdict, Invalid, "{found:#?}");
    assert!(found.message.ends_with("is not trusted: it is for another name"), "{}", found.message);
    let stranger = Authority::new();
    world.web = WebServer::start(&stranger.issue("mta-sts.example.test"), 200, "text/plain", POLICY).await;
    let found = world.policy().await;
    assert_eq!(found.verdict, Invalid);
    assert!(found.message.ends_with("its authority is not trusted"), "{}", found.message);
}

/// A stranger chooses the addresses: he learns neither what listens there nor how it behaves.
#[tokio::test]
async fn hosts_at_private_addresses_are_not_reached_and_failures_look_alike() {
    let mut world = World::start().await;
    world.more("mta-sts CNAME mail.host.test.\n");
    let record = format!("@ NS ns1.example.test.\nmail A 127.0.0.1\n_25._tcp.mail TLSA 3 1 1 {}\n", "00".repeat(32));
    world.zone("host.test", &record);
    let options = Options { allow_private: false, ..world.options() };
    let found = check(&Lookup::new(options).unwrap(), &wanted(&[MtaSts, Tlsa])).await;
    for kind in [MtaSts, Tlsa] {
        let refused = found.iter().find(|verdict| verdict.kind == kind && verdict.verdict == TempError).unwrap();
        assert!(refused.message.contains("has no public address"), "{refused:#?}");
    }
    assert_eq!((world.web.visits(), world.mail.visits()), (0, 0));
    let mut messages = Vec::new();
    let deaf = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    for port in [servers::closed_port().await, deaf.local_addr().unwrap().port(), world.mail.port] {
        world.web.port = port;
        messages.push(world.policy().await.message);
    }
    assert!(messages.iter().all(|message| *message == messages[0]), "{messages:?}");
}

#[tokio::test]
async fn a_host_without_https_is_temporary_and_a_foreign_host_is_not_visited() {
    let mut world = World::start().await;
    world.more("mta-sts CNAME mail.host.test.\n");
    world.web.port = servers::closed_port().await;
    assert_eq!(world.policy().await.verdict, TempError);
    let world = World::start().await;
    world.more("mta-sts A 127.0.0.8\n");
    assert_eq!(world.policy().await.verdict, Mismatch);
    assert_eq!(world.web.visits(), 0);
}

#[tokio::test]
async fn the_key_on_port_25_is_compared_and_dnssec_has_to_cover_it() {
    let world = World::start().await;
    let missing = world.one(Tlsa).await;
    assert_eq!(missing.verdict, Missing);
    let right = missing.expected[0].clone();
    assert!(right.starts_with("3 1 1 "), "{right}");
    let host = |record: &str| format!("@ NS ns1.example.test.\nmail A 127.0.0.1\n_25._tcp.mail TLSA {record}\n");
    world.zone("host.test", &host(&right));
    let unsigned = world.one(Tlsa).await;
    assert_eq!((unsigned.verdict, unsigned.warnings[0].reason.as_str()), (Mismatch, "Inactive"));
    world.resolver.vouch_for("example.test");
    world.resolver.vouch_for("host.test");
    let found = world.one(Tlsa).await;
    assert_eq!((found.verdict, found.dnssec), (Verified, Some(true)), "{found:#?}");
    world.zone("host.test", &host(&format!("3 1 1 {}", "00".repeat(32))));
    let rolled = world.one(Tlsa).await;
    assert_eq!(rolled.verdict, Mismatch);
    assert!(rolled.message.contains("bounces"), "{}", rolled.message);
    assert!(world.mail.visits() >= 4);
}

#[tokio::test]
async fn a_mail_server_without_starttls_is_temporary() {
    let world = World::start().await;
    world.mail.without_starttls();
    let record = format!("@ NS ns1.example.test.\nmail A 127.0.0.1\n_25._tcp.mail TLSA 3 1 1 {}\n", "00".repeat(32));
    world.zone("host.test", &record);
    let found = world.one(Tlsa).await;
    assert_eq!(found.verdict, TempError);
    assert!(found.message.contains("no server there presents a certificate on port 25"), "{}", found.message);
}

#[tokio::test]
async fn signed_answers_are_reported_in_every_row() {
    let world = World::start().await;
    let find =
        |found: Vec<Verdict>| found.into_iter().find(|verdict| verdict.kind == DnsRecordKind::Mx).unwrap().dnssec;
    assert_eq!(find(check(&world.lookup(), &wanted(&[])).await), Some(false));
    world.resolver.vouch_for("example.test");
    assert_eq!(find(check(&world.lookup(), &wanted(&[])).await), Some(true));
}

#[tokio::test]
async fn the_sending_address_has_the_hosts_name() {
    let world = World::start().await;
    let found = world.one(Ptr).await;
    assert_eq!(
        (found.verdict, found.observed),
        (Verified, vec!["1.0.0.127.in-addr.arpa. IN PTR mail.host.test.".to_owned()])
    );
    world.zone("127.in-addr.arpa", "@ NS ns1.example.test.\n1.0.0 PTR vps17.provider.test.\n");
    let found = world.one(Ptr).await;
    assert_eq!(found.verdict, Mismatch);
    assert!(found.hint.unwrap().contains("owner of the address"));
}

#[tokio::test]
async fn certificate_authorities_are_found_above_the_name() {
    let world = World::start().await;
    assert_eq!(world.one(Caa).await.verdict, Verified);
    world.zone("host.test", "@ NS ns1.example.test.\nmail A 127.0.0.1\n@ CAA 0 issue \"other.test\"\n");
    let found = world.one(Caa).await;
    assert_eq!((found.verdict, found.observed), (Mismatch, vec!["0 issue \"other.test\"".to_owned()]));
    world.zone("host.test", "@ NS ns1.example.test.\nmail A 127.0.0.1\n@ CAA 0 issue \"letsencrypt.org\"\n");
    assert_eq!(world.one(Caa).await.verdict, Verified);
}

#[tokio::test]
async fn a_logo_needs_an_enforced_policy() {
    let world = World::start().await;
    let logo = "default._bimi TXT \"v=BIMI1; l=https://example.test/logo.svg\"\n";
    world.more(logo);
    assert_eq!(world.one(Bimi).await.verdict, Mismatch);
    world.more(&format!("{logo}_dmarc TXT \"v=DMARC1; p=reject\""));
    assert_eq!(world.one(Bimi).await.verdict, Verified);
}

#[tokio::test]
async fn every_row_survives_every_fault() {
    let rows = [Autodiscover, Autoconfig, Srv, MtaSts, TlsRpt, Tlsa, Ptr, Caa, Bimi];
    for fault in [Fault::ServFail, Fault::Refused, Fault::NotAuthoritative, Fault::Garbage, Fault::Truncate] {
        let world = World::start().await;
        world.authority.fault_everywhere(fault.clone());
        let found = check(&world.lookup(), &wanted(&rows)).await;
        assert!(found.len() >= 4 + 12, "{fault:?}: {found:#?}");
        // The resolver answers in place of the zone's own servers, and says so.
        let reported = found.iter().filter(|verdict| verdict.warnings.iter().any(|w| w.reason == "ServersUnreachable"));
        assert!(matches!(fault, Fault::Truncate) || reported.count() > 4, "{fault:?}: {found:#?}");
        world.resolver.fault_everywhere(fault.clone());
        let found = check(&world.lookup(), &wanted(&rows)).await;
        let temporary = found.iter().filter(|verdict| verdict.verdict == TempError).count();
        let answered = matches!(fault, Fault::NotAuthoritative | Fault::Truncate);
        assert!(answered || temporary >= 14, "{fault:?}: {temporary} {found:#?}");
    }
}

#[tokio::test]
async fn cname_loops_are_invalid_in_every_row() {
    let world = World::start().await;
    let names = ["autodiscover", "autoconfig", "mta-sts", "_mta-sts", "_smtp._tls", "default._bimi", "_imaps._tcp"];
    let circles = names.map(|name| format!("{name} CNAME x.{name}\nx.{name} CNAME {name}\n"));
    world.more(&circles.concat());
    for kind in [Autodiscover, Autoconfig, MtaSts, TlsRpt, Bimi, Srv] {
        let found = world.row(kind).await;
        let circles = found.iter().filter(|verdict| verdict.verdict == Invalid).count();
        let due = match kind {
            MtaSts => 2,
            _ => 1,
        };
        assert_eq!(circles, due, "{found:#?}");
    }
}

#[tokio::test]
async fn a_host_of_ipv6_only_is_enough() {
    let world = World::start().await;
    world.zone("host.test", "@ NS ns1.example.test.\nmail AAAA 2001:db8::1\n");
    world.more("autodiscover CNAME mail.host.test.\nautoconfig AAAA 2001:db8::1\n");
    assert_eq!(world.one(Autodiscover).await.verdict, Verified);
    assert_eq!(world.one(Autoconfig).await.verdict, Verified);
}

#[tokio::test]
async fn a_record_that_changes_between_checks_is_seen_at_once() {
    let world = World::start().await;
    let lookup = world.lookup();
    for (zone, verdict) in [
        ("autodiscover CNAME mail.host.test.", Verified),
        ("autodiscover A 192.0.2.9", Mismatch),
        ("", Missing),
        ("autodiscover CNAME mail.host.test.", Verified),
    ] {
        world.more(zone);
        let found = check(&lookup, &wanted(&[Autodiscover])).await;
        let found = found.iter().find(|found| found.kind == Autodiscover).unwrap();
        assert_eq!(found.verdict, verdict, "{zone}");
    }
}
