//! Records to judge: written ones, and what becomes of them by the slips that people make.

use std::collections::BTreeSet;

/// An RSA key of 2048 bits.
pub(crate) const KEY: &str = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEApVRIgLrpT896qKR0tcxnFvnKxpDAppm5EaFf/ChCQV7LBicRmEC19DPD\
    IhnISjcw8vzGB4/6fcgo/6QKyW0qw76wUSNtN1PKfYUbZnuqaVMWTDXf6S+huvQEZvUZGGnq5woyzLsYtE+/RCQjkLZKLC5+FzVC\
    8jYbjmHfczFL5OGWVmFzg5nNs1e1a3TABo5e2bk2W8Qd+Sn0n5oEKkp9cVe4cNpccuUN7H/hT9bzFZAukMWVN8xoUJ160xm8MqGn\
    Ql1LeS54g3KErosM3Pisig4WQi1QIrmSKM8zIrPeLQkvkZy/qjn2sgflkstVZpNVDUAdBWMVE+cCPb29kXd8OQIDAQAB";

const DMARC: &[&str] = &[
    "v=DMARC1; p=reject; rua=mailto:a@example.test",
    "v=DMARC1;p=none;sp=quarantine;np=reject;adkim=s;aspf=r;fo=1:d:s;psd=n;t=y;ruf=mailto:b@example.test",
    "v=DMARC1; p=quarantine; pct=50; rf=afrf; ri=3600; rua=mailto:a@example.test!10m,https://example.test/r",
    "v=DMARC1",
    "v=DMARC1;",
    "v=DMARC1; rua=mailto:a@example.test",
    "v=DMARC1; p=reject; unknown=x y=z",
    "v=DMARC1; p=reject; fo=0:1",
    "v=DMARC1; p=reject; fo=x",
    "v=DMARC1; p=reject; fo=d:d",
    "v=DMARC1; p=reject; psd=x",
    "v=DMARC1; p=reject; t=x",
    "v=DMARC1; p=reject; adkim=x",
    "v=DMARC1; p=reject; aspf=relaxed",
    "v=DMARC1; p=rejct",
    "v=DMARC1; p=reject; sp=",
    "v=DMARC1; p=reject; rua=a@example.test",
    "v=DMARC1; p=reject; rua=mailto:a",
    "v=DMARC1; p=reject; rua=mailto:a@example.test!m",
    "v=DMARC1; p=reject; rua=tel:1",
    "v=DMARC1; p=reject; x1=2",
    "v=DMARC10; p=reject",
    "v=spf1 -all",
    "",
];

const DKIM: &[&str] = &[
    "v=DKIM1;k=rsa;t=s;s=email;p=9876543210",
    "p=9876543210",
    "v=DKIM1; h=sha256; n=\"rotated\"; k=rsa; p=9876543210",
    "v=DKIM1; h=sha1:sha256; s=email:other; p=9876543210",
    "v=DKIM1; s=*; p=9876543210",
    "v=DKIM1; s=tlsrpt; p=9876543210",
    "v=DKIM1; s=email:*; p=9876543210",
    "v=DKIM1; h=sha1; p=9876543210",
    "v=DKIM1; k=RSA; p=9876543210",
    "v=DKIM1; k=ed25519; p=9876543210",
    "v=DKIM1; t=y; p=9876543210; x=1",
    "v=DKIM1; p=",
    "v=DKIM1; k=rsa",
    "v=DKIM1; p=***",
    "v=DKIM1.0; p=9876543210",
    "k=rsa; v=DKIM1; p=9876543210",
    "v=DKIM1; a-b=1; p=9876543210",
    "v=DKIM1; p=9876543210; p=9876543210",
];

const MTA_STS: &[&str] = &[
    "v=STSv1; id=20260101T000000",
    "v=STSv1;id=1;",
    "v=STSv1; a=b; id=1",
    "v=STSv1; a-b_c.9=x:y; id=1",
    "v=STSv1; id=1; id=2",
    "v=STSv1; a=; id=1",
    "v=STSv1; a=b=c; id=1",
    "v=STSv1; -a=b; id=1",
    "v=STSv1; id=",
    "v=STSv1; id=a-b",
    "v=STSv1; id=123456789012345678901234567890123",
    "v=STSv1",
    "v=STSv1;",
    "v=STSv10; id=1",
    "id=1; v=STSv1",
];

const POLICY: &[&str] = &[
    "version: STSv1\nmode: enforce\nmx: mx.example.test\nmax_age: 86400\n",
    "version: STSv1\r\nmode: testing\r\nmx: *.example.test\r\nmax_age: 604800",
    "version: STSv1\nmode: none\nmax_age: 0\n",
    "max_age: 1\nmx: mx.example.test\nmode: enforce\nversion: STSv1\n",
    "version: STSv1\nmode: enforce\nmx: mx.example.test\nmax_age: 86400\nnote: any: thing\n",
    "version: STSv1\nmode: enforce\nmode: what\nmx: mx.example.test\nmax_age: 86400\n",
    "version: STSv1\nmode: enforce\nmax_age: 86400\n",
    "version: STSv1\nmode: none\n",
    "version: STSv2\nmode: enforce\nmx: mx.example.test\nmax_age: 86400\n",
    "version: STSv1\nmode: enforce\nmx: mx.example.test\nmax_age: 31557601\n",
    "version: STSv1\nmode: enforce\nmx: mx.example.test\nmax_age: +1\n",
    "version: STSv1\nmode: enforce\nmx: mx.example.test.\nmax_age: 1\n",
    "version: STSv1\nmode: enforce\nmx: *.*.test\nmax_age: 1\n",
    "version: STSv1\nmode: enforce\nmx: a_b.test\nmax_age: 1\n",
    "version: STSv1\nmode: enforce\nmx: \nmax_age: 1\n",
];

const TLS_RPT: &[&str] = &[
    "v=TLSRPTv1; rua=mailto:a@example.test",
    "v=TLSRPTv1;rua=mailto:a@example.test,https://example.test/r;",
    "v=TLSRPTv1; rua=mailto:a@example.test; rua=https://example.test/r",
    "v=TLSRPTv1; x=y; rua=https://example.test/r?a=b",
    "v=TLSRPTv1; rua=http://example.test/r",
    "v=TLSRPTv1; rua=mailto:a",
    "v=TLSRPTv1; rua=a@example.test",
    "v=TLSRPTv1; rua=mailto:a@example.test!10m",
    "v=TLSRPTv1; rua=",
    "v=TLSRPTv1; x=y",
    "v=TLSRPTv1",
    "v=TLSRPTv1;",
];

const BIMI: &[&str] = &[
    "v=BIMI1; l=https://example.test/logo.svg; a=https://example.test/vmc.pem",
    "v=BIMI1;l=https://example.test/logo.svg;",
    "v=BIMI1; l=; a=;",
    "v=BIMI1; l=https://example.test/logo.svgz; avp=brand; lps=news-",
    "v=BIMI1; l=https://example.test/logo",
    "v=BIMI1; l=https://example.test/logo.png",
    "v=BIMI1; l=http://example.test/logo.svg",
    "v=BIMI1; l=https://example.test/a.svg,https://example.test/b.svg",
    "v=BIMI1; a=https://example.test/vmc.pem",
    "v=BIMI1; l=https://example.test/logo.svg; a=https://localhost/vmc.pem",
    "v=BIMI1",
    "v=BIMI1; l=https://example.test/logo.svg; x=y",
];

const SPF: &[&str] = &[
    "v=spf1 mx -all",
    "v=spf1 a mx ip4:192.0.2.0/24 ip6:2001:db8::/32 ~all",
    "v=spf1 include:pass.test -all",
    "v=spf1 include:fail.test include:soft.test ?all",
    "v=spf1 redirect=pass.test",
    "v=spf1 exists:%{i}.exists.test -all",
    "v=spf1 ptr:host.test -all",
    "v=spf1 a:mail.host.test/24//64 -all",
    "v=spf1 mx:mail.host.test -all",
    "v=spf1 include:none.test -all",
    "v=spf1 include:broken.test -all",
    "v=spf1 include:loop.test -all",
    "v=spf1 include:pass.testinclude:fail.test -all",
    "v=spf1 ip4:192.0.2.2ip4:192.0.2.1 -all",
    "v=spf1 a:x.test a:y.test a:z.test mx -all",
    "v=spf1 mx -all moo",
    "v=spf1 mx all:x",
    "v=spf1 -all mx",
    "v=spf1 ip4:1.2.3 -all",
    "v=spf1 ip4:192.0.2.1/33 -all",
    "v=spf1 redirect=pass.test redirect=fail.test",
    "v=spf1 unknown=x -all",
    "v=spf1",
    "v=spf1 mx -all\nv=spf1 -all",
    "v=spf1 mx -all\nother",
    "v=spf10 mx -all",
    "other",
];

/// The written records of a family, and what becomes of them. `9876543210` stands for the key, as it has no capitals.
pub(crate) fn texts(family: &str) -> Vec<String> {
    let written = match family {
        "dmarc" => DMARC,
        "dkim" => DKIM,
        "mta-sts" => MTA_STS,
        "policy" => POLICY,
        "tls-rpt" => TLS_RPT,
        "bimi" => BIMI,
        _ => SPF,
    };
    let slips = if family == "spf" { spf_slips } else { slips };
    let all = written.iter().flat_map(|text| std::iter::once((*text).to_owned()).chain(slips(text)));
    // By a set: a slip in one record may be another record.
    all.map(|text| text.replace("9876543210", KEY)).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Slips at each separator of a record, and around it.
fn slips(text: &str) -> Vec<String> {
    let mut found = vec![
        format!(" {text}"),
        format!("\t{text}"),
        format!("{text} "),
        format!("{text};"),
        format!("{text}; "),
        format!("{text};;"),
        format!("\"{text}\""),
        format!("\u{a0}{text}"),
        format!("{text}\n"),
        format!("{text}\n\n"),
        text.to_uppercase(),
        text.to_lowercase(),
    ];
    for (place, separator) in text.char_indices().filter(|(_, c)| ";=:, \n".contains(*c)) {
        let (before, after) = (&text[..place], &text[place + 1..]);
        for instead in ["", " ", "=", ":", " ;", ";;", "\\;", ";\u{a0}", "\n"] {
            found.push(format!("{before}{instead}{after}"));
        }
        found.push(format!("{before} {separator}{after}"));
        found.push(format!("{before}{separator} {after}"));
        // The name before it in capitals, and not.
        let start = before.rfind([';', ' ', '\n']).map_or(0, |place| place + 1);
        found.push(format!("{}{}{}", &text[..start], text[start..place].to_uppercase(), &text[place..]));
    }
    found
}

fn spf_slips(text: &str) -> Vec<String> {
    let mut found =
        vec![format!(" {text}"), format!("{text} "), format!("\"{text}\""), text.to_uppercase(), format!("{text};")];
    for (place, _) in text.char_indices().filter(|(_, c)| " :/=".contains(*c)) {
        let (before, after) = (&text[..place], &text[place + 1..]);
        for instead in ["", " ", "  ", ":", "=", "/", "\t", "; "] {
            found.push(format!("{before}{instead}{after}"));
        }
    }
    found
}
