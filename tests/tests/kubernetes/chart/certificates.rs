//! Certificates by cert-manager: its own controllers issue them, and renew them under a release that runs.

use super::notes::follow;
use super::{Cluster, Namespace, Release};
use acceptance::cluster::Forward;
use acceptance::eventually::within;
use acceptance::{json, scratch};
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
        let shown = || serial(&namespace, port, name, &trusted);
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

/// The serial number of the certificate that a port shows for a name, as it is signed by the authority.
fn serial(namespace: &Namespace, port: u16, name: &str, trusted: &Path) -> Result<String, String> {
    let forward = Forward::try_to(namespace, "deployment/castoff", port).ok_or("the port is not forwarded")?;
    let script = "openssl s_client -connect \"$1\" -servername \"$2\" -verify_hostname \"$2\" -CAfile \"$3\" \
                  -verify_return_error </dev/null 2>/dev/null | openssl x509 -noout -serial";
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
