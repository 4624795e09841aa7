//! Certificates by cert-manager, whose own controllers issue them and renew them under a release that runs; and those that
//! Castoff makes for REST itself.

use super::notes::follow;
use super::{Cluster, Forward, Namespace, Release, Value};
use acceptance::castoff::binary;
use acceptance::eventually::within;
use acceptance::{json, scratch};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// kubelet puts a Secret that has changed into a pod within a minute or so.
const LIMIT: Duration = Duration::from_secs(240);

/// From a namespace without any certificate: REST and the port of nodes show what was issued, the pods of a model trust that
/// authority, and what is renewed is shown by the same pod.
#[test]
fn certificates_are_issued_and_renewed() {
    let Some(cluster) = Cluster::there() else { return };
    if !cluster.is_ours() {
        return;
    }
    cluster.define();
    cluster.apply_file(&Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster/certificates.yaml"));
    let namespace = Namespace::new(cluster, "issued");
    authority(&namespace);
    let release = Release::of(cluster, &namespace);
    let names = format!("localhost,castoff.{}.svc", namespace.name);
    let hosts = format!("certManager.hosts={{{names}}}");
    let managed =
        "http.exposed=true,certManager.enabled=true,certManager.nodes=true,certManager.issuerRef.name=company";
    release.helm("install", &["--set", managed, "--set", &hosts]);
    release.proves_itself();
    let trusted = scratch::subfolder("issued").join("ca.crt");
    let template = "go-template={{index .data \"ca.crt\" | base64decode}}";
    let company = namespace.kubectl(&["get", "secret", "castoff-http-tls", "-o", template]);
    std::fs::write(&trusted, company.expect("it was issued")).expect("a file");
    // The pods of the model dial by TLS and trust the authority in their Secret: a call is answered.
    follow(&namespace, "localhost");

    let pod = || {
        let which = ["get", "pods", "-l", "app.kubernetes.io/name=castoff", "-o"];
        let path = "jsonpath={range .items[*]}{.metadata.uid} {.status.containerStatuses[0].restartCount}{end}";
        namespace
            .kubectl(&[&which[..], &[path]].concat())
            .expect("kubectl lists")
    };
    let before = pod();
    let nodes = format!("castoff.{}.svc", namespace.name);
    for (certificate, port, name) in [("castoff-http", 8400, "localhost"), ("castoff-nodes", 8401, &nodes)] {
        let shown = || serial(&namespace, "deployment/castoff", port, name, &trusted);
        let old = within(LIMIT, "a certificate is shown", shown);
        renew(&namespace, certificate);
        within(LIMIT, "the renewed certificate is shown", || {
            let new = shown()?;
            (new != old).then_some(()).ok_or(new)
        });
    }
    assert_eq!(pod(), before, "the same pod, without a restart");
    // Whoever dials now is shown the renewed one.
    let model = ["delete", "pod", "-l", "castoff.dev/installation", "--wait=true"];
    namespace.kubectl(&model).expect("the pods of the model");
    within(LIMIT, "a new pod is ready", || {
        let ready = [
            "get",
            "deployment/iris-on-cluster",
            "-o",
            "jsonpath={.status.readyReplicas}",
        ];
        let ready = namespace.kubectl(&ready)?;
        (ready == "1").then_some(()).ok_or(ready)
    });
}

/// `http.exposed` alone: REST has a certificate of the authority that the pods of models trust already, for all its names; who
/// trusts it logs in, and nobody else does. The next pod shows another one of the same.
#[test]
fn an_exposed_rest_has_a_certificate_of_its_own() {
    let Some(cluster) = Cluster::there() else { return };
    let namespace = Namespace::new(cluster, "own");
    let release = Release::of(cluster, &namespace);
    release.helm("install", &["--set", "http.exposed=true,http.hosts={castoff.example}"]);
    release.proves_itself();
    follow(&namespace, "127.0.0.1");
    let trusted = scratch::subfolder("own").join("ca.crt");
    std::fs::write(&trusted, release.kept("ca.crt")).expect("a file");
    let template = "go-template={{index .data \"join.json\" | base64decode}}";
    let join = namespace.kubectl(&["get", "secret", "iris-on-cluster", "-o", template]);
    let join: Value = serde_json::from_str(&join.expect("it is there")).expect("JSON");
    assert!(
        join.to_string().contains(&json!(release.kept("ca.crt")).to_string()),
        "one authority"
    );

    let shown = |name: &str| serial(&namespace, "deployment/castoff", 8400, name, &trusted);
    let service = format!("castoff.{}", namespace.name);
    let names = [
        "castoff",
        &service,
        &format!("{service}.svc"),
        "localhost",
        "castoff.example",
    ];
    let serials = names.map(|name| within(LIMIT, name, || shown(name)));
    assert!(serials.iter().all(|serial| *serial == serials[0]), "{serials:?}");
    shown("elsewhere.example").expect_err("that is not its name");

    let logs_in = |trusts: bool| {
        let door = Forward::to(&namespace, "deployment/castoff", 8400);
        let url = door.url.replace("http://", "https://");
        let mut login = namespace.command(binary("castoff").to_str().expect("a path"));
        login
            .args(["login", "--url", &url, "--name", "admin", "--password-stdin"])
            .env("CASTOFF_CONFIG", trusted.with_file_name("login.json"))
            .env_remove("SSL_CERT_FILE");
        if trusts {
            login.env("SSL_CERT_FILE", &trusted);
        }
        let login = login.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut login = login.spawn().expect("castoff can be started");
        let mut input = login.stdin.take().expect("it was asked for");
        writeln!(input, "{}", release.password()).expect("castoff reads");
        drop(input);
        let done = login.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        done.status.success().then_some(()).ok_or(said)
    };
    logs_in(true).expect("it trusts the authority");
    let refused = logs_in(false).expect_err("nobody knows this authority");
    assert!(refused.contains("certificate"), "{refused}");

    let restart = ["rollout", "restart", "deployment/castoff"];
    namespace.kubectl(&restart).expect("it is there");
    within(LIMIT, "the next pod shows another one", || {
        let new = shown("localhost")?;
        (new != serials[0]).then_some(()).ok_or(new)
    });
}

/// An authority of the company's own, kept by cert-manager, and the issuer that signs with it.
fn authority(namespace: &Namespace) {
    let of_itself = json!({"name": "itself", "kind": "Issuer"});
    let company = json!({
        "isCA": true, "commonName": "company", "secretName": "company", "issuerRef": of_itself,
        "privateKey": {"algorithm": "ECDSA", "size": 256},
    });
    for (kind, name, spec) in [
        ("Issuer", "itself", json!({"selfSigned": {}})),
        ("Certificate", "company", company),
        ("Issuer", "company", json!({"ca": {"secretName": "company"}})),
    ] {
        namespace.apply(&json!({
            "apiVersion": "cert-manager.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec,
        }));
    }
    let ready = ["wait", "--for=condition=Ready", "--timeout=120s", "issuer/company"];
    namespace.kubectl(&ready).expect("cert-manager has made it");
}

/// What `cmctl renew` does.
fn renew(namespace: &Namespace, certificate: &str) {
    let said = namespace
        .get(&format!("certificate/{certificate}"))
        .expect("it is there");
    let mut conditions = said["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.retain(|condition| condition["type"] != "Issuing");
    conditions.push(json!({
        "type": "Issuing", "status": "True", "reason": "ManuallyTriggered", "message": "renewed by a test",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }));
    let patch = json!({"status": {"conditions": conditions}}).to_string();
    let object = format!("certificate/{certificate}");
    let renew = ["patch", &object, "--subresource=status", "--type=merge", "-p", &patch];
    namespace.kubectl(&renew).expect("kubectl patches");
}

/// The serial number of the certificate that a port shows for a name, as it is signed by the authority and by the strictest
/// reading of the rules.
pub(super) fn serial(
    namespace: &Namespace,
    target: &str,
    port: u16,
    name: &str,
    trusted: &Path,
) -> Result<String, String> {
    let forward = Forward::try_to(namespace, target, port).ok_or("the port is not forwarded")?;
    let script = "openssl s_client -connect \"$1\" -servername \"$2\" -verify_hostname \"$2\" -CAfile \"$3\" \
                  -x509_strict -verify_return_error </dev/null 2>/dev/null | openssl x509 -noout -serial";
    let address = forward.url.trim_start_matches("http://");
    let done = Command::new("sh")
        .args(["-ec", script, "sh", address, name])
        .arg(trusted)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    match done.status.success() {
        true => Ok(String::from_utf8_lossy(&done.stdout).into_owned()),
        false => Err(String::from_utf8_lossy(&done.stderr).into_owned()),
    }
}
