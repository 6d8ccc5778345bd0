//! Letters leave by `[smtp]`: one at a time, in a task of its own, so that a mail server that is slow or away holds nothing up.
//!
//! What waits is bounded, and a letter that cannot be sent after a few tries is given up: whoever waits for it asks again. What it
//! says is never logged, since it may hold what works once.

use crate::secrets::ProcessSecrets;
use admin::{Letter, Mail, Mailbox};
use anyhow::{Context, anyhow};
use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use policy::{Secrets, Server, SmtpSettings, SmtpTls, Timestamp};
use runtime::Tasks;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Letters that may wait.
const MOST_WAITING: usize = 100;
/// How long the mail server may take over one command.
const PATIENCE: Duration = Duration::from_secs(20);
/// Pauses before the second and the third try.
const PAUSES: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(30)];

type Transport = AsyncSmtpTransport<Tokio1Executor>;

/// Hands letters to the task that sends them.
struct Smtp {
    waiting: mpsc::Sender<Letter>,
}

impl Mail for Smtp {
    fn post(&self, letter: Letter, _: Timestamp) {
        if self.waiting.try_send(letter).is_err() {
            tracing::warn!("a letter is given up: too many wait for the mail server");
        }
    }
}

/// Where letters go: by the settings; without, into a mailbox where the console is reached at loopback alone, else nowhere.
pub(super) fn open(
    settings: Option<&SmtpSettings>,
    server: &Server,
    tasks: &Tasks,
) -> anyhow::Result<Option<Arc<dyn Mail>>> {
    let Some(settings) = settings else {
        let address = server.admin_listen.unwrap_or(server.listen);
        return Ok(address.ip().is_loopback().then(|| Arc::new(Mailbox::default()) as Arc<dyn Mail>));
    };
    let transport = transport(settings)?;
    let from = settings.from.clone();
    let (waiting, mut letters) = mpsc::channel(MOST_WAITING);
    let stopping = tasks.stopping();
    tasks.spawn("mail", async move {
        let mut stopping = std::pin::pin!(stopping);
        loop {
            let letter = tokio::select! {
                () = &mut stopping => return,
                letter = letters.recv() => letter,
            };
            let Some(letter) = letter else { return };
            tokio::select! {
                () = &mut stopping => return,
                () = deliver(&transport, &from, &letter) => {}
            }
        }
    });
    Ok(Some(Arc::new(Smtp { waiting })))
}

fn transport(settings: &SmtpSettings) -> anyhow::Result<Transport> {
    let parameters = || TlsParameters::new(settings.host.clone()).context("smtp: TLS cannot be set up");
    let tls = match settings.tls {
        SmtpTls::Starttls => Tls::Required(parameters()?),
        SmtpTls::Tls => Tls::Wrapper(parameters()?),
        SmtpTls::None => Tls::None,
    };
    let mut builder =
        Transport::builder_dangerous(&settings.host).port(settings.port).tls(tls).timeout(Some(PATIENCE));
    if let Some((user, password)) = &settings.credential {
        let password = ProcessSecrets.read(&password.value).map_err(|why| anyhow!("smtp.password: {why}"))?;
        builder = builder.credentials(Credentials::new(user.clone(), password.expose().to_owned()));
    }
    Ok(builder.build())
}

/// Tries a few times, then says that it could not.
async fn deliver(transport: &Transport, from: &str, letter: &Letter) {
    let message = match message(from, letter) {
        Ok(message) => message,
        Err(error) => {
            tracing::error!(%error, "a letter cannot be written");
            return;
        }
    };
    let mut pauses = PAUSES.into_iter();
    loop {
        let error = match transport.send(message.clone()).await {
            Ok(_) => return,
            Err(error) => error,
        };
        let pause = pauses.next().filter(|_| !error.is_permanent());
        let Some(pause) = pause else {
            tracing::error!(%error, "a letter could not be sent");
            return;
        };
        tracing::warn!(%error, "a letter could not be sent; trying again");
        tokio::time::sleep(pause).await;
    }
}

fn message(from: &str, letter: &Letter) -> anyhow::Result<Message> {
    let message = Message::builder()
        .from(from.parse().context("smtp.from is no address")?)
        .to(letter.to.parse().context("the address is none that letters go to")?)
        .subject(letter.subject.clone())
        .header(ContentType::TEXT_PLAIN);
    Ok(message.body(letter.text.clone())?)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn nothing_in_a_letter_becomes_a_header() {
        let letter = Letter {
            to: "ann@example.com".into(),
            subject: "You are invited to A\r\nBcc: eve@example.com".into(),
            text: "hello\r\n.\r\nMAIL FROM:<x>\r\n".into(),
        };
        let written =
            String::from_utf8(message("tidegate@example.com", &letter).unwrap().formatted()).unwrap();
        let head = written.split("\r\n\r\n").next().unwrap();
        assert!(!head.lines().any(|line| line.to_lowercase().starts_with("bcc")), "{head}");
        assert_eq!(head.lines().filter(|line| line.starts_with("To:")).count(), 1);
    }

    #[test]
    fn without_settings_letters_stay_on_loopback_or_are_not_written() {
        let tasks = Tasks::new();
        let mut server = Server::default();
        assert!(open(None, &server, &tasks).unwrap().unwrap().kept().is_some());
        server.listen = "0.0.0.0:8080".parse().unwrap();
        assert!(open(None, &server, &tasks).unwrap().is_none());
    }
}
