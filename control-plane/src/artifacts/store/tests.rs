use super::super::Refused;
use super::super::onnx::write;
use super::*;
use crate::domain::ServiceName;
use futures::stream;

fn body(bytes: &[u8]) -> impl futures::Stream<Item = Result<Bytes, io::Error>> + use<> {
    let chunks: Vec<_> = bytes
        .chunks(100_000)
        .map(|chunk| Ok(Bytes::copy_from_slice(chunk)))
        .collect();
    stream::iter(chunks)
}

fn service() -> ServiceName {
    ServiceName::parse("iris").unwrap()
}

async fn all(packages: &Packages, digest: &Digest) -> Vec<u8> {
    let (size, bytes) = packages.read(digest).await.unwrap().unwrap();
    let bytes: Vec<Bytes> = bytes.try_collect().await.unwrap();
    let bytes = bytes.concat();
    assert_eq!(bytes.len() as u64, size);
    bytes
}

#[tokio::test]
async fn what_is_kept_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let packages = Packages::open(folder.path(), Limits::default()).unwrap();
    // Weights of 20 MB, so that it is written in parts.
    let noise: Vec<u8> = (0..20_000_000_u32)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let weights = write::block(5, &[write::block(8, b"w"), write::block(9, &noise)].concat());
    let model = write::model(&[weights, write::input("x", 1, &[-1, 1]), write::output("y", 1, &[-1])]);
    let received = packages.receive(body(&model), &service()).await.unwrap();
    assert_eq!(received.digest, Digest::new(castoff_wire::sha256(&[&model])));
    assert_eq!(received.size, model.len() as u64);
    assert!(packages.read(&received.digest).await.unwrap().is_none());
    packages.keep(&received).await.unwrap();
    packages.keep(&received).await.unwrap();
    let packages = Packages::open(folder.path(), Limits::default()).unwrap();
    assert!(all(&packages, &received.digest).await == model);
    let listed: Vec<_> = packages.list().try_collect().await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].digest, listed[0].size), (received.digest, received.size));
    let older = Stored {
        kept_at: Time::from_ms(0),
        ..listed[0]
    };
    assert!(!packages.collect(&older).await.unwrap());
    let keeping = locked(packages.scratch(), FlockOperation::LockShared).unwrap();
    assert!(!packages.collect(&listed[0]).await.unwrap());
    drop(keeping);
    assert!(packages.collect(&listed[0]).await.unwrap());
    packages.remove(&received.digest).await.unwrap();
    assert!(packages.find(&received.digest).await.unwrap().is_none());
    assert_eq!(std::fs::read_dir(folder.path().join("incoming")).unwrap().count(), 0);
}

#[tokio::test]
async fn an_upload_that_is_too_large_or_breaks_off_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let packages = Packages::open(
        folder.path(),
        Limits {
            upload: 250_000,
            ..Limits::default()
        },
    )
    .unwrap();
    let endless = stream::repeat_with(|| Ok::<_, io::Error>(Bytes::from_static(&[0; 100_000])));
    let refused = packages.receive(endless, &service()).await.unwrap_err();
    assert!(matches!(refused, Refused::TooLarge { limit: 250_000 }));
    let broken = stream::iter([Ok(Bytes::from_static(b"abc")), Err("gone")]);
    assert!(matches!(
        packages.receive(broken, &service()).await,
        Err(Refused::Interrupted)
    ));
    assert!(packages.check_size(250_000).is_ok());
    assert!(matches!(packages.check_size(250_001), Err(Refused::TooLarge { .. })));
    let mut hasty = packages.clone();
    hasty.limits.patience = Duration::from_millis(5);
    let stalled = stream::iter([Ok::<_, io::Error>(Bytes::from_static(b"abc"))]).chain(stream::pending());
    assert!(matches!(
        hasty.receive(stalled, &service()).await,
        Err(Refused::Slow { .. })
    ));
    hasty.limits.patience = Duration::from_millis(30);
    let dripping = stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        Some((Ok::<_, io::Error>(Bytes::from_static(b"x")), ()))
    });
    assert!(matches!(
        hasty.receive(dripping, &service()).await,
        Err(Refused::Slow { .. })
    ));
    let refused = packages.receive(body(b"hello"), &service()).await.unwrap_err();
    assert_eq!(refused.to_string(), "the file is text, not an ONNX model");
    assert_eq!(packages.list().try_collect::<Vec<_>>().await.unwrap(), []);
    assert_eq!(std::fs::read_dir(folder.path().join("incoming")).unwrap().count(), 0);
}

#[tokio::test]
async fn an_upload_may_take_longer_than_the_patience_when_it_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let patience = Duration::from_secs(1);
    let limits = Limits {
        patience,
        ..Limits::default()
    };
    let packages = Packages::open(folder.path(), limits).unwrap();
    let steady = stream::iter(0..6).then(|_| async {
        tokio::time::sleep(Duration::from_millis(250)).await;
        Ok::<_, io::Error>(Bytes::from_static(&[b'x'; 1 << 20]))
    });
    let begun = std::time::Instant::now();
    let refused = packages.receive(steady, &service()).await.unwrap_err();
    assert!(matches!(refused, Refused::Invalid(_)), "{refused}");
    assert!(begun.elapsed() > patience);
}

#[tokio::test]
async fn what_a_killed_process_left_is_swept_when_it_is_old() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("sha256/ab");
    std::fs::create_dir_all(&place).unwrap();
    let make = || {
        for (name, minutes) in [("old#1", 90), ("young#1", 30), ("whole", 90)] {
            let file = std::fs::File::create(place.join(name)).unwrap();
            let then = file.metadata().unwrap().modified().unwrap() - Duration::from_secs(minutes * 60);
            file.set_modified(then).unwrap();
        }
    };
    let swept = || !place.join("old#1").exists() && place.join("young#1").exists() && place.join("whole").exists();
    make();
    let packages = Packages::open(folder.path(), Limits::default()).unwrap();
    assert!(packages.list().try_collect::<Vec<_>>().await.unwrap().is_empty());
    assert!(swept(), "at the start");
    make();
    packages.sweep().await.unwrap();
    assert!(swept(), "now and then");
}

#[tokio::test]
async fn a_file_whose_keeping_is_given_up_is_whole_or_gone() {
    let folder = tempfile::tempdir().unwrap();
    let packages = Packages::open(folder.path(), Limits::default()).unwrap();
    // Three parts.
    let weights = write::block(
        5,
        &[write::block(8, b"w"), write::block(9, &vec![7; 20_000_000])].concat(),
    );
    let model = write::model(&[weights, write::input("x", 1, &[-1, 1]), write::output("y", 1, &[-1])]);
    let received = packages.receive(body(&model), &service()).await.unwrap();
    let mut given_up = 0;
    for ms in (0..200).step_by(10) {
        let keeping = tokio::time::timeout(Duration::from_millis(ms), packages.keep(&received)).await;
        given_up += usize::from(keeping.is_err());
        // What is removed is removed on another thread.
        while unfinished(folder.path()) > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let kept: Vec<Stored> = packages.list().try_collect().await.unwrap();
        assert!(kept.iter().all(|file| file.size == received.size), "{kept:?}");
    }
    assert!(given_up > 0);
}

fn unfinished(folder: &Path) -> usize {
    let folders = std::fs::read_dir(folder.join("sha256")).into_iter().flatten();
    let files = folders.flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap());
    files
        .filter(|file| file.as_ref().unwrap().file_name().to_string_lossy().contains('#'))
        .count()
}
