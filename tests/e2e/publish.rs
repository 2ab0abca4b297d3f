//! What leaves the operator towards DNS: records for external-dns, a `ConfigMap`, the proof of ownership, the gates.

use ground::wait_until;
use k8s_openapi::api::core::v1::ConfigMap;
use mailcow_operator::crd::{EmailAlias, EmailDomain, EmailForwardingRule, EmailMailbox};

use crate::world::{ADA, DOMAIN, LIMIT, World, message, says};

/// The custom resource of external-dns, as far as it is of use here; after its v0.22.
const DNS_ENDPOINT: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: dnsendpoints.externaldns.k8s.io
  annotations: {api-approved.kubernetes.io: https://github.com/kubernetes-sigs/external-dns/pull/2007}
spec:
  group: externaldns.k8s.io
  scope: Namespaced
  names: {kind: DNSEndpoint, listKind: DNSEndpointList, plural: dnsendpoints, singular: dnsendpoint}
  versions:
  - name: v1alpha1
    served: true
    storage: true
    subresources: {status: {}}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          apiVersion: {type: string}
          kind: {type: string}
          metadata: {type: object}
          spec:
            type: object
            properties:
              endpoints:
                type: array
                items:
                  type: object
                  properties:
                    dnsName: {type: string}
                    labels: {type: object, additionalProperties: {type: string}}
                    providerSpecific: {type: array, items: {type: object, properties: {name: {type: string}, value: {type: string}}}}
                    recordTTL: {type: integer, format: int64}
                    recordType: {type: string}
                    setIdentifier: {type: string}
                    targets: {type: array, items: {type: string}}
          status: {type: object, properties: {observedGeneration: {type: integer, format: int64}}}
";

fn domain(more: &str) -> String {
    DOMAIN.replace("{domain: example.com}", &format!("{{domain: example.com, {more}}}"))
}

/// The targets of a published set.
async fn targets(world: &World, purpose: &str) -> String {
    let name = format!("example-{purpose}");
    world.kubectl(&["get", "dnsendpoint", &name, "-o", "jsonpath={.spec.endpoints[*].targets[*]}"]).await
}

#[tokio::test]
async fn a_config_map_holds_a_zone_that_verifies_and_goes_when_it_is_not_asked_for_any_more() {
    let world = World::new("configmap").await;
    world.dns.zone("example.com", "").unwrap();
    world.apply(&domain("dns: {publish: ConfigMap}")).await;
    let published = world.condition::<EmailDomain>("example", ("Published", "True", "Published")).await;
    assert!(message(&published, "Published").contains("example-dns"), "{published:#?}");
    let maps = kube::Api::<ConfigMap>::namespaced(world.kube.clone(), &world.namespace);
    let map = maps.get("example-dns").await.unwrap();
    // The garbage collector is to take it away with its owner; that it does is not waited for here.
    assert_eq!(map.metadata.owner_references.unwrap()[0].uid, published.metadata.uid.unwrap());
    let data = map.data.unwrap();
    assert!(["zone", "terraform", "table", "records.json"].iter().all(|key| data.contains_key(*key)), "{data:?}");
    world.dns.zone("example.com", &data["zone"]).unwrap_or_else(|error| panic!("{error}\n{}", data["zone"]));
    assert!(says(&world.checked("one").await, "DNSVerified", "True"), "{}", data["zone"]);
    world.apply(&domain("dns: {publish: None}")).await;
    let gone = wait_until(LIMIT, "the ConfigMap to be gone", async || match maps.get_opt("example-dns").await {
        Ok(None) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    gone.await.unwrap();
}

#[tokio::test]
async fn a_config_map_of_another_is_left_alone() {
    let world = World::new("foreignmap").await;
    world.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: example-dns}\ndata: {mine: x}\n").await;
    world.apply(&domain("dns: {publish: ConfigMap}")).await;
    let taken = world.condition::<EmailDomain>("example", ("Published", "False", "PublishedNameTaken")).await;
    assert!(says(&taken, "Ready", "True"), "publishing does not hold the mail back: {taken:#?}");
    let maps = kube::Api::<ConfigMap>::namespaced(world.kube.clone(), &world.namespace);
    assert_eq!(maps.get("example-dns").await.unwrap().data.unwrap().into_keys().collect::<Vec<_>>(), ["mine"]);
}

#[tokio::test]
async fn external_dns_is_given_sets_when_it_comes_and_nothing_that_would_replace_others() {
    let world = World::alone("endpoints").await;
    world.connect().await;
    let mut world = world;
    world.start_operator(&[]);
    let zone = "@ TXT \"site-verification=1\"\n";
    world.dns.zone("example.com", zone).unwrap();
    world.apply(&domain("dns: {publish: DNSEndpoint}")).await;
    world.condition::<EmailDomain>("example", ("Published", "False", "DnsEndpointNotInstalled")).await;
    world.apply(DNS_ENDPOINT).await;
    world.plane.established(&["dnsendpoints.externaldns.k8s.io".to_owned()]).await.unwrap();
    let held = world.checked("one").await;
    let words = message(&held, "Published");
    assert!(words.contains("SPF") && words.contains("other TXT records at example.com (1)"), "{held:#?}");
    assert!(targets(&world, "mx").await.starts_with("10 "), "{}", world.logs());
    assert!(targets(&world, "dkim").await.starts_with("v=DKIM1"));
    assert!(targets(&world, "spf").await.contains("not found"), "SPF is held back");
    world.apply(&domain("dns: {publish: DNSEndpoint, apexTxt: [\"site-verification=1\"]}")).await;
    world.condition::<EmailDomain>("example", ("Published", "True", "Published")).await;
    assert!(targets(&world, "spf").await.contains("site-verification=1"));
    let version =
        async || world.kubectl(&["get", "dnsendpoints", "-o", "jsonpath={.items[*].metadata.resourceVersion}"]).await;
    let before = version().await;
    world.checked("two").await;
    assert_eq!(version().await, before, "what is as it should be is not written");
    world.kubectl(&["delete", "edom", "example"]).await;
    world.gone::<EmailDomain>("example").await;
    assert!(targets(&world, "mx").await.starts_with("10 "), "the records outlive the domain");
}

#[tokio::test]
async fn nothing_is_made_before_the_ownership_is_proven() {
    let world = World::new("ownership").await;
    world.dns.zone("example.com", "").unwrap();
    world.apply(&format!("{}{ADA}", domain("ownership: {method: TXT}"))).await;
    let open = world.condition::<EmailDomain>("example", ("OwnershipVerified", "False", "OwnershipNotVerified")).await;
    assert!(says(&open, "Ready", "False"));
    world.condition::<EmailMailbox>("ada", ("Ready", "False", "OwnershipNotVerified")).await;
    assert_eq!(world.mailcow.writes(), 0, "{:?}", world.mailcow.requests());
    let ownership = open.status.unwrap().ownership.unwrap();
    let copied = ownership.value.replace('=', "=x");
    world.dns.zone("example.com", &format!("{}. TXT \"{copied}\"\n", ownership.name)).unwrap();
    assert!(says(&world.checked("one").await, "OwnershipVerified", "False"), "another's value proves nothing");
    world.dns.zone("example.com", &format!("{}. TXT \"{}\"\n", ownership.name, ownership.value)).unwrap();
    world.checked("two").await;
    world.ready::<EmailDomain>("example").await;
    world.ready::<EmailMailbox>("ada").await;
}

#[tokio::test]
async fn a_gate_holds_ready_or_the_domain_back_until_dns_is_verified() {
    let world = World::new("gate").await;
    world.dns.zone("example.com", "").unwrap();
    world.apply(&domain("dns: {gate: Activate, publish: ConfigMap}")).await;
    world.condition::<EmailDomain>("example", ("Published", "True", "Published")).await;
    let active = |world: &World| world.mailcow.inspect(|state| state.domain("example.com").unwrap().active);
    assert_eq!(active(&world), 0, "{}", world.logs());
    let maps = kube::Api::<ConfigMap>::namespaced(world.kube.clone(), &world.namespace);
    let zone = maps.get("example-dns").await.unwrap().data.unwrap()["zone"].clone();
    world.dns.zone("example.com", &zone).unwrap();
    world.checked("one").await;
    let opened = wait_until(LIMIT, "the domain to be active", async || match active(&world) {
        1 => Ok(()),
        other => Err(other),
    });
    opened.await.unwrap_or_else(|error| panic!("{error}\n{}", world.logs()));
    world.apply(&domain("dns: {gate: Ready, publish: ConfigMap}")).await;
    world.ready::<EmailDomain>("example").await;
    world.dns.zone("example.com", "").unwrap();
    world.apply(&domain("dns: {gate: Activate, required: [MX, TLSRPT]}")).await;
    world.condition::<EmailDomain>("example", ("DNSVerified", "False", "NotVerified")).await;
    assert_eq!(active(&world), 1, "what is active stays active");
}

#[tokio::test]
async fn mail_stays_where_it_goes_until_cutover_and_records_go_when_that_is_asked() {
    let world = World::new("cutover").await;
    world.apply(DNS_ENDPOINT).await;
    world.plane.established(&["dnsendpoints.externaldns.k8s.io".to_owned()]).await.unwrap();
    world.dns.zone("example.com", "@ MX 10 mx.other.test.\nautodiscover CNAME other.test.\n").unwrap();
    let mine = "apiVersion: externaldns.k8s.io/v1alpha1\nkind: DNSEndpoint\nmetadata: {name: example-dmarc}\n\
                spec: {endpoints: [{dnsName: mine.test, recordType: TXT, targets: [mine]}]}\n";
    world.apply(mine).await;
    let with = |more: &str| domain(&format!("dns: {{publish: DNSEndpoint, required: [MX, Autodiscover]{more}}}"));
    world.apply(&with("")).await;
    let held = world.condition::<EmailDomain>("example", ("Published", "False", "HeldBack")).await;
    assert!(message(&held, "Published").contains("mx.other.test"), "{held:#?}");
    assert!(targets(&world, "dkim").await.starts_with("v=DKIM1"), "a key harms nobody");
    for purpose in ["mx", "spf", "autodiscover"] {
        assert!(targets(&world, purpose).await.contains("not found"), "{purpose}");
    }
    world.apply(&with(", cutover: true, publishedPolicy: Delete")).await;
    let taken = world.condition::<EmailDomain>("example", ("Published", "False", "PublishedNameTaken")).await;
    assert!(message(&taken, "Published").contains("example-dmarc"), "{taken:#?}");
    assert_eq!(targets(&world, "dmarc").await, "mine", "what is not ours is left alone, and holds nothing else back");
    assert!(
        targets(&world, "mx").await.starts_with("10 ") && !targets(&world, "autodiscover").await.contains("not found")
    );
    let owners = ["get", "dnsendpoint", "example-mx", "-o", "jsonpath={.metadata.ownerReferences[*].uid}"];
    assert_eq!(world.kubectl(&owners).await, taken.metadata.uid.clone().unwrap());
    world.apply(&domain("dns: {publishedPolicy: Retain, publish: DNSEndpoint, required: [MX]}")).await;
    let untied = wait_until(LIMIT, "no owner", async || match world.kubectl(&owners).await.as_str() {
        "" => Ok(()),
        owner => Err(owner.to_owned()),
    });
    untied.await.unwrap_or_else(|error| panic!("{error}\n{}", world.logs()));
    world.apply(&domain("dns: {publishedPolicy: Delete, publish: None, required: [MX]}")).await;
    let all = ["get", "dnsendpoint", "-o", "jsonpath={.items[*].metadata.name}"];
    let left = wait_until(LIMIT, "ours to be gone", async || match world.kubectl(&all).await.as_str() {
        "example-dmarc" => Ok(()),
        names => Err(names.to_owned()),
    });
    left.await.unwrap_or_else(|error| panic!("{error}\n{}", world.logs()));
}

#[tokio::test]
async fn without_the_rights_for_it_publishing_says_what_to_set() {
    let mut world = World::with_default_rights("norights").await;
    world.connect().await;
    world.start_operator(&[]);
    world.apply(&domain("dns: {publish: ConfigMap}")).await;
    let hindered = world.condition::<EmailDomain>("example", ("Published", "False", "PublishingNotAllowed")).await;
    assert!(message(&hindered, "Published").contains("featureGates.DNSPublishing"), "{hindered:#?}");
    assert!(says(&hindered, "Ready", "True"));
}

#[tokio::test]
async fn an_installation_may_demand_the_proof_of_every_domain_and_all_that_belongs_to_it() {
    let mut world = World::without_mailcow("demanded").await;
    world.connect().await;
    world.dns.zone("example.com", "").unwrap();
    world.start_operator(&["--require-ownership"]);
    let rest = "
apiVersion: email.askrobots.com/v1alpha1
kind: EmailAlias
metadata: {name: info}
spec: {localPart: info, domainRef: {name: example}, gotoMailboxRefs: [{name: ada}]}
---
apiVersion: email.askrobots.com/v1alpha1
kind: EmailForwardingRule
metadata: {name: rule}
spec:
  mailboxRef: {name: ada}
  match: {all: [{field: Subject, operator: Contains, values: [invoice]}]}
  actions: [{forward: {to: [books@other.org]}}]
";
    world.apply(&format!("{DOMAIN}{ADA}{rest}")).await;
    let why = ("Ready", "False", "OwnershipNotVerified");
    world.condition::<EmailDomain>("example", why).await;
    let open = world.condition::<EmailDomain>("example", ("OwnershipVerified", why.1, why.2)).await;
    world.condition::<EmailMailbox>("ada", why).await;
    world.condition::<EmailAlias>("info", why).await;
    world.condition::<EmailForwardingRule>("rule", why).await;
    assert_eq!(world.mailcow.writes(), 0, "{:?}", world.mailcow.requests());
    let ownership = open.status.unwrap().ownership.unwrap();
    world.dns.zone("example.com", &format!("{}. TXT \"{}\"\n", ownership.name, ownership.value)).unwrap();
    world.checked("one").await;
    world.ready::<EmailDomain>("example").await;
    world.ready::<EmailMailbox>("ada").await;
    world.ready::<EmailAlias>("info").await;
    world.ready::<EmailForwardingRule>("rule").await;
}
