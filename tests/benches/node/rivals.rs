//! Programs in Python that nodes are compared to, started from `benches/python`.

use acceptance::{eventually, raw};
use rustix::process::{Pid, Signal, kill_process_group};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

fn command(program: &str) -> Command {
    let run = Path::new(env!("CARGO_MANIFEST_DIR")).join("../python/run");
    let mut command = Command::new(run);
    command.arg(program).stderr(Stdio::inherit()).process_group(0);
    command
}

/// A process with all that it started. Ends with its owner.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = Pid::from_raw(self.0.id().cast_signed()) {
            kill_process_group(group, Signal::KILL).ok();
        }
        self.0.wait().ok();
    }
}

/// A server with a model behind a key.
pub struct Rival {
    /// Where it answers: `http://host:port`.
    pub url: String,
    _process: Group,
}

impl Rival {
    /// Starts one and waits until it listens.
    #[track_caller]
    pub fn start(program: &str, model: &Path, key: &str) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("it listens");
        drop(free);
        let child = command(program)
            .arg(address.port().to_string())
            .arg(model)
            .arg(key)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("the rival can be started");
        let process = Group(child);
        let url = format!("http://{address}");
        // Any answer will do, and one from each of several workers cannot be told apart: they listen together.
        eventually("the rival answers", || {
            TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok_and(|_| {
                let (status, _) = raw::ask(&url, b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
                status == 404
            })
        });
        Self { url, _process: process }
    }
}

/// A loop around ONNX Runtime that runs when it is told to.
pub struct Loop {
    asks: ChildStdin,
    answers: BufReader<ChildStdout>,
    _process: Group,
}

impl Loop {
    /// So many threads, each with a session of one thread.
    #[track_caller]
    pub fn start(model: &Path, sessions: usize) -> Self {
        let mut child = command("loop.py")
            .arg(model)
            .arg(sessions.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the loop can be started");
        let (asks, answers) = (child.stdin.take(), child.stdout.take());
        let mut started = Self {
            asks: asks.expect("it is piped"),
            answers: BufReader::new(answers.expect("it is piped")),
            _process: Group(child),
        };
        assert_eq!(started.line(), "ready");
        started
    }

    /// Runs per second, over so long.
    #[track_caller]
    pub fn run(&mut self, time: Duration) -> f64 {
        writeln!(self.asks, "{}", time.as_secs_f64()).expect("it listens");
        self.line().parse().expect("a number")
    }

    #[track_caller]
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("it says something");
        line.trim().to_owned()
    }
}
