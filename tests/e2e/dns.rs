//! DNS verification of a domain, by real queries to real servers.

use std::time::Duration;

use mailcow_operator::crd::{DnsRecordKind, DnsSource, DnsVerdict, EmailDomain};

use crate::world::{DOMAIN, World, message, says};

/// The records as the status asks for them, as lines of a zone.
fn asked_for(domain: &EmailDomain) -> String {
    let records = domain.status.as_ref().unwrap().dns.as_ref().unwrap().records.iter();
    let line = |kind: &DnsRecordKind, name: &str, value: &str| {
        let record_type = if *kind == DnsRecordKind::Mx { "MX" } else { "TXT" };
        format!("{name}. {record_type} {value}\n")
    };
    records.map(|record| line(&record.kind, &record.name, &record.expected[0])).collect()
}

#[tokio::test]
async fn a_domain_is_verified_once_its_owner_publishes_what_the_status_asks_for() {
    let world = World::new("dns").await;
    world.dns.zone("example.com", "").unwrap();
    world.apply(DOMAIN).await;
    let missing = world.condition::<EmailDomain>("example", ("DNSVerified", "False", "NotVerified")).await;
    assert!(says(&missing, "Ready", "True"), "DNS does not hold Ready back");
    assert!(message(&missing, "DNSVerified").contains("MX, SPF, DKIM, DMARC not verified"), "{missing:#?}");
    world.dns.zone("example.com", &asked_for(&missing)).unwrap();
    let verified = world.checked("one").await;
    for condition in ["DNSVerified", "MXVerified", "SPFVerified", "DKIMVerified", "DMARCVerified"] {
        assert!(says(&verified, condition, "True"), "{verified:#?}");
    }
    let records = verified.status.unwrap().dns.unwrap().records;
    assert!(records.iter().all(|r| r.verdict == DnsVerdict::Verified && r.source == DnsSource::Authoritative));
    assert!(records.iter().all(|r| r.required && r.next_check > r.last_checked));
}

#[tokio::test]
async fn each_wrong_record_says_what_to_change() {
    let world = World::new("wrongdns").await;
    let zone = "@ MX 10 mail.other.test.\n@ TXT \"v=spf1 -all\"\n@ TXT \"v=spf1 mx -all\"\n\
        _dmarc TXT \"v=DMARC1; p=nonsense\"\ndkim._domainkey TXT \"v=DKIM1; p=\"\n";
    world.dns.zone("example.com", zone).unwrap();
    world.dns.zone("other.test", "mail A 192.0.2.9").unwrap();
    world.apply(DOMAIN).await;
    let wrong = world.condition::<EmailDomain>("example", ("DNSVerified", "False", "NotVerified")).await;
    let records = wrong.status.as_ref().unwrap().dns.clone().unwrap().records;
    let verdicts: Vec<DnsVerdict> = records.iter().map(|record| record.verdict).collect();
    assert_eq!(
        verdicts,
        [DnsVerdict::Mismatch, DnsVerdict::Multiple, DnsVerdict::Invalid, DnsVerdict::Invalid],
        "{records:#?}"
    );
    assert!(message(&wrong, "MXVerified").contains("mail.other.test"), "{wrong:#?}");
}

#[tokio::test]
async fn dns_is_verified_while_mailcow_is_not_there() {
    let mut world = World::without_mailcow("dnsonly").await;
    world.dns.zone("example.com", "@ MX 10 mail.host.test.\n@ TXT \"v=spf1 mx -all\"\n").unwrap();
    world.start_operator(&[]);
    world.apply(DOMAIN).await;
    let domain = world.condition::<EmailDomain>("example", ("MXVerified", "True", "Verified")).await;
    assert!(says(&domain, "SPFVerified", "True") && says(&domain, "Synced", "False"));
}

#[tokio::test]
async fn silent_servers_make_it_unknown_and_not_bad() {
    let world = World::new("silent").await;
    world.dns.authority.fault_everywhere(nameserver::Fault::Silent);
    world.dns.resolver.fault_everywhere(nameserver::Fault::ServFail);
    world.apply(DOMAIN).await;
    let domain = world.condition::<EmailDomain>("example", ("DNSVerified", "Unknown", "CheckFailing")).await;
    assert!(says(&domain, "Ready", "True"));
}

#[tokio::test]
async fn slow_name_servers_hold_nothing_of_mailcow_up() {
    let world = World::new("slowdns").await;
    let slow = || nameserver::Fault::Slow(Duration::from_millis(1900));
    world.dns.authority.fault_everywhere(slow());
    world.dns.resolver.fault_everywhere(slow());
    // Far more than are reconciled at a time.
    let domain = |n| {
        DOMAIN.replace("{name: example}", &format!("{{name: d{n}}}")).replace("example.com", &format!("d{n}.example"))
    };
    world.apply(&(0..40).map(domain).collect::<String>()).await;
    for n in 0..40 {
        world.ready::<EmailDomain>(&format!("d{n}")).await;
    }
    world.kubectl(&["patch", "edom", "d0", "--type=merge", "-p", r#"{"spec":{"description":"Changed"}}"#]).await;
    world.ready::<EmailDomain>("d0").await;
    world
        .until("d0", "DNS was asked all the same", |d: &EmailDomain| {
            d.status.as_ref().and_then(|status| status.dns.as_ref()).is_some_and(|dns| !dns.records.is_empty())
        })
        .await;
}

/// A domain of this object's name, with every row asked for that needs no more than DNS.
fn asking(name: &str, domain: &str) -> String {
    format!(
        "apiVersion: email.askrobots.com/v1alpha1\nkind: EmailDomain\nmetadata: {{name: {name}}}\nspec:\n  domain: {domain}\n  \
         dns: {{required: [MX, SPF, DKIM, DMARC, Autodiscover, Autoconfig, SRV, TLSRPT, CAA]}}\n"
    )
}

#[tokio::test]
async fn three_broken_domains_say_what_is_wrong_with_each() {
    let world = World::new("broken").await;
    let dotless = "@ MX 10 mail.host.test\n@ TXT \"v=spf1 mx -all\"\n@ TXT \"v=DMARC1; p=reject\"\n\
        autodiscover CNAME mail.host.test\n_imaps._tcp SRV 0 1 143 mail.host.test.\n";
    let contradictory = "@ MX 0 .\n@ TXT \"v=spf1 mx ~all\"\n@ TXT \"v=spf1 ip4:192.0.2.1 -all\"\n_dmarc TXT \"v=DMARC1; p=none\"\n\
        autoconfig CNAME loop\nloop CNAME autoconfig\n_smtp._tls TXT \"v=TLSRPTv1; rua=http://r.test\"\n";
    let elsewhere = "@ MX 5 mx.other.test.\n@ TXT \"v=spf1 include:gone.test -all\"\n_dmarc TXT \"v=DMARC1\\; p=reject\"\n\
        autodiscover A 192.0.2.9\n_imaps._tcp SRV 0 0 0 .\n@ CAA 0 issue \";\"\n";
    for (name, domain, zone) in [
        ("dotless", "dotless.example", dotless),
        ("contradictory", "contradictory.example", contradictory),
        ("elsewhere", "elsewhere.example", elsewhere),
    ] {
        world.dns.zone(domain, zone).unwrap();
        world.apply(&asking(name, domain)).await;
    }
    for (name, words) in [
        (
            "dotless",
            &["with the dot at the end", "move it to _dmarc.dotless.example", "143, not to mail.host.test:993"][..],
        ),
        ("contradictory", &["accepts no mail", "replace them with one", "form a loop", "neither mailto"]),
        ("elsewhere", &["mx.other.test has no address", "gone.test", "proxy", "DeclaredOff", "allow no authority"]),
    ] {
        let domain = world.condition::<EmailDomain>(name, ("DNSVerified", "False", "NotVerified")).await;
        assert!(says(&domain, "Ready", "True"), "{domain:#?}");
        let path = "jsonpath={range .status.dns.records[*]}{.type} {.name} {.verdict}: {.message} {.hint} {.warnings[*].reason}{\"\\n\"}{end}";
        let printed = world.kubectl(&["get", "edom", name, "-o", path]).await;
        for word in words {
            assert!(printed.contains(word), "{name} does not say {word:?}:\n{printed}");
        }
        println!("{name}\n{printed}");
    }
    println!("{}", world.kubectl(&["get", "edom", "-o", "wide"]).await);
}

#[tokio::test]
async fn mail_in_and_out_and_how_far_a_record_has_come_are_told() {
    let world = World::new("reach").await;
    world.dns.zone("example.com", "@ MX 10 mail.host.test.").unwrap();
    world.apply(DOMAIN).await;
    let domain = world.condition::<EmailDomain>("example", ("InboundReady", "True", "Verified")).await;
    assert!(says(&domain, "OutboundReady", "False"), "{domain:#?}");
    let state = "jsonpath={.status.dns.records[?(@.type==\"MX\")].propagation.state}";
    assert_eq!(world.kubectl(&["get", "edom", "example", "-o", state]).await, "Everywhere");
    world
        .dns
        .authority
        .set_zone("example.com", "@ NS ns1.example.com.\nns1 A 127.0.0.2\n@ MX 20 mail.host.test.")
        .unwrap();
    world.checked("one").await;
    assert_eq!(world.kubectl(&["get", "edom", "example", "-o", state]).await, "Pending");
}

#[tokio::test]
async fn a_check_that_finds_the_same_changes_only_its_times() {
    let world = World::new("stable").await;
    world.dns.zone("example.com", "@ MX 10 mail.host.test.\n@ TXT \"v=spf1 mx -all\"").unwrap();
    world.apply(DOMAIN).await;
    world.condition::<EmailDomain>("example", ("InboundReady", "True", "Verified")).await;
    let bare = |domain: EmailDomain| {
        let mut records = domain.status.unwrap().dns.unwrap().records;
        for record in &mut records {
            (record.last_checked, record.next_check) = (None, None);
        }
        records
    };
    let first = bare(world.checked("one").await);
    assert_eq!(bare(world.checked("two").await), first);
}
