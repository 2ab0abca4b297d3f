//! Dovecot's question whether an app password opens a mailbox.

#![expect(clippy::expect_used, reason = "a test stops where something is not as it must be")]

mod asking;

use asking::ask;
use mailcow_simulator::{Options, Simulator};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

async fn started() -> Simulator {
    let simulator = Simulator::start(Options::default()).await.expect("it starts");
    simulator.edit(|state| {
        state.seed_domain("acme.test");
        state.seed_mailbox("alice@acme.test");
    });
    simulator
}

async fn add(simulator: &Simulator, password: &str, protocols: &str) {
    let body = format!(
        r#"{{"username":"alice@acme.test","app_name":"x","app_passwd":"{password}","app_passwd2":"{password}","active":1,"protocols":{protocols}}}"#
    );
    let answer = ask(simulator, "POST", "add/app-passwd", &body).await.expect("an answer");
    assert!(answer.contains("app_passwd_added") && !answer.contains(password), "{answer}");
}

async fn opens(simulator: &Simulator, password: &str, service: &str) -> bool {
    let body = format!(r#"{{"username":"Alice@acme.test","password":"{password}","service":"{service}"}}"#);
    let mut stream = TcpStream::connect(simulator.address()).await.expect("a connection");
    let request = format!(
        "POST /mailcowauth.php HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.expect("it is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer.contains(r#""success": true"#)
}

#[tokio::test]
async fn an_app_password_opens_what_it_was_made_for_while_it_is_there() {
    let simulator = started().await;
    assert!(!opens(&simulator, "first-One1", "imap").await);
    add(&simulator, "first-One1", r#"["imap_access"]"#).await;
    assert!(opens(&simulator, "first-One1", "imap").await && !opens(&simulator, "first-One1", "smtp").await);
    assert!(!opens(&simulator, "other-One1", "imap").await && !opens(&simulator, "", "imap").await);
    // Short names of protocols open nothing (recording `21_app_passwords`).
    add(&simulator, "short-One1", r#"["imap"]"#).await;
    assert!(!opens(&simulator, "short-One1", "imap").await);
    let edit =
        r#"{"items":[1],"attr":{"username":"alice@acme.test","app_passwd":"second-One2","app_passwd2":"second-One2"}}"#;
    ask(&simulator, "POST", "edit/app-passwd", edit).await.expect("an answer");
    assert!(!opens(&simulator, "first-One1", "imap").await && opens(&simulator, "second-One2", "imap").await);
    ask(&simulator, "POST", "delete/app-passwd", "[1]").await.expect("an answer");
    assert!(!opens(&simulator, "second-One2", "imap").await);
}

#[tokio::test]
async fn a_mailbox_that_is_off_opens_with_no_app_password() {
    let simulator = started().await;
    add(&simulator, "first-One1", r#"["imap_access"]"#).await;
    let set = |active: i64, imap: i64, domain: i64, password: i64| {
        simulator.edit(|state| {
            let mailbox = state.mailbox_mut("alice@acme.test").expect("it is there");
            mailbox.active = active;
            mailbox.attributes.switch("imap_access", imap);
            state.domain_mut("acme.test").expect("it is there").active = domain;
            state.app_passwords.values_mut().for_each(|p| p.active = password);
        });
    };
    for (active, imap, domain, password, expected) in [
        (1, 1, 1, 1, true),
        (0, 1, 1, 1, false),
        (2, 1, 1, 1, false),
        (1, 0, 1, 1, false),
        (1, 1, 0, 1, false),
        (1, 1, 1, 0, false),
    ] {
        set(active, imap, domain, password);
        assert_eq!(opens(&simulator, "first-One1", "imap").await, expected, "{active} {imap} {domain} {password}");
    }
    assert!(!format!("{:?}", simulator.inspect(|state| state.app_passwords.clone())).contains("first-One1"));
}
