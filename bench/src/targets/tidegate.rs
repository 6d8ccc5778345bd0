//! Tidegate with everything on: ten keys, each with three limits and a budget that every request reserves from.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::Setup;
use crate::{paced, wire, work};

const KEYS: usize = 10;
/// The gauge of records that are in the spool and not yet in the store.
const SPOOL_DEPTH: &str = "tidegate_spool_records";

pub(super) fn command(
    setup: &Setup,
    address: SocketAddr,
    dir: &Path,
    settings: &str,
) -> anyhow::Result<(Command, Vec<String>)> {
    let model = work::MODEL;
    let mut conf = format!(
        "[server]\nlisten = \"{address}\"\ndata_dir = \"{}\"\ndrain = {{ accept = \"0s\", deadline = \"2s\" }}\n\n\
         [providers.mock]\ndialect = \"openai\"\nbase_url = \"http://{}/v1\"\nmodels = [\"{model}\"]\n\n\
         [providers.anthropic]\ncredential = \"env:BENCH_CREDENTIAL\"\nbase_url = \"http://{}\"\nmodels = [\"{model}\"]\n\n\
         [models.\"anthropic/{model}\"]\nprice = {{ input = \"0.10\", output = \"0.40\", currency = \"USD\" }}\n\
         context = 128000\n\n\
         [models.\"mock/{model}\"]\nprice = {{ input = \"0.10\", output = \"0.40\", currency = \"USD\" }}\n\
         context = 128000\n",
        dir.join("data").display(),
        setup.mock,
        setup.mock
    );
    let stored = dir.join("keys.txt");
    let keys = if stored.exists() { read_keys(&stored)? } else { mint(&setup.tidegate, &stored)? };
    let mut command = Command::new(&setup.tidegate);
    command.env("BENCH_CREDENTIAL", "none");
    for (n, key) in keys.iter().enumerate() {
        conf.push_str(&format!(
            "\n[keys.bench{n}]\nsecret = \"env:BENCH_KEY_{n}\"\n\
             limits = {{ requests_per_minute = 1000000000, tokens_per_minute = 1000000000000, concurrency = 100000 }}\n\
             budgets = [{{ name = \"monthly\", amount = \"1000000.00\", currency = \"USD\", window = \"month\" }}]\n"
        ));
        command.env(format!("BENCH_KEY_{n}"), key);
    }
    conf.push_str(settings);
    let file = dir.join("tidegate.toml");
    std::fs::write(&file, conf)?;
    command.arg("serve").arg("--config").arg(file).current_dir(dir);
    Ok((command, keys))
}

fn mint(tidegate: &Path, stored: &Path) -> anyhow::Result<Vec<String>> {
    let mut keys = Vec::new();
    for _ in 0..KEYS {
        let output = Command::new(tidegate).args(["keys", "create", "bench", "--offline"]).output()?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        let key = text
            .split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-')
            .find(|word| word.starts_with("tg-"))
            .with_context(|| format!("`keys create --offline` printed no key: {text}"))?;
        keys.push(key.to_owned());
    }
    std::fs::write(stored, keys.join("\n"))?;
    Ok(keys)
}

fn read_keys(stored: &Path) -> anyhow::Result<Vec<String>> {
    Ok(std::fs::read_to_string(stored)?.lines().map(str::to_owned).collect())
}

/// Waits (two minutes at most) until the spool is empty.
pub(super) fn wait_until_drained(address: SocketAddr) -> anyhow::Result<()> {
    let request = format!("GET /metrics HTTP/1.1\r\nhost: {address}\r\n\r\n").into_bytes();
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let mut client = paced::Client::connect(address)?;
        client.ask(&request)?;
        let text = String::from_utf8_lossy(client.body()).into_owned();
        match spool_depth(&text) {
            None => bail!("/metrics does not tell `{SPOOL_DEPTH}`"),
            Some(0.0) => return Ok(()),
            Some(depth) if Instant::now() > deadline => bail!("the spool still holds {depth} records"),
            Some(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

fn spool_depth(text: &str) -> Option<f64> {
    text.lines()
        .filter(|line| line.starts_with(SPOOL_DEPTH))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .reduce(|sum, value| sum + value)
}

/// Makes `count` more keys, as the command line does it: through the owner-only socket.
pub(crate) fn add_keys(dir: &Path, count: usize) -> anyhow::Result<Vec<String>> {
    let mut stream = UnixStream::connect(dir.join("data").join("control.sock"))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut reader = wire::Reader::default();
    let mut buffer = vec![0; 16 * 1024];
    let mut keys = Vec::with_capacity(count);
    for n in 0..count {
        let body = format!(
            "{{\"name\":\"many{n}\",\"limits\":{{\"requests_per_minute\":1000000000}},\"budgets\":[{{\"name\":\
             \"monthly\",\"amount\":\"1000000.00\",\"currency\":\"USD\",\"window\":\"month\"}}]}}"
        );
        let head = format!(
            "POST /api/keys HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_bytes())?;
        loop {
            let read = stream.read(&mut buffer)?;
            if read == 0 {
                bail!("the control socket closed");
            }
            if reader.push(&buffer[..read]).map_err(anyhow::Error::msg)? {
                break;
            }
        }
        if !(200..300).contains(&reader.status()) {
            bail!("making a key: {} {}", reader.first_line, String::from_utf8_lossy(&reader.body));
        }
        let text = String::from_utf8_lossy(&reader.body).into_owned();
        let secret = text.split('"').find(|word| word.starts_with("tg-") && word.len() == 41);
        keys.push(secret.context("the answer holds no secret")?.to_owned());
        reader.next_message();
    }
    Ok(keys)
}

/// Requests for a spread over many keys.
pub(crate) fn all_keys(address: SocketAddr, keys: &[String]) -> Vec<Vec<u8>> {
    let model = format!("mock/{}", work::MODEL);
    keys.iter().map(|key| work::request(address, key, &model, false)).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_depth_is_read_from_the_metrics() {
        let text = "# TYPE tidegate_spool_records gauge\ntidegate_spool_records 42\ntidegate_other 7\n";
        assert_eq!(super::spool_depth(text), Some(42.0));
        assert_eq!(super::spool_depth("tidegate_other 7\n"), None);
    }
}
