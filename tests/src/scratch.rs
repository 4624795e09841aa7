//! The one folder in which all that this run of the tests makes lies, and the guard that clears it.
//!
//! The guard is a shell that reads from a pipe which nobody ever writes to. When this program ends, however it ends, the
//! pipe closes: the guard ends the processes that still name the folder and removes it, unless `CASTOFF_KEEP=1` leaves it.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

const GUARD: &str = r#"
read -r _
for entry in /proc/[0-9]*; do
    pid=${entry#/proc/}
    [ "$pid" = "$$" ] && continue
    case "$(tr '\0' ' ' <"$entry/cmdline" 2>/dev/null)" in
        # PostgreSQL gives its shared memory back only when it is asked to stop.
        *postgres*"$FOLDER"*) kill -INT "$pid" 2>/dev/null; database=$pid ;;
        *"$FOLDER"*) kill -9 "$pid" 2>/dev/null ;;
    esac
done
for _ in 1 2 3 4 5 6 7 8 9 10; do
    [ -n "$database" ] && [ -d "/proc/$database" ] && sleep 0.5
done
grep -o " $FOLDER[^ ]*" /proc/mounts | while read -r disk; do umount -l "$disk"; done
[ "$CASTOFF_KEEP" = 1 ] || rm -rf "$FOLDER"
"#;

/// The folder of this run.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<(PathBuf, Child)> = OnceLock::new();
    let (folder, _) = FOLDER.get_or_init(|| {
        let folder = tempfile::Builder::new()
            .prefix("castoff-acceptance-")
            .tempdir()
            .expect("a temporary folder")
            .keep();
        if std::env::var("CASTOFF_KEEP").is_ok_and(|set| set == "1") {
            eprintln!("what these tests make is left in {}", folder.display());
        }
        // PostgreSQL's own user has to get through.
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o711)).expect("mode of the folder");
        let guard = Command::new("sh")
            .args(["-c", GUARD])
            .env("FOLDER", &folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C at the tests must not take the guard along.
            .process_group(0)
            .spawn()
            .expect("sh can be started");
        (folder, guard)
    });
    folder
}

/// A new folder in it.
pub fn subfolder(prefix: &str) -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = folder().join(format!("{prefix}-{number}-"));
    std::fs::create_dir(&path).expect("a new folder");
    path
}
