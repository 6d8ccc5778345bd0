//! LiteLLM's proxy as its documentation starts it: one worker, a master key, no database.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::Context;

use super::Setup;
use crate::work;

pub(super) fn command(setup: &Setup, address: SocketAddr, dir: &Path) -> anyhow::Result<(Command, String)> {
    let program = setup.litellm.as_ref().context("LiteLLM is not installed: `scripts/bench` does it")?;
    let key = "sk-bench-0123456789abcdef".to_owned();
    let model = work::MODEL;
    let conf = format!(
        "model_list:\n  - model_name: {model}\n    litellm_params:\n      model: openai/{model}\n      \
         api_base: http://{}/v1\n      api_key: none\ngeneral_settings:\n  master_key: {key}\n",
        setup.mock
    );
    let file = dir.join("litellm.yaml");
    std::fs::write(&file, conf)?;
    let mut command = Command::new(program);
    command.arg("--config").arg(file).arg("--host").arg(address.ip().to_string());
    command.arg("--port").arg(address.port().to_string()).args([
        "--num_workers",
        "1",
        "--telemetry",
        "False",
    ]);
    // Its price list is fetched at start unless told otherwise; a benchmark fetches nothing.
    command.env("LITELLM_LOCAL_MODEL_COST_MAP", "True").env("LITELLM_LOG", "ERROR").current_dir(dir);
    Ok((command, key))
}
