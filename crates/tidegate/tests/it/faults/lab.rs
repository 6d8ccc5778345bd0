//! A network of its own, in which every address may be had and nothing real can be reached: who may be connected to, and
//! names that lead elsewhere, or nowhere.
//!
//! A test runs itself once more inside (`unshare`), since only there may it have a cloud's metadata address, a public one,
//! and files of names of its own.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use fakes::plan::Plan;
use fakes::upstream::{Script, Upstream};

use super::{told, worst};
use crate::books;
use crate::client::chat;
use crate::stand::{Setup, Stand, fresh_dir};

const INSIDE: &str = "TIDEGATE_TEST_LAB";
/// Somebody's on the internet; within the lab it is ours.
const PUBLIC: &str = "5.6.7.8";
/// What must not be reached: a cloud's metadata, link-local and not, and a private network.
const FORBIDDEN: [&str; 4] = ["169.254.169.254", "169.254.7.7", "100.100.100.200", "10.9.8.7"];

/// Where the files of names are, inside; outside, the test runs inside and this is `None`.
fn lab(test: &str) -> Option<PathBuf> {
    if let Some(dir) = std::env::var_os(INSIDE) {
        let dir = PathBuf::from(dir);
        furnish(&dir);
        return Some(dir);
    }
    let dir = fresh_dir();
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--propagation", "private"]);
    // Whoever is not root is root in a name space of users.
    if std::fs::metadata("/proc/self").map(|own| std::os::unix::fs::MetadataExt::uid(&own)).unwrap() != 0 {
        command.args(["--user", "--map-root-user"]);
    }
    command.arg(std::env::current_exe().unwrap()).args(["--exact", "--nocapture", test]).env(INSIDE, &dir);
    let done = command.output().expect("util-linux is installed");
    let text = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    std::fs::remove_dir_all(&dir).ok();
    assert!(done.status.success() && text.contains("1 passed"), "{text}");
    text.lines().filter(|line| line.starts_with("fault ")).for_each(|line| eprintln!("{line}"));
    None
}

fn run(command: &str) {
    let mut words = command.split_whitespace();
    let done =
        Command::new(words.next().unwrap()).args(words).output().expect("iproute2 and mount are installed");
    assert!(done.status.success(), "{command}: {}", String::from_utf8_lossy(&done.stderr));
}

fn furnish(dir: &Path) {
    run("ip link set lo up");
    for address in FORBIDDEN.iter().chain(&[PUBLIC]) {
        run(&format!("ip address add {address}/32 dev lo"));
    }
    // Where there is no IPv6 at all there is nothing to reach by it.
    let _ = Command::new("ip").args("-6 address add fd00:ec2::254/128 dev lo nodad".split(' ')).output();
    for (name, text) in [("hosts", "127.0.0.1 localhost\n"), ("resolv.conf", "nameserver 127.0.0.53\n")] {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        run(&format!("mount --bind {} /etc/{name}", path.display()));
    }
}

/// The file is the same one, since it is mounted.
fn hosts(dir: &Path, names: &str) {
    std::fs::write(dir.join("hosts"), format!("127.0.0.1 localhost\n{names}")).unwrap();
}

fn provider(tables: &mut String, name: &str, base: &str) {
    write!(
        tables,
        "[providers.{name}]\ndialect = \"openai\"\nbase_url = \"{base}\"\nmodels = [\"m\"]\n\
         timeouts = {{ connect = \"2s\", first_byte = \"2s\" }}\n"
    )
    .unwrap();
}

/// What `tidegate check` says of a base URL.
fn is_accepted(dir: &Path, base: &str) -> bool {
    let mut text = String::new();
    provider(&mut text, "p", base);
    let file = dir.join("check.toml");
    std::fs::write(&file, text).unwrap();
    Command::new(crate::stand::binary()).arg("check").arg(&file).output().unwrap().status.success()
}

/// Names that lead where the test wants.
fn names() -> String {
    format!(
        "{PUBLIC} public.test\n{PUBLIC} turns.test\n169.254.169.254 metadata.test\n10.9.8.7 inside.test\n\
         127.0.0.1 both.test\n{PUBLIC} both.test\n"
    )
}

/// Ways to write what must not be reached; of the last ones not even where private addresses are allowed.
const WRITTEN: &str = "127.0.0.1 127.1 2130706433 0x7f000001 0x7f.1 0177.0.0.1 0 0.0.0.0 [::1] [::] [::ffff:127.0.0.1] \
                       [::ffff:10.9.8.7] localhost LOCALHOST localhost. inside.test 10.9.8.7";
const WRITTEN_NEVER: &str = "169.254.169.254 169.254.7.7 100.100.100.200 2852039166 0xa9fea9fe [::ffff:a9fe:a9fe] [fd00:ec2::254] \
                             metadata.test";

/// Each provider is asked in each way; how many ways that were.
async fn asked_in_vain(stand: &Stand, providers: &[String]) -> usize {
    for (number, base) in providers.iter().enumerate() {
        for flag in ["", r#","stream":true"#] {
            let body = chat(&format!("p{number}/m"), flag);
            let reply = stand.client().post("/v1/chat/completions", body).await;
            let said = (reply.status, reply.code());
            assert_eq!(said, (502, "upstream_unreachable".to_owned()), "{base}: {}", reply.text());
        }
        let other = stand.client().post(&format!("/passthrough/p{number}/anything"), "{}").await;
        assert_eq!(other.status, 502, "{base}: {}", other.text());
    }
    3 * providers.len()
}

/// A provider that says that the answer is inside.
async fn redirected(stand: &Stand, public: &Upstream, port: u16) -> usize {
    let statuses = [301, 302, 303, 307, 308];
    for status in statuses {
        let location = ("location".to_owned(), format!("http://127.0.0.1:{port}/v1/chat/completions"));
        public.set_plan(Plan { status, headers: vec![location], ..Plan::default() });
        let reply = stand.client().chat("public/m").await;
        assert!(reply.status >= 500, "{status}: {} {}", reply.status, reply.text());
    }
    public.set_plan(Plan::default());
    statuses.len()
}

/// A name that leads inside from the next connection on; how many calls, and how many connections were made there.
async fn rebound(stand: &Stand, dir: &Path, public: &Upstream) -> (usize, u64) {
    hosts(dir, "127.0.0.1 turns.test\n");
    let inside = format!("127.0.0.1:{}", public.addr().port()).parse().unwrap();
    let inside = Upstream::start(Script { listen: inside, ..Script::default() }).await.unwrap();
    public.cut_all();
    // Kept connections are known to be closed by then.
    tokio::time::sleep(Duration::from_millis(600)).await;
    for _ in 0..5 {
        assert_eq!(stand.client().chat("turns/m").await.status, 502);
    }
    hosts(dir, &names());
    (5, inside.connections())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_forbidden_address_is_ever_connected_to() {
    let Some(dir) = lab("faults::lab::no_forbidden_address_is_ever_connected_to") else { return };
    // On every address there is, of both families.
    let every = Script { listen: "[::]:0".parse().unwrap(), ..Script::default() };
    let trap = Upstream::start(every).await.unwrap();
    let public = Script { listen: format!("{PUBLIC}:0").parse().unwrap(), ..Script::default() };
    let public = Upstream::start(public).await.unwrap();
    let (port, open) = (trap.addr().port(), public.addr().port());
    hosts(&dir, &names());
    let bases = |hosts: &str| -> (Vec<_>, Vec<_>) {
        let bases = hosts.split_whitespace().map(|host| format!("http://{host}:{port}/v1"));
        bases.partition(|base| is_accepted(&dir, base))
    };
    let ((mut usable, not), (never, not_either)) = (bases(WRITTEN), bases(WRITTEN_NEVER));
    let private = usable.len();
    usable.extend(never);
    let mut more = String::new();
    for (number, base) in usable.iter().enumerate() {
        provider(&mut more, &format!("p{number}"), base);
    }
    for name in ["public", "turns", "both"] {
        provider(&mut more, name, &format!("http://{name}.test:{open}/v1"));
    }
    let found = format!("base_url = \"http://inside.test:{port}/v1\"\nmodels = \"discover\"\n");
    let discovers = format!("{more}[providers.found]\ndialect = \"openai\"\n{found}");
    let server = "allow_private_upstreams = false".to_owned();
    let stand = Stand::start(Setup { server, more: discovers, ..Setup::default() }).await;
    let mut refused = not.len() + not_either.len() + asked_in_vain(&stand, &usable).await;
    // A private address beside a public one is passed over; what is public is reached.
    for name in ["public/m", "both/m", "turns/m"] {
        let reply = stand.client().chat(name).await;
        assert_eq!(reply.status, 200, "{name}: {}", reply.text());
    }
    refused += redirected(&stand, &public, port).await;
    let (calls, mut connected) = rebound(&stand, &dir, &public).await;
    (refused, connected) = (refused + calls, connected + trap.connections());
    drop(stand);
    // Where private addresses are allowed they are reached, and those of metadata still are not.
    let stand = Stand::start(Setup { more, ..Setup::default() }).await;
    let mut reached = 0;
    for number in 0..private {
        reached += u32::from(stand.client().chat(&format!("p{number}/m")).await.status == 200);
    }
    assert!(reached >= 5, "{reached} of the private ones were reached: the lab is not what it should be");
    let before = trap.connections();
    for (number, base) in usable.iter().enumerate().skip(private) {
        let reply = stand.client().chat(&format!("p{number}/m")).await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (502, "upstream_unreachable"),
            "{base}: {}",
            reply.text()
        );
        refused += 1;
    }
    connected += trap.connections() - before;
    told("forbidden-addresses", format!("{refused} ways refused, {connected} connections made"), "0");
    assert_eq!(connected, 0);
}

/// Look-ups that nobody answers hold threads for many seconds; whoever has another name must not wait for one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_is_not_answered_holds_nobody_up() {
    let Some(_dir) = lab("faults::lab::a_name_that_is_not_answered_holds_nobody_up") else { return };
    // A server of names that says nothing.
    let _mute = tokio::net::UdpSocket::bind("127.0.0.53:53").await.unwrap();
    let limit = Duration::from_millis(1_000);
    let mut more = books::priced_models();
    for number in 0..8 {
        provider(&mut more, &format!("lost{number}"), &format!("http://lost{number}.test:9/v1"));
    }
    let more = more.replace("connect = \"2s\"", "connect = \"1s\"");
    // By a name, so that it is looked up too; each call on a connection of its own.
    let answers = Upstream::start(Script::default()).await.unwrap();
    let near = format!(
        "[providers.near]\ndialect = \"openai\"\nbase_url = \"http://localhost:{}/v1\"\nmodels = [\"m\"]\n\
         timeouts = {{ connect = \"30s\" }}\n",
        answers.addr().port()
    );
    answers
        .set_plan(Plan { headers: vec![("connection".to_owned(), "close".to_owned())], ..Plan::default() });
    let stand = Stand::start(Setup { more: more + &near, ..Setup::default() }).await;
    let mut lost = tokio::task::JoinSet::new();
    for number in 0..96 {
        let client = stand.client();
        lost.spawn(async move {
            let since = Instant::now();
            let reply = client.chat(&format!("lost{}/m", number % 8)).await;
            assert_eq!(
                (reply.status, reply.code().as_str()),
                (502, "upstream_unreachable"),
                "{}",
                reply.text()
            );
            since.elapsed()
        });
    }
    let (mut others, mut times) = (Vec::new(), Vec::new());
    while others.len() < 60 || !lost.is_empty() && others.len() < 400 {
        let since = Instant::now();
        assert_eq!(stand.client().chat("near/m").await.status, 200);
        others.push(since.elapsed());
        while let Some(done) = lost.try_join_next() {
            times.push(done.unwrap());
        }
    }
    times.extend(lost.join_all().await);
    told(
        "names-unanswered",
        format!(
            "{} calls refused, at most {:.2?} after the deadline of {limit:?}; {} others answered, the slowest in {:.0?}",
            times.len(),
            worst(&times).saturating_sub(limit),
            others.len(),
            worst(&others)
        ),
        "all, 1 s; all",
    );
}
