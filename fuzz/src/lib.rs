//! The way a package takes into the control plane, for the two targets that send one.

use bytes::Bytes;
use castoff_control_plane::artifacts::{Limits, Packages, Refused};
use castoff_control_plane::domain::ServiceName;
use castoff_control_plane::domain::package::Manifest;
use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::LazyLock;
use tokio::runtime::{Builder, Runtime};

/// What refuses a package shows one quoted name of at most 120 characters, each escaped into at most ten.
const LONGEST_REASON: usize = 2_000;

struct Door {
    runtime: Runtime,
    packages: Packages,
    service: ServiceName,
    _folder: tempfile::TempDir,
}

static DOOR: LazyLock<Door> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("there is a folder for what is uploaded");
    Door {
        runtime: Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime starts"),
        packages: Packages::open(folder.path(), Limits::default()).expect("the folder can be used"),
        service: ServiceName::parse("flowers").expect("it is a name"),
        _folder: folder,
    }
});

/// Uploads this, and checks what must hold whatever it is: a manifest that can be kept, or a reason that can be shown. A
/// panic ends the process by itself.
pub fn upload(bytes: &[u8]) {
    let body = futures::stream::iter([Ok::<_, Infallible>(Bytes::copy_from_slice(bytes))]);
    let door = &*DOOR;
    match door.runtime.block_on(door.packages.receive(body, &door.service)) {
        Ok(received) => {
            assert_eq!(received.size, bytes.len() as u64);
            servable(&received.manifest);
        }
        Err(Refused::Invalid(invalid)) => {
            let shown = format!("{}{}", invalid.pointer, invalid.reason);
            assert!(shown.chars().count() <= LONGEST_REASON, "{shown}");
            // Lines are ours: the service.yaml that is to be added.
            assert!(
                !shown.chars().any(|char| char.is_control() && char != '\n'),
                "{shown:?}"
            );
        }
        Err(other) => panic!("nothing is wrong with the disk or the sender, but: {other:?}"),
    }
}

fn servable(manifest: &Manifest) {
    assert!(!manifest.endpoints.is_empty());
    let mut names = HashSet::new();
    for endpoint in &manifest.endpoints {
        assert!(names.insert(endpoint.name.as_str()), "two endpoints of one name");
        assert!(!endpoint.inputs.is_empty() && !endpoint.outputs.is_empty());
        for tensor in endpoint.inputs.iter().chain(&endpoint.outputs) {
            assert!(tensor.shape.iter().all(|size| *size >= -1), "{:?}", tensor.shape);
        }
    }
}
