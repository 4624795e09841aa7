//! What is kept comes back, and what is spoiled does not.

use super::*;
use crate::control::signing::Signer;

fn copy() -> (tempfile::TempDir, DurableCopy) {
    let folder = tempfile::tempdir().unwrap();
    let copy = DurableCopy::open(folder.path()).unwrap();
    (folder, copy)
}

#[test]
fn what_was_kept_comes_back() {
    let (_folder, copy) = copy();
    let signer = Signer::new(1);
    assert!(copy.read(&signer.trust, signer.deployment).unwrap().config.is_none());
    copy.keep(&signer.config(1, 4, &["a"]), None, &Overlay::default())
        .unwrap();
    let kept = copy.read(&signer.trust, signer.deployment).unwrap();
    assert_eq!(kept.config.unwrap().position.version, 4);
    assert!(kept.offered.is_none() && kept.overlay.is_empty());
}

/// All that can be spoiled in a file: cut at every place, each byte turned, of another signer, of another deployment.
fn spoiled(good: &[u8], signer: &Signer) -> Vec<Vec<u8>> {
    let turned = (0..good.len()).map(|at| {
        let mut bytes = good.to_vec();
        bytes[at] ^= 1 << (at % 8);
        bytes
    });
    let cut = (0..good.len()).map(|length| good[..length].to_vec());
    let mut other = Signer::new(1);
    other.deployment = Uuid::from_u128(99);
    assert_ne!(other.deployment, signer.deployment);
    let foreign = [Signer::new(2), other].map(|signer| signer.config(9, 9, &["a"]).encode_to_vec());
    cut.chain(turned).chain(foreign).collect()
}

#[test]
fn whatever_is_spoiled_is_refused_and_its_twin_is_used() {
    let (folder, copy) = copy();
    let signer = Signer::new(1);
    copy.keep(&signer.config(1, 4, &["a"]), None, &Overlay::default())
        .unwrap();
    let paths = CONFIG.map(|name| folder.path().join("copy").join(name));
    let good = std::fs::read(&paths[0]).unwrap();
    for bytes in spoiled(&good, &signer) {
        for (spoiled, whole) in [(0, 1), (1, 0)] {
            std::fs::write(&paths[whole], &good).unwrap();
            std::fs::write(&paths[spoiled], &bytes).unwrap();
            let kept = copy.read(&signer.trust, signer.deployment).unwrap();
            assert!(kept.damaged && kept.config.unwrap().position.version == 4);
        }
        std::fs::write(&paths[0], &bytes).unwrap();
        std::fs::write(&paths[1], &bytes).unwrap();
        assert!(copy.read(&signer.trust, signer.deployment).is_err(), "{bytes:?}");
    }
}

#[test]
fn of_two_the_newest_is_used() {
    let (folder, copy) = copy();
    let signer = Signer::new(1);
    let none = Overlay::default();
    copy.keep(&signer.config(1, 4, &["a"]), None, &none).unwrap();
    let older = std::fs::read(folder.path().join("copy/config")).unwrap();
    copy.keep(&signer.config(1, 5, &[]), None, &none).unwrap();
    for name in CONFIG {
        std::fs::write(folder.path().join("copy").join(name), &older).unwrap();
        let kept = copy.read(&signer.trust, signer.deployment).unwrap();
        assert_eq!(kept.config.unwrap().position.version, 5, "{name} was put back");
        copy.keep(&signer.config(1, 5, &[]), None, &none).unwrap();
    }
}

#[test]
fn a_copy_without_its_revocations_is_not_used() {
    let (folder, copy) = copy();
    let signer = Signer::new(1);
    let signed = signer.revocation(6, &["a"]);
    let (delta, mut overlay) = (
        signed.open(&signer.trust, signer.deployment).unwrap(),
        Overlay::default(),
    );
    overlay.add(signed, delta, None).unwrap();
    copy.keep(&signer.config(1, 4, &["a"]), None, &overlay).unwrap();
    std::fs::write(folder.path().join("copy/revoked"), b"torn").unwrap();
    let kept = copy.read(&signer.trust, signer.deployment).unwrap();
    assert_eq!(kept.overlay.revoked(), overlay.revoked());
    std::fs::write(folder.path().join("copy/revoked.twin"), b"torn").unwrap();
    assert!(copy.read(&signer.trust, signer.deployment).is_err());
}

#[test]
fn what_was_not_finished_is_swept_and_a_strange_hand_is_seen() {
    let (folder, copy) = copy();
    let signer = Signer::new(1);
    copy.keep(&signer.config(1, 4, &["a"]), None, &Overlay::default())
        .unwrap();
    let traces = copy.traces();
    durable::temporary_beside(&folder.path().join("copy/config"), PRIVATE).unwrap();
    let again = DurableCopy::open(folder.path()).unwrap();
    assert_eq!(std::fs::read_dir(folder.path().join("copy")).unwrap().count(), 2);
    assert_eq!(again.traces(), traces);
    let bytes = std::fs::read(folder.path().join("copy/config")).unwrap();
    std::fs::write(folder.path().join("copy/config"), &bytes).unwrap();
    assert_ne!(again.traces(), traces);
}

#[test]
fn an_offer_counts_only_while_it_is_newer() {
    let (_folder, copy) = copy();
    let signer = Signer::new(1);
    let none = Overlay::default();
    copy.keep(&signer.config(1, 4, &["a"]), None, &none).unwrap();
    for (epoch, version, counts) in [(1, 5, true), (2, 1, true), (1, 4, false), (1, 3, false)] {
        copy.keep_offered(&signer.config(epoch, version, &["a"]), &none)
            .unwrap();
        let kept = copy.read(&signer.trust, signer.deployment).unwrap();
        assert_eq!(kept.offered.is_some(), counts, "{epoch}.{version}");
    }
    copy.keep(&signer.config(1, 6, &["a"]), None, &none).unwrap();
    assert!(copy.read(&signer.trust, signer.deployment).unwrap().offered.is_none());
}

#[test]
fn token_and_contact_are_kept() {
    let (_folder, copy) = copy();
    assert!(copy.token().is_none() && copy.contact_ms().is_none());
    copy.keep_token("t").unwrap();
    copy.keep_contact(17).unwrap();
    assert_eq!(copy.token().as_deref(), Some("t"));
    assert_eq!(copy.contact_ms(), Some(17));
}
