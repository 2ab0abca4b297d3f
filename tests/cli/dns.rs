//! `dns`: what to publish in every format, and what DNS shows, with a cluster and without one.

use serde_json::json;

use crate::world::{DOMAIN, World, call};

/// The options to ask the test's DNS.
fn asking(world: &World) -> Vec<String> {
    let (resolver, authority) = (world.dns.resolver.address(), world.dns.authority.address().port());
    vec![
        format!("--dns-resolvers={resolver}"),
        format!("--dns-authoritative-port={authority}"),
        "--dns-allow-private".to_owned(),
    ]
}

fn with<'a>(arguments: &[&'a str], more: &'a [String]) -> Vec<&'a str> {
    arguments.iter().copied().chain(more.iter().map(String::as_str)).collect()
}

#[tokio::test]
async fn the_records_are_shown_judged_and_ready_to_publish() {
    let world = World::new("dns").await;
    world.dns.zone("example.com", "@ MX 10 mail.host.test.\n@ TXT \"v=spf1 ~all\"\n").unwrap();
    world.apply(DOMAIN).await;
    world.ready("edom/example").await;
    world.until("edom/example", "MXVerified", "True").await;
    world.until("edom/example", "DKIMVerified", "False").await;

    let done = world.email(&["dns", "example.com"]).await;
    assert_eq!((done.code, done.err.as_str()), (1, ""), "{done:?}");
    let lines: Vec<&str> = done.out.lines().collect();
    assert!(lines[0].starts_with("TYPE") && !lines[1].contains("Verified"), "the bad ones first: {}", done.out);
    done.shows(&["publish TXT: \"v=DKIM1", "seen: \"v=spf1 ~all\"", "do: ", "MX "]);
    let value = world.email(&["dns", "example", "-o", "json"]).await.json();
    let records = value["records"].as_array().unwrap();
    let mx = records.iter().find(|record| record["type"] == "MX").unwrap();
    assert_eq!((&mx["verdict"], &mx["observed"]), (&json!("Verified"), &json!(["10 mail.host.test."])));
    let dkim = value["publish"].as_array().unwrap().iter().find(|record| record["purpose"] == "DKIM").unwrap();
    assert_eq!(dkim["pieces"].as_array().unwrap().len(), 2, "more than 255 bytes");
    assert!(mx.get("nextCheck").is_none());

    // Formats to publish are no question: they are written, whatever DNS shows.
    for format in ["form", "zone", "terraform", "dnsendpoint"] {
        world.email(&["dns", "example.com", "-o", format]).await.succeeded();
    }
    for format in ["table", "json", "yaml"] {
        assert_eq!(world.email(&["dns", "example.com", "-o", format]).await.code, 1, "{format}");
    }

    // What is published as the zone says is verified.
    let zone = world.email(&["dns", "example.com", "-o", "zone"]).await.succeeded().out;
    world.dns.zone("example.com", &zone).unwrap();
    let asking = asking(&world);
    let live = world.email(&with(&["dns", "example.com", "--live"], &asking)).await;
    assert_eq!((live.code, live.err.as_str()), (0, ""), "{live:?}");
    assert_eq!(live.out.matches(" Verified ").count(), 4, "{}", live.out);

    let form = world.email(&["dns", "example.com", "-o", "form"]).await.succeeded().out;
    assert!(form.lines().any(|line| line.starts_with("MX ") && line.ends_with("10 mail.host.test.")), "{form}");
    world.email(&["dns", "example.com", "-o", "terraform"]).await.succeeded().shows(&["mail_records = {"]);
    let endpoints = world.email(&["dns", "example.com", "-o", "dnsendpoint"]).await.succeeded().out;
    let first: serde_json::Value = serde_yaml::from_str(endpoints.split("---\n").next().unwrap()).unwrap();
    assert_eq!((&first["kind"], &first["metadata"]["name"]), (&json!("DNSEndpoint"), &json!("example-mx")));
    assert_eq!(first["spec"]["endpoints"][0]["targets"], json!(["10 mail.host.test"]));
}

#[tokio::test]
async fn dns_is_asked_without_a_cluster() {
    let world = World::prepare("offline").await;
    world
        .dns
        .zone("example.com", "@ MX 10 mail.host.test.\n@ TXT \"v=spf1 mx -all\"\n_dmarc TXT \"v=DMARC1; p=none\"\n")
        .unwrap();
    let asking = asking(&world);
    let offline = ["dns", "example.com", "--live", "--mail-host", "mail.host.test"];
    let done = call(&with(&offline, &asking)).await;
    assert_eq!(done.code, 0, "{done:?}");
    done.shows(&["note: DKIM is left out", "MX ", "SPF ", "DMARC "]);
    let key = "s1=v=DKIM1;k=rsa;p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQC7";
    let done = call(&with(&[&offline[..], &["--dkim", key]].concat(), &asking)).await;
    assert_eq!(done.code, 1, "{done:?}");
    done.shows(&["s1._domainkey.example.com", "Missing"]);
    let zone = call(&[
        "dns",
        "example.com",
        "--mail-host",
        "mail.host.test",
        "--egress-ips",
        "192.0.2.9",
        "-o",
        "zone",
        "--dkim",
        key,
    ])
    .await;
    zone.succeeded()
        .shows(&["example.com. IN TXT \"v=spf1 mx ip4:192.0.2.9 -all\"", "s1._domainkey.example.com. IN TXT"]);

    assert_eq!(call(&["dns", "localhost", "--mail-host", "m.host.test"]).await.code, 1);
    assert_eq!(call(&["dns", "example.com", "--dkim", "x=p=y"]).await.code, 2, "--dkim needs --mail-host");
    let done =
        call(&with(&["dns", "example.com", "--live", "--mail-host", "m.host.test", "--required", "MX,TXT"], &asking))
            .await;
    assert_eq!(done.code, 2, "{done:?}");
}

#[tokio::test]
async fn dns_that_cannot_be_reached_is_3() {
    let port = ground::free_port().unwrap();
    let resolver = format!("127.0.0.1:{port}");
    let done =
        call(&["dns", "example.com", "--live", "--mail-host", "mail.host.test", "--dns-resolvers", &resolver]).await;
    assert_eq!(done.code, 3, "{done:?}");
    done.shows(&["DNS can't be reached", "port 53"]);
}

#[tokio::test]
async fn a_domain_that_the_operator_has_not_checked_says_what_to_do() {
    let world = World::prepare("unchecked").await;
    world.apply(DOMAIN).await;
    let done = world.email(&["dns", "example.com"]).await;
    assert_eq!(done.code, 1);
    done.shows(&["has not checked the DNS", "--mail-host HOST"]);
}

#[tokio::test]
async fn the_certificate_authority_is_the_operators_or_that_of_the_flags() {
    let world =
        World::with("caa", mailcow_simulator::Options::default(), &["dns.certificateAuthority=ca.example"]).await;
    let domain = DOMAIN.replace("domain: example.com", "domain: example.com, dns: {required: [CAA]}");
    world.apply(&domain).await;
    let record = |kind: &str, expected: &str| {
        json!({"type": kind, "name": "example.com", "verdict": "Missing", "required": true, "expected": [expected],
            "message": "m", "source": "Recursive"})
    };
    let status = json!({"status": {"dns": {"records": [record("MX", "10 mail.host.test.")]}}}).to_string();
    world.kubectl(&["patch", "edom", "example", "--subresource=status", "--type=merge", "-p", &status]).await;
    world.dns.zone("host.test", "mail CAA 0 issue \"ca.example\"\nmail A 192.0.2.25\n").unwrap();
    let asking = asking(&world);
    let verdict = async |more: &[&str]| {
        let done = world.email(&with(&[&["dns", "example.com", "--live", "-o", "json"], more].concat(), &asking)).await;
        let records = done.json()["records"].clone();
        let caa = records.as_array().unwrap().iter().find(|record| record["type"] == "CAA").cloned();
        caa.unwrap_or_else(|| panic!("{done:?}"))["verdict"].clone()
    };
    assert_eq!(verdict(&[]).await, "Verified");
    assert_eq!(verdict(&["--certificate-authority", "letsencrypt.org"]).await, "Mismatch");
    let offline = ["dns", "example.com", "--live", "--mail-host", "mail.host.test", "--required", "CAA"];
    let done = call(&with(&[&offline[..], &["--certificate-authority", "ca.example"]].concat(), &asking)).await;
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(call(&with(&offline, &asking)).await.code, 1, "Mailcow's own is letsencrypt.org");
}
