//! Checks of a whole domain over real DNS packets, with servers that misbehave.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mailcow_operator::crd::{DnsRecordKind, DnsSource, DnsSpec, DnsVerdict};
use mailcow_operator::dns::{
    Answer, Expected, Kind, Known, Lookup, Mode, Need, Options, Outcome, Question, Reach, Verdict, Wanted, check, dkim,
    dmarc, expected, spf_verdict,
};
use mailcow_operator::mail::{DkimKey, DomainName};
use nameserver::rdata::TXT;
use nameserver::{Fault, RData, Record, RecordType, Server, name};
use tokio::net::UdpSocket;

const KEY: &str = "MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAL1l";

/// Two authorities on one port and a resolver that knows the same zones.
struct World {
    resolver: Server,
    first: Server,
    second: Server,
}

const EXAMPLE: &str = "@ NS ns1.example.test.\n@ NS ns2.example.test.\nns1 A 127.0.0.2\nns2 A 127.0.0.3\n\
    @ MX 10 mail.host.test.\n@ TXT \"v=spf1 mx -all\"\n\
    _dmarc TXT \"v=DMARC1; p=reject; rua=mailto:postmaster@example.test\"\n\
    dkim._domainkey TXT \"v=DKIM1;k=rsa;t=s;s=email;p=MFwwDQYJKoZIhvcN\" \"AQEBBQADSwAwSAJBAL1l\"\n";
const HOST: &str = "@ NS ns1.example.test.\n@ NS ns2.example.test.\nmail A 192.0.2.1\nmail AAAA 2001:db8::1\n";

impl World {
    async fn start() -> Self {
        let resolver = Server::start_recursive("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let first = Server::start("127.0.0.2:0".parse().unwrap()).await.unwrap();
        let second = Server::start(SocketAddr::from(([127, 0, 0, 3], first.address().port()))).await.unwrap();
        let world = Self { resolver, first, second };
        world.zone("example.test", EXAMPLE);
        world.zone("host.test", HOST);
        world.zone("test", "@ NS ns1.example.test.\nexample NS ns1.example.test.\nhost NS ns1.example.test.\n");
        world
    }

    fn zone(&self, origin: &str, text: &str) {
        for server in [&self.resolver, &self.first, &self.second] {
            server.set_zone(origin, text).unwrap();
        }
    }

    /// The example zone without the records of one name, and with others instead.
    fn without(&self, start: &str, instead: &str) {
        let kept = EXAMPLE.lines().filter(|line| !line.starts_with(start)).collect::<Vec<_>>().join("\n");
        self.zone("example.test", &format!("{kept}\n{instead}\n"));
    }

    fn options(&self) -> Options {
        Options {
            resolvers: vec![self.resolver.address()],
            authoritative_port: self.first.address().port(),
            allow_private: true,
            timeout: Duration::from_millis(250),
            check_timeout: Duration::from_secs(3),
            ..Options::default()
        }
    }

    fn lookup(&self) -> Lookup {
        Lookup::new(self.options()).unwrap()
    }

    async fn check(&self) -> Vec<Verdict> {
        check(&self.lookup(), &wanted()).await
    }

    async fn row(&self, kind: DnsRecordKind) -> Verdict {
        self.check().await.into_iter().find(|verdict| verdict.kind == kind).unwrap()
    }

    async fn ask(&self, at: &str, kind: Kind) -> Outcome {
        self.lookup().ask(&Question::new(at, kind)).await.swap_remove(0).outcome
    }
}

fn wanted() -> Wanted {
    let record = format!("v=DKIM1;k=rsa;t=s;s=email;p={KEY}");
    let key = DkimKey { selector: "dkim".into(), key_size: 512, record, public_key: KEY.into() };
    Wanted {
        domain: DomainName::parse("example.test").unwrap(),
        mail_host: DomainName::parse("mail.host.test").unwrap(),
        egress: Vec::new(),
        certificate_authority: "letsencrypt.org".into(),
        dkim: Some(key),
        spec: DnsSpec::default(),
    }
}

fn verdicts(found: &[Verdict]) -> Vec<(DnsRecordKind, DnsVerdict)> {
    found.iter().map(|verdict| (verdict.kind, verdict.verdict)).collect()
}

fn reasons(verdict: &Verdict) -> Vec<&str> {
    verdict.warnings.iter().map(|warning| warning.reason.as_str()).collect()
}

use DnsRecordKind::{Dkim, Dmarc, Mx, Spf};
use DnsVerdict::{Invalid, Mismatch, Missing, TempError, Verified};

#[tokio::test]
async fn a_domain_with_all_records_is_verified_by_its_own_servers() {
    let world = World::start().await;
    let found = world.check().await;
    assert_eq!(verdicts(&found), [(Mx, Verified), (Spf, Verified), (Dkim, Verified), (Dmarc, Verified)], "{found:#?}");
    assert!(found.iter().all(|verdict| verdict.source == DnsSource::Authoritative && verdict.warnings.is_empty()));
    for server in [&world.first, &world.second] {
        assert!(server.count("_dmarc.example.test", RecordType::TXT) > 0);
        assert!(server.seen().iter().all(|seen| !seen.recursion_desired));
    }
}

#[tokio::test]
async fn what_is_expected_is_verified_once_it_is_pasted() {
    let world = World::start().await;
    let base = EXAMPLE.lines().take(4).collect::<Vec<_>>().join("\n");
    world.zone("example.test", &base);
    let before = verdicts(&world.check().await);
    assert_eq!(before, [(Mx, Missing), (Spf, Missing), (Dkim, Missing), (Dmarc, Missing)]);
    let lines = expected(&wanted()).iter().map(Expected::zone_line).collect::<Vec<_>>().join("\n");
    world.zone("example.test", &format!("{base}\n{lines}\n"));
    assert!(world.check().await.iter().all(|verdict| verdict.verdict == Verified));
}

#[tokio::test]
async fn the_resolver_is_not_asked_for_records_that_are_not_there_yet() {
    let world = World::start().await;
    world.zone("example.test", &EXAMPLE.lines().take(4).collect::<Vec<_>>().join("\n"));
    world.check().await;
    let seen = world.resolver.seen();
    let kinds = [RecordType::NS, RecordType::A, RecordType::AAAA];
    assert!(
        !seen.is_empty() && seen.iter().all(|seen| kinds.contains(&seen.kind) && !seen.name.starts_with('_')),
        "{seen:?}"
    );
}

#[tokio::test]
async fn a_record_that_was_just_added_counts_at_once() {
    let world = World::start().await;
    world.without("_dmarc", "");
    let lookup = world.lookup();
    let question = Question::new("_dmarc.example.test", Kind::Txt);
    assert_eq!(lookup.ask(&question).await[0].outcome, Outcome::NxDomain);
    world.zone("example.test", EXAMPLE);
    assert!(matches!(lookup.ask(&question).await[0].outcome, Outcome::Txt(_)));
}

#[tokio::test]
async fn one_bad_server_of_two_is_a_warning() {
    for (fault, words) in [
        (Fault::ServFail, "SERVFAIL"),
        (Fault::Refused, "REFUSED"),
        (Fault::Silent, "does not answer"),
        (Fault::NotAuthoritative, "AA=0"),
        (Fault::Garbage, "does not answer"),
        (Fault::WrongId, "does not answer"),
        (Fault::WrongQuestion, "does not answer"),
        (Fault::TruncateForEver, "does not answer"),
    ] {
        let world = World::start().await;
        world.second.fault_everywhere(fault);
        let found = world.check().await;
        assert!(found.iter().all(|verdict| verdict.verdict == Verified), "{words}: {found:#?}");
        let lame = found[0].warnings.iter().find(|warning| warning.reason == "LameServer").unwrap();
        assert!(lame.message.contains("ns2.example.test") && lame.message.contains(words), "{}", lame.message);
    }
}

#[tokio::test]
async fn without_its_own_servers_the_resolver_is_asked_and_named() {
    for fault in [Fault::ServFail, Fault::Refused, Fault::Silent, Fault::NotAuthoritative] {
        let world = World::start().await;
        world.first.fault_everywhere(fault.clone());
        world.second.fault_everywhere(fault.clone());
        let started = Instant::now();
        let found = world.check().await;
        assert!(started.elapsed() < Duration::from_secs(3), "{fault:?} took {:?}", started.elapsed());
        for verdict in &found {
            let seen = (verdict.verdict, verdict.source);
            assert_eq!(seen, (Verified, DnsSource::Recursive), "{fault:?}: {verdict:#?}");
        }
        assert!(reasons(&found[3]).contains(&"ServersUnreachable") || matches!(fault, Fault::Silent));
    }
}

#[tokio::test]
async fn nobody_answering_is_temporary_and_ends_in_time() {
    for fault in [Fault::ServFail, Fault::Silent] {
        let world = World::start().await;
        for server in [&world.resolver, &world.first, &world.second] {
            server.fault_everywhere(fault.clone());
        }
        let started = Instant::now();
        let found = world.check().await;
        assert!(found.iter().all(|verdict| verdict.verdict == TempError), "{found:#?}");
        assert!(started.elapsed() < Duration::from_secs(4), "took {:?}", started.elapsed());
    }
}

#[tokio::test]
async fn slow_servers_end_in_time() {
    let world = World::start().await;
    for server in [&world.resolver, &world.first, &world.second] {
        server.fault_everywhere(Fault::Slow(Duration::from_millis(200)));
    }
    let lookup = Lookup::new(Options { check_timeout: Duration::from_millis(500), ..world.options() }).unwrap();
    let started = Instant::now();
    let found = check(&lookup, &wanted()).await;
    assert!(started.elapsed() < Duration::from_secs(1), "took {:?}", started.elapsed());
    assert!(found.iter().all(|verdict| verdict.verdict == TempError), "{found:#?}");
}

#[tokio::test]
async fn a_record_has_to_be_on_all_servers() {
    let world = World::start().await;
    let old = EXAMPLE.replace("p=reject", "p=nonsense");
    world.second.set_zone("example.test", &old).unwrap();
    let found = world.row(Dmarc).await;
    assert_eq!(found.verdict, Invalid);
    assert!(found.message.starts_with("the zone's servers disagree; at worst: "), "{}", found.message);
    let Some(Reach::Disagree { servers }) = found.propagation else { panic!("{found:#?}") };
    assert!(servers[0].contains("ns1.example.test (127.0.0.2)"), "{servers:?}");
    assert!(servers[0].contains("ns2.example.test (127.0.0.3)"), "{servers:?}");
}

#[tokio::test]
async fn servers_that_disagree_but_are_both_right_verify() {
    let world = World::start().await;
    world.second.set_zone("example.test", &EXAMPLE.replace("MX 10", "MX 20")).unwrap();
    let found = world.row(Mx).await;
    assert_eq!((found.verdict, reasons(&found)), (Verified, vec![]));
    assert!(matches!(found.propagation, Some(Reach::Disagree { .. })), "{found:#?}");
}

#[tokio::test]
async fn nothing_is_told_apart_from_no_answer() {
    let world = World::start().await;
    assert_eq!(world.ask("nothing.example.test", Kind::Txt).await, Outcome::NxDomain);
    assert_eq!(world.ask("ns1.example.test", Kind::Txt).await, Outcome::NoData);
    for server in [&world.resolver, &world.first, &world.second] {
        server.fault("ns1.example.test", Some(RecordType::TXT), Fault::ServFail);
    }
    assert!(matches!(world.ask("ns1.example.test", Kind::Txt).await, Outcome::Failed(_)));
}

#[tokio::test]
async fn cname_records_are_followed_into_other_zones_and_loops_end() {
    let world = World::start().await;
    let instead =
        "dkim._domainkey CNAME key.host.test.\na CNAME b\nb CNAME a\nc CNAME c.host.test.\ngone CNAME gone.host.test.";
    world.without("dkim", instead);
    let key = format!("key TXT \"v=DKIM1; p={KEY}\"\nc CNAME c.example.test.");
    world.zone("host.test", &format!("{HOST}{key}\n"));
    assert_eq!(world.row(Dkim).await.verdict, Verified);
    assert_eq!(world.ask("a.example.test", Kind::A).await, Outcome::CnameLoop);
    assert_eq!(world.ask("c.example.test", Kind::A).await, Outcome::CnameLoop);
    assert_eq!(world.ask("gone.example.test", Kind::A).await, Outcome::NxDomain);
}

#[tokio::test]
async fn a_long_chain_of_cname_records_ends_too() {
    let world = World::start().await;
    let chain = (0..12).map(|n| format!("c{n} CNAME c{}", n + 1)).collect::<Vec<_>>().join("\n");
    world.without("none", &format!("{chain}\nc12 A 192.0.2.9"));
    assert_eq!(world.ask("c0.example.test", Kind::A).await, Outcome::CnameLoop);
    assert!(matches!(world.ask("c6.example.test", Kind::A).await, Outcome::Addresses(_)));
}

#[tokio::test]
async fn truncated_answers_come_over_tcp() {
    let world = World::start().await;
    for server in [&world.first, &world.second] {
        server.fault("example.test", Some(RecordType::TXT), Fault::Truncate);
    }
    assert_eq!(world.row(Spf).await.verdict, Verified);
    assert!(world.first.seen().iter().any(|seen| seen.tcp));
}

/// TXT records at one name.
fn texts(at: &str, texts: &[Vec<u8>]) -> Vec<Record> {
    let data = texts.iter().map(|text| RData::TXT(TXT::from_bytes(text.chunks(255).collect())));
    data.map(|data| Record::from_rdata(name(at), 60, data)).collect()
}

#[tokio::test]
async fn sixty_four_kilobytes_of_texts_are_read_and_not_shown_whole() {
    let world = World::start().await;
    let mut all = vec![b"v=spf1 ip4:192.0.2.1 ip6:2001:db8::1 -all".to_vec(), b"\xff\xfe caf\xe9".to_vec()];
    all.extend((0..225).map(|n| format!("{n:0255}").into_bytes()));
    let mut records = texts("example.test", &all);
    for server in ["ns1.example.test", "ns2.example.test"] {
        records.push(Record::from_rdata(name("example.test"), 60, RData::NS(nameserver::rdata::NS(name(server)))));
    }
    for server in [&world.first, &world.second] {
        server.set_records("example.test", records.clone());
    }
    let found = world.row(Spf).await;
    assert_eq!(found.verdict, Verified, "{found:#?}");
    assert_eq!(found.observed.len(), 1);
}

#[tokio::test]
async fn bytes_that_are_no_ascii_are_shown_as_in_a_zone() {
    let world = World::start().await;
    for server in [&world.first, &world.second] {
        let mut records = texts("example.test", &[b"v=spf1 mx \xc3\xa4 -all".to_vec()]);
        records.push(Record::from_rdata(
            name("example.test"),
            60,
            RData::NS(nameserver::rdata::NS(name("ns1.example.test"))),
        ));
        server.set_records("example.test", records);
    }
    let found = world.row(Spf).await;
    assert_eq!((found.verdict, found.observed), (Invalid, vec!["\"v=spf1 mx \\195\\164 -all\"".to_owned()]));
}

#[tokio::test]
async fn a_host_of_one_family_is_enough() {
    let world = World::start().await;
    for address in ["mail A 192.0.2.1", "mail AAAA 2001:db8::1"] {
        let name_servers = HOST.lines().take(2).collect::<Vec<_>>().join("\n");
        world.zone("host.test", &format!("{name_servers}\n{address}\n"));
        let found = world.check().await;
        assert!(found.iter().all(|verdict| verdict.verdict == Verified), "{address}: {found:#?}");
    }
}

#[tokio::test]
async fn common_mistakes_are_explained() {
    let world = World::start().await;
    world.without("@ MX", "@ MX 10 mail.host.test");
    let found = world.row(Mx).await;
    assert_eq!(found.verdict, Mismatch);
    assert!(found.hint.unwrap().contains("with the dot at the end"));
    world.without("dkim", &format!("dkim._domainkey.example.test TXT \"v=DKIM1; p={KEY}\""));
    assert!(world.row(Dkim).await.hint.unwrap().contains("remove .example.test"));
    world.without("_dmarc", "@ TXT \"v=DMARC1; p=none\"");
    assert!(world.row(Dmarc).await.hint.unwrap().contains("move it to _dmarc.example.test"));
}

#[tokio::test]
async fn a_subdomain_in_a_zone_of_its_own_is_found_by_referral() {
    let world = World::start().await;
    world.without("none", "sub NS ns2.example.test.");
    world.second.set_zone("sub.example.test", "@ NS ns2.example.test.\n@ MX 10 mail.host.test.").unwrap();
    world.resolver.set_zone("sub.example.test", "@ NS ns2.example.test.").unwrap();
    let wanted = Wanted { domain: DomainName::parse("sub.example.test").unwrap(), dkim: None, ..wanted() };
    let found = check(&world.lookup(), &wanted).await;
    assert_eq!(verdicts(&found), [(Mx, Verified), (Spf, Missing), (Dkim, Missing), (Dmarc, Verified)], "{found:#?}");
    assert_eq!(world.resolver.count("sub.example.test", RecordType::NS), 0);
    assert_eq!(reasons(&found[3]), ["InheritedFrom"]);
}

#[tokio::test]
async fn a_resolver_alone_is_enough() {
    let world = World::start().await;
    let lookup = Lookup::new(Options { mode: Mode::Recursive, ..world.options() }).unwrap();
    let found = check(&lookup, &wanted()).await;
    assert!(found.iter().all(|v| v.verdict == Verified && v.source == DnsSource::Recursive), "{found:#?}");
    assert!(world.first.seen().is_empty());
}

#[tokio::test]
async fn the_next_resolver_is_asked_when_one_is_dead() {
    let world = World::start().await;
    let dead = "127.0.0.1:9".parse().unwrap();
    let options = Options { resolvers: vec![dead, world.resolver.address()], mode: Mode::Recursive, ..world.options() };
    let found = check(&Lookup::new(options).unwrap(), &wanted()).await;
    assert!(found.iter().all(|verdict| verdict.verdict == Verified), "{found:#?}");
}

#[tokio::test]
async fn an_older_answer_of_a_resolver_is_reported() {
    let world = World::start().await;
    let old = EXAMPLE.replace("MX 10 mail.host.test.", "MX 10 old.host.test.").replace("_dmarc", "other");
    world.resolver.set_zone("example.test", &old).unwrap();
    let found = world.check().await;
    assert!(found.iter().all(|verdict| verdict.verdict == Verified), "{found:#?}");
    let reach = found.iter().map(|verdict| verdict.propagation.clone().unwrap()).collect::<Vec<_>>();
    let pending = Reach::Pending { seconds: 60 };
    assert_eq!(reach, [pending.clone(), Reach::Everywhere, Reach::Everywhere, pending]);
}

#[tokio::test]
async fn dead_zones_do_not_close_the_way_to_others() {
    let world = World::start().await;
    let mut delegations = "@ NS ns1.example.test.\n".to_owned();
    for dead in ["dead1", "dead2", "dead3"] {
        world.zone(&format!("{dead}.test"), &format!("@ NS ns.{dead}.test.\nns A 127.0.0.9\n"));
        delegations = format!("{delegations}{dead} NS ns.{dead}.test.\nns.{dead} A 127.0.0.9\n");
    }
    world.zone("test", &delegations);
    let silent = mute([127, 0, 0, 9], &world).await;
    let lookup = world.lookup();
    for dead in ["dead1.test", "dead2.test", "dead3.test"] {
        let found = lookup.ask(&Question::new(dead, Kind::Mx)).await;
        assert_eq!(found[0].source, DnsSource::Recursive);
    }
    let found = check(&lookup, &wanted()).await;
    assert!(found.iter().all(|verdict| verdict.source == DnsSource::Authoritative), "{found:#?}");
    drop(silent);
}

/// A socket at the port of the authorities that never answers.
async fn mute(ip: [u8; 4], world: &World) -> UdpSocket {
    UdpSocket::bind(SocketAddr::from((ip, world.first.address().port()))).await.unwrap()
}

#[tokio::test]
async fn a_host_with_dead_addresses_silences_nobody_elses_server() {
    let world = World::start().await;
    let hostile = "@ NS ns.hostile.test.\nns A 127.0.0.9\nns A 127.0.0.10\nns A 127.0.0.2\nns A 127.0.0.3\n";
    world.zone("hostile.test", hostile);
    world.zone("test", "@ NS ns1.example.test.\n");
    let silent = [mute([127, 0, 0, 9], &world).await, mute([127, 0, 0, 10], &world).await];
    let lookup = world.lookup();
    lookup.ask(&Question::new("hostile.test", Kind::Mx)).await;
    let found = check(&lookup, &wanted()).await;
    for verdict in &found {
        assert_eq!((verdict.source, reasons(verdict)), (DnsSource::Authoritative, vec![]), "{verdict:#?}");
    }
    drop(silent);
}

#[tokio::test]
async fn servers_at_private_addresses_are_not_asked_unless_that_is_allowed() {
    let world = World::start().await;
    let lookup = Lookup::new(Options { allow_private: false, ..world.options() }).unwrap();
    let found = check(&lookup, &wanted()).await;
    assert!(found.iter().all(|verdict| verdict.source == DnsSource::Recursive), "{found:#?}");
    assert!(reasons(&found[0]).contains(&"ServersUnreachable"), "{found:#?}");
    for server in [&world.first, &world.second] {
        assert!(server.seen().is_empty(), "{:?}", server.seen());
    }
}

#[tokio::test]
async fn a_dead_server_is_waited_for_once() {
    let world = World::start().await;
    world.second.fault_everywhere(Fault::Silent);
    let lookup = world.lookup();
    lookup.ask(&Question::new("example.test", Kind::Mx)).await;
    let started = Instant::now();
    for _ in 0..5 {
        lookup.ask(&Question::new("example.test", Kind::Txt)).await;
    }
    assert!(started.elapsed() < Duration::from_millis(250), "took {:?}", started.elapsed());
}

/// A stream of numbers that is the same in each run (xorshift).
fn numbers(mut seed: u64) -> impl FnMut(usize) -> usize {
    move |below| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed % u64::try_from(below).unwrap()).unwrap()
    }
}

#[test]
fn no_text_makes_a_row_panic() {
    let pieces: [&[u8]; 24] = [
        b"v=spf1",
        b"v=DMARC1",
        b"v=DKIM1",
        b" ",
        b";",
        b"=",
        b":",
        b"/",
        b"%{",
        b"}",
        b"p=",
        b"rua=mailto:",
        b"include:",
        b"redirect=",
        b"example.test",
        b"a",
        b"mx",
        b"ip4:192.0.2.1",
        b"all",
        b"-",
        b"\xff",
        b"\0",
        b"99999999999",
        b"\"",
    ];
    let mut next = numbers(7);
    for _ in 0..20_000 {
        let text = (0..next(14)).flat_map(|_| pieces[next(pieces.len())].to_vec()).collect::<Vec<_>>();
        for row in [dkim, dmarc, spf_verdict] {
            judge(row, &text);
        }
    }
}

/// Judges a row when every TXT record of the world has this text.
fn judge(row: fn(&Wanted, &Known) -> Result<Verdict, Need>, text: &[u8]) {
    let mut known = Known::default();
    while let Err(Need(questions)) = row(&wanted(), &known) {
        for question in questions {
            let outcome = if question.kind == Kind::Txt { Outcome::Txt(vec![text.to_vec()]) } else { Outcome::NoData };
            known.learn(question, vec![Answer::new(outcome, DnsSource::Authoritative)]);
        }
    }
}
