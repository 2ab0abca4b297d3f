//! Options, exit codes and errors that all verbs share.

use ground::Folder;

use crate::world::{DOMAIN, Finished, World, bare_plane, call, plane, program};

fn kubeconfig(port: u16) -> String {
    format!(
        "apiVersion: v1\nkind: Config\nclusters: [{{name: c, cluster: {{server: 'https://127.0.0.1:{port}'}}}}]\n\
         users: [{{name: u, user: {{token: t}}}}]\ncontexts: [{{name: production, context: {{cluster: c, user: u}}}}]\n\
         current-context: production\n"
    )
}

#[tokio::test]
async fn without_a_cluster_the_exit_code_is_3_and_the_message_says_what_to_do() {
    let done = call(&["status"]).await;
    assert_eq!(done.code, 3);
    done.shows(&["no cluster is given", "--kubeconfig FILE"]);

    let folder = Folder::new("frame", false).unwrap();
    let port = ground::free_port().unwrap();
    let file = folder.write("config", kubeconfig(port)).unwrap().display().to_string();
    let done = call(&["status", "--kubeconfig", &file]).await;
    assert_eq!((done.code, done.out.as_str()), (3, ""));
    done.shows(&["the cluster can't be reached", "refused", "--context"]);

    let done = call(&["status", "--kubeconfig", &file, "--context", "prodution"]).await;
    assert_eq!(done.code, 1);
    done.shows(&["no context prodution; did you mean production?"]);
    let done = call(&["status", "--kubeconfig", "/nowhere"]).await;
    assert_eq!(done.code, 1);
    done.shows(&["the kubeconfig /nowhere"]);
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
        Finished::of(command.env("KUBECONFIG", files).output().await.unwrap())
    };
    let done = call(format!("/nowhere:{admin}"), &["status", "-n", &namespace]).await;
    assert_eq!(done.code, 0, "{done:?}");
    done.shows(&["there is no EmailDomain in the namespace merged-"]);
    let done = call("/nowhere".to_owned(), &["status"]).await;
    assert_eq!(done.code, 3, "{done:?}");
}

#[tokio::test]
async fn a_missing_right_is_named_and_impersonation_works_as_in_kubectl() {
    let plane = plane().await;
    let namespace = plane.namespace("rights").await.unwrap();
    let nobody = plane.service_account_kubeconfig(&namespace, "default").await.unwrap().display().to_string();
    let done = call(&["status", "--kubeconfig", &nobody]).await;
    assert_eq!(done.code, 1);
    done.shows(&["no right to list email", &format!("in the namespace {namespace}"), "such as view"]);
    let done = call(&["status", "-A", "--kubeconfig", &nobody]).await;
    done.shows(&["in all namespaces", "choose one namespace with -n"]);
    let done = call(&["pause", "edom/x", "--kubeconfig", &nobody]).await;
    done.shows(&["no right to get emaildomains"]);

    let admin = plane.admin_kubeconfig().display().to_string();
    let admin = ["--kubeconfig", admin.as_str(), "-n", namespace.as_str()];
    let done = call(&[&["status", "--as", "jane"], &admin[..]].concat()).await;
    assert_eq!(done.code, 1);
    done.shows(&["\"jane\""]);
    let done = call(&[&["status", "--as", "jane", "--as-group", "system:masters"], &admin[..]].concat()).await;
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(call(&[&["status", "--as-group", "g"], &admin[..]].concat()).await.code, 1);
}

#[tokio::test]
async fn a_cluster_without_the_crds_is_no_empty_one() {
    let plane = bare_plane().await;
    let admin = plane.admin_kubeconfig().display().to_string();
    for verb in [&["status"][..], &["pause", "--all"], &["dns", "example.com"]] {
        let done = call(&[verb, &["--kubeconfig", &admin]].concat()).await;
        assert_eq!(done.code, 1, "{done:?}");
        done.shows(&["the CRDs are missing", "kubectl apply --server-side -f crds/"]);
    }
}

#[tokio::test]
async fn names_that_do_not_exist_are_answered_with_the_nearest() {
    let world = World::prepare("nearest").await;
    world.apply(DOMAIN).await;
    for arguments in [&["status", "exmaple.com"][..], &["dns", "exmaple"], &["reconcile", "edom/exmaple"]] {
        let done = world.email(arguments).await;
        assert_eq!(done.code, 1, "{done:?}");
        done.shows(&["did you mean example"]);
    }
    world.email(&["reconcile", "mailbx/ada"]).await.shows(&["did you mean mailbox"]);
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
        Finished::of(command.env("NS", &world.namespace).output().await.unwrap())
    };
    let done = shell("kubectl email status -n $NS").await;
    assert_eq!(done.code, 0, "{done:?}");
    done.shows(&["example.com"]);
    let done = shell("kubectl email status -n $NS -o json | true; exit ${PIPESTATUS[0]}").await.succeeded();
    assert_eq!(done.out, "");
}

#[tokio::test]
async fn a_terminal_has_colours_and_its_own_width_and_a_pipe_has_neither() {
    let world = World::prepare("terminal").await;
    world.apply(DOMAIN).await;
    let place = world.place().join(" ");
    let script = async |variable: &str, value: &str| {
        let inner = format!("stty cols 60; {} status {place}", env!("CARGO_BIN_EXE_kubectl-email"));
        let mut command = tokio::process::Command::new("script");
        command
            .args(["-qec", &inner, "/dev/null"])
            .env("SHELL", "/bin/bash")
            .env("TERM", "xterm")
            .env("LC_ALL", "C.UTF-8");
        let command = command.env_remove("NO_COLOR").env(variable, value);
        let output = command.stdin(std::process::Stdio::null()).output().await.unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    for (variable, value) in [("UNRELATED", "1"), ("NO_COLOR", "")] {
        let coloured = script(variable, value).await;
        assert!(coloured.contains("\u{1b}[38;5;"), "{variable}={value}: {coloured:?}");
    }
    // By no-color.org the value does not matter.
    for value in ["0", "false"] {
        let plain = script("NO_COLOR", value).await;
        assert!(!plain.contains("\u{1b}[38;5;"), "NO_COLOR={value}: {plain:?}");
    }
    let plain = script("NO_COLOR", "1").await;
    // Progress is removed with the same control character.
    let lines: Vec<&str> = plain.lines().map(|line| line.rsplit("\u{1b}[K").next().unwrap().trim_end()).collect();
    assert!(!lines.iter().any(|line| line.contains('\u{1b}')), "{plain:?}");
    assert!(lines.iter().all(|line| line.chars().count() <= 60), "{plain}");
    let piped = world.email(&["status"]).await.succeeded().out;
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
        let done = call(&[verb, "--help"]).await.succeeded();
        done.shows(&["Usage: kubectl email"]);
        assert!(done.out.lines().all(|line| !line.contains("kubectl-email")), "{}", done.out);
    }
    let done = call(&["reconcile"]).await;
    assert_eq!(done.code, 3, "no cluster: {done:?}");
}
