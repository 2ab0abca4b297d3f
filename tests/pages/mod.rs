//! Commands in pages: which there are, and which the end-to-end test of the pages runs.

/// Page and beginning of each command that `tests/e2e/pages.rs` runs, in this order.
pub(crate) const IN_ORDER: &[(&str, &str)] = &[
    ("README.md", "kubectl -n mailcow-operator create secret"),
    ("README.md", "kubectl create namespace mail"),
    ("README.md", "kubectl -n mail apply -f examples/"),
    ("README.md", "kubectl -n mail wait --for=condition=Ready"),
    ("docs/conditions.md", "kubectl wait --for=condition=Ready"),
    ("README.md", "kubectl -n mail get edom,embx"),
    ("README.md", "kubectl -n mail get edom example-com -o jsonpath"),
    (
        "docs/dns.md",
        "kubectl get edom example-com -o jsonpath='{range .status.dns.records[*]}{.type}{\"\\t\"}{.verdict}{\"\\t\"}{.name}",
    ),
    ("README.md", "kubectl -n mail annotate --overwrite edom"),
    ("README.md", "kubectl -n mail wait --for=condition=DNSVerified"),
    ("docs/dns.md", "kubectl get edom -o wide"),
    (
        "docs/dns.md",
        "kubectl get edom example-com -o jsonpath='{range .status.dns.records[*]}{.type}{\"\\t\"}{.verdict}{\"\\t\"}{.message}",
    ),
    ("docs/dns.md", "kubectl annotate --overwrite edom"),
    ("docs/dns.md", "kubectl get edom example-com -o jsonpath='{.status.ownership"),
    ("README.md", "kubectl -n mail get secret ada-mailbox"),
    ("docs/policies.md", "kubectl annotate namespace mail"),
    ("docs/policies.md", "kubectl -n mail get embx ada -o jsonpath"),
    ("docs/policies.md", "kubectl annotate embx ada email.askrobots.com/confirm-delete"),
    ("docs/policies.md", "kubectl annotate embx ada email.askrobots.com/force-orphan"),
    ("docs/operations.md", "kubectl -n mailcow-operator create secret"),
    ("docs/tenancy.md", "kubectl -n tenant-a create rolebinding"),
    ("docs/migration.md", "kubectl -n mail get edom -o custom-columns"),
    ("docs/migration.md", "kubectl -n mail get embx,ealias -o custom-columns"),
    ("docs/install.md", "kubectl apply --server-side -f crds/"),
];

/// The commands of a page's `console` blocks, in one line each; not those that it says nobody runs, and why.
pub(crate) fn commands(page: &str) -> Vec<String> {
    let blocks = page.split("```console\n").collect::<Vec<_>>();
    let is_run = |before: &str| !before.trim_end().lines().next_back().unwrap_or("").starts_with("<!-- not run: ");
    let run = blocks.windows(2).filter(|pair| is_run(pair[0])).filter_map(|pair| pair[1].split("```").next());
    run.flat_map(|block| {
        let joined = block.replace("\\\n", " ");
        let has_prompts = joined.lines().any(|line| line.starts_with("$ "));
        let lines = joined.lines().filter(|line| !has_prompts || line.starts_with("$ "));
        let bare = |line: &str| line.trim_start_matches("$ ").split(" #").next().unwrap_or("").to_owned();
        let words = |line: String| line.split_whitespace().collect::<Vec<_>>().join(" ");
        lines.map(|line| words(bare(line))).filter(|line| !line.is_empty()).collect::<Vec<_>>()
    })
    .collect()
}
