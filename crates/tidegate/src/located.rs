//! Where things are: the settings file and the data folder that a command is about.

use anyhow::Context;
use std::path::{Path, PathBuf};

/// What the settings file is called where nobody says otherwise.
const USUAL_FILE: &str = "tidegate.toml";
/// What the data folder is called where nobody says otherwise.
const USUAL_DATA: &str = "tidegate-data";
/// The owner-only door into a running gateway.
pub(crate) const SOCKET: &str = "control.sock";

/// The places that the command line named.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    /// `--config`.
    pub(crate) config: Option<PathBuf>,
    /// `--data-dir`.
    pub(crate) data_dir: Option<PathBuf>,
}

impl Place {
    /// The settings file: the named one, else `./tidegate.toml` if it is there.
    pub(crate) fn find_settings(&self) -> Option<PathBuf> {
        self.config.clone().or_else(|| Some(PathBuf::from(USUAL_FILE)).filter(|path| path.is_file()))
    }

    /// The data folder of the gateway that runs here. Reads the settings only as far as needed: a file with a
    /// mistake in it must not keep anyone from asking the running gateway about it.
    pub(crate) fn data_dir(&self) -> anyhow::Result<PathBuf> {
        if let Some(dir) = &self.data_dir {
            return Ok(dir.clone());
        }
        let named = match self.find_settings() {
            Some(path) => {
                let text = std::fs::read_to_string(&path)
                    .with_context(|| format!("cannot read `{}`", path.display()))?;
                find_in_server(&text, "data_dir").map(PathBuf::from)
            }
            None => None,
        };
        Ok(named.unwrap_or_else(|| PathBuf::from(USUAL_DATA)))
    }

    /// The address that the settings make the gateway listen on, if they name one.
    pub(crate) fn find_listen(&self) -> Option<String> {
        let text = std::fs::read_to_string(self.find_settings()?).ok()?;
        find_in_server(&text, "listen")
    }
}

/// The socket in a data folder.
pub(crate) fn socket_in(data_dir: &Path) -> PathBuf {
    data_dir.join(SOCKET)
}

fn find_in_server(text: &str, field: &str) -> Option<String> {
    let mut read = text;
    let table: toml::Table = loop {
        match read.parse() {
            Ok(table) => break table,
            Err(_) if read.is_empty() => return None,
            Err(error) => read = above(read, &error),
        }
    };
    Some(table.get("server")?.get(field)?.as_str()?.to_owned())
}

/// The lines above a mistake: half a sentence further down does not hide where the gateway is. Always fewer.
fn above<'a>(text: &'a str, error: &toml::de::Error) -> &'a str {
    let lines = |text: &str| text.rfind('\n').map_or(0, |end| end + 1);
    let sound = error.span().and_then(|span| text.get(..span.start)).unwrap_or(text);
    let end = lines(sound);
    if end < text.len() { &text[..end] } else { &text[..lines(&text[..end.saturating_sub(1)])] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_folder_is_found_even_where_the_rest_is_wrong() {
        let text = "[server]\ndata_dir = \"/srv/gate\"\nlimts = 3\n[nonsense]\n";
        assert_eq!(find_in_server(text, "data_dir").as_deref(), Some("/srv/gate"));
        assert_eq!(find_in_server("[server", "data_dir"), None);
        let text = "[server]\ndata_dir = \"/srv/gate\"\n[routes.chat]\ntargets = [\n\n[keys.app]\n";
        assert_eq!(find_in_server(text, "data_dir").as_deref(), Some("/srv/gate"));
    }

    #[test]
    fn the_command_line_wins() -> anyhow::Result<()> {
        let place = Place { config: Some("absent.toml".into()), data_dir: Some("d".into()) };
        assert_eq!(place.data_dir()?, PathBuf::from("d"));
        Ok(())
    }
}
