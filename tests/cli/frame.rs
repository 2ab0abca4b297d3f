//! Options, exit codes and errors that all verbs share.

use ground::Folder;

use crate::world::{DOMAIN, Said, World, bare_plane, call, plane, program};

fn kubeconfig(port: u16) -> String {
    format!(
        "apiVersion: v1\nkind: Config\nclusters: [{{name: c, cluster: {{server: 'https://127.0.0.1:{port}'}}}}]\n\
         users: [{{name: u, user: {{token: t}}}}]\ncontexts: [{{name: production, context: {{cluster: c, user: u}}}}]\n\
         current-context: production\n"
    )
}

#[tokio::test]
async fn without_a_cluster_the_exit_code_is_3_and_the_message_says_what_to_do() {
    let said = call(&["status"]).await;
    assert_eq!(said.code, 3);
    said.says(&["no cluster is given", "--kubeconfig FILE"]);

    let folder = Folder::new("frame", false).unwrap();
    let port = ground::free_port().unwrap();
    let file = folder.write("config", kubeconfig(port)).unwrap().display().to_string();
    let said = call(&["status", "--kubeconfig", &file]).await;
    assert_eq!((said.code, said.out.as_str()), (3, ""));
    said.says(&["the cluster can't be reached", "refused", "--context"]);

    let said = call(&["status", "--kubeconfig", &file, "--context", "prodution"]).await;
    assert_eq!(said.code, 1);
    said.says(&["no context prodution; did you mean production?"]);
    let said = call(&["status", "--kubeconfig", "/nowhere"]).await;
    assert_eq!(said.code, 1);
    said.says(&["the kubeconfig /nowhere"]);
    let broken = folder.write("broken", "clusters: 7").unwrap().display().to_string();
    assert_eq!(call(&["status", "--kubeconfig", &broken]).await.code, 1);
}

#[tokio::test]
async fn kubeconfigs_of_the_variable_are_merged_and_missing_ones_ignored() {
    let plane = plane().await;
    let namespace = plane.namespace("merged").await.unwrap();
    let admin = plane.admin_kubeconfig().display().to_string();
    let call = async |files: String, arguments: &[&str]| {
        let mut command = program(arguments);
        Said::of(command.env("KUBECONFIG", files).output().await.unwrap())
    };
    let said = call(format!("/nowhere:{admin}"), &["status", "-n", &namespace]).await;
    assert_eq!(said.code, 0, "{said:?}");
    said.says(&["there is no EmailDomain in the namespace merged-"]);
    let said = call("/nowhere".to_owned(), &["status"]).await;
    assert_eq!(said.code, 3, "{said:?}");
}

#[tokio::test]
async fn a_missing_right_is_named_and_impersonation_works_as_in_kubectl() {
    let plane = plane().await;
    let namespace = plane.namespace("rights").await.unwrap();
    let nobody = plane.service_account_kubeconfig(&namespace, "default").await.unwrap().display().to_string();
    let said = call(&["status", "--kubeconfig", &nobody]).await;
    assert_eq!(said.code, 1);
    said.says(&["no right to list email", &format!("in the namespace {namespace}"), "such as view"]);
    let said = call(&["status", "-A", "--kubeconfig", &nobody]).await;
    said.says(&["in all namespaces", "choose one namespace with -n"]);
    let said = call(&["pause", "edom/x", "--kubeconfig", &nobody]).await;
    said.says(&["no right to get emaildomains"]);

    let admin = plane.admin_kubeconfig().display().to_string();
    let admin = ["--kubeconfig", admin.as_str(), "-n", namespace.as_str()];
    let said = call(&[&["status", "--as", "jane"], &admin[..]].concat()).await;
    assert_eq!(said.code, 1);
    said.says(&["\"jane\""]);
    let said = call(&[&["status", "--as", "jane", "--as-group", "system:masters"], &admin[..]].concat()).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(call(&[&["status", "--as-group", "g"], &admin[..]].concat()).await.code, 1);
}

#[tokio::test]
async fn a_cluster_without_the_crds_is_told_from_an_empty_one() {
    let plane = bare_plane().await;
    let admin = plane.admin_kubeconfig().display().to_string();
    for verb in [&["status"][..], &["pause", "--all"], &["dns", "example.com"]] {
        let said = call(&[verb, &["--kubeconfig", &admin]].concat()).await;
        assert_eq!(said.code, 1, "{said:?}");
        said.says(&["the CRDs are missing", "kubectl apply --server-side -f crds/"]);
    }
}

#[tokio::test]
async fn names_that_do_not_exist_are_answered_with_the_nearest() {
    let world = World::prepare("nearest").await;
    world.apply(DOMAIN).await;
    for arguments in [&["status", "exmaple.com"][..], &["dns", "exmaple"], &["reconcile", "edom/exmaple"]] {
        let said = world.email(arguments).await;
        assert_eq!(said.code, 1, "{said:?}");
        said.says(&["did you mean example"]);
    }
    world.email(&["reconcile", "mailbx/ada"]).await.says(&["did you mean mailbox"]);
}

#[tokio::test]
async fn kubectl_finds_the_plugin_and_a_closed_pipe_is_no_error() {
    let world = World::prepare("plugin").await;
    world.apply(DOMAIN).await;
    let binaries = ground::kubernetes().await.unwrap();
    let plugin = std::path::Path::new(env!("CARGO_BIN_EXE_kubectl-email")).parent().unwrap();
    let path = format!("{}:{}:/usr/bin:/bin", binaries.display(), plugin.display());
    let shell = async |script: &str| {
        let mut command = tokio::process::Command::new("bash");
        command.args(["-c", script]).env("PATH", &path).env("KUBECONFIG", world.plane.admin_kubeconfig());
        Said::of(command.env("NS", &world.namespace).output().await.unwrap())
    };
    let said = shell("kubectl email status -n $NS").await;
    assert_eq!(said.code, 0, "{said:?}");
    said.says(&["example.com"]);
    let said = shell("kubectl email status -n $NS -o json | true; exit ${PIPESTATUS[0]}").await.fine();
    assert_eq!(said.out, "");
}

#[tokio::test]
async fn a_terminal_has_colours_and_its_own_width_and_a_pipe_has_neither() {
    let world = World::prepare("terminal").await;
    world.apply(DOMAIN).await;
    let place = world.place().join(" ");
    let script = async |variable: &str| {
        let inner = format!("stty cols 60; {} status {place}", env!("CARGO_BIN_EXE_kubectl-email"));
        let mut command = tokio::process::Command::new("script");
        command
            .args(["-qec", &inner, "/dev/null"])
            .env("SHELL", "/bin/bash")
            .env("TERM", "xterm")
            .env("LC_ALL", "C.UTF-8");
        let command = command.env_remove("NO_COLOR").env(variable, "1");
        let output = command.stdin(std::process::Stdio::null()).output().await.unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let coloured = script("UNRELATED").await;
    assert!(coloured.contains("\u{1b}[38;5;"), "{coloured:?}");
    let plain = script("NO_COLOR").await;
    // Progress is removed with the same control character.
    let lines: Vec<&str> = plain.lines().map(|line| line.rsplit("\u{1b}[K").next().unwrap().trim_end()).collect();
    assert!(!lines.iter().any(|line| line.contains('\u{1b}')), "{plain:?}");
    assert!(lines.iter().all(|line| line.chars().count() <= 60), "{plain}");
    let piped = world.email(&["status"]).await.fine().out;
    assert!(!piped.contains('\u{1b}') && piped.lines().any(|line| line.len() > 60), "{piped}");
}

#[tokio::test]
async fn help_fits_a_terminal_of_80_columns() {
    for verb in [
        "",
        "status",
        "dns",
        "check",
        "plan",
        "export",
        "reconcile",
        "rotate",
        "quarantine list",
        "rules test",
        "report",
    ] {
        let inner = format!("stty rows 24 cols 80; {} {verb} --help", env!("CARGO_BIN_EXE_kubectl-email"));
        let mut command = tokio::process::Command::new("script");
        command.args(["-qec", &inner, "/dev/null"]).env("SHELL", "/bin/bash").env("TERM", "xterm").env("NO_COLOR", "1");
        let output = command.stdin(std::process::Stdio::null()).output().await.unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let wide: Vec<&str> = text.lines().map(str::trim_end).filter(|line| line.chars().count() > 80).collect();
        assert!(text.contains("Usage: kubectl email") && wide.is_empty(), "{verb}: {wide:#?}");
    }
}

#[tokio::test]
async fn wrong_usage_is_2_and_help_names_the_plugin_as_people_call_it() {
    for arguments in [&["status", "--nonsense"][..], &["dns"], &["status", "-o", "xml"], &["nonsense"], &[]] {
        assert_eq!(call(arguments).await.code, 2, "{arguments:?}");
    }
    for verb in ["status", "dns", "reconcile", "pause", "resume", "rotate", "rules"] {
        let said = call(&[verb, "--help"]).await.fine();
        said.says(&["Usage: kubectl email"]);
        assert!(said.out.lines().all(|line| !line.contains("kubectl-email")), "{}", said.out);
    }
    let said = call(&["reconcile"]).await;
    assert_eq!(said.code, 3, "no cluster: {said:?}");
}
