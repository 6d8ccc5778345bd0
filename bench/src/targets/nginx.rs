//! nginx as the bare proxy: one worker for each core, keep-alive both ways, nothing buffered, the access log on.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::Setup;

pub(super) fn command(setup: &Setup, address: SocketAddr, dir: &Path) -> anyhow::Result<Command> {
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    // Workers of a master started by root would change to a user who cannot write here.
    let user = if owner_is_root(dir) { "user root;" } else { "" };
    let at = dir.display();
    let mock = setup.mock;
    let conf = format!(
        "daemon off;\nmaster_process on;\n{user}\nworker_processes {workers};\npid {at}/nginx.pid;\n\
         error_log {at}/error.log warn;\nevents {{ worker_connections 4096; }}\nhttp {{\n\
         access_log {at}/access.log combined;\nclient_body_temp_path {at}/body;\nproxy_temp_path {at}/proxy;\n\
         fastcgi_temp_path {at}/f;\nuwsgi_temp_path {at}/u;\nscgi_temp_path {at}/s;\ntcp_nodelay on;\n\
         keepalive_requests 1000000000;\nclient_max_body_size 32m;\nclient_body_buffer_size 64k;\n\
         upstream mock {{ server {mock}; keepalive 512; keepalive_requests 1000000000; }}\n\
         server {{ listen {address};\nlocation / {{ proxy_pass http://mock; proxy_http_version 1.1;\n\
         proxy_set_header Connection \"\"; proxy_buffering off; proxy_read_timeout 120s; }} }}\n}}\n"
    );
    let file = dir.join("nginx.conf");
    std::fs::write(&file, conf)?;
    let mut command = Command::new("nginx");
    command.arg("-e").arg(dir.join("error.log")).arg("-p").arg(dir).arg("-c").arg(file);
    Ok(command)
}

fn owner_is_root(dir: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(dir).is_ok_and(|meta| meta.uid() == 0)
}
