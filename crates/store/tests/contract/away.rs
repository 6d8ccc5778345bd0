//! Databases that are away, come back, or are held by others; and what SQLite leaves on the disk.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};

use ledger::Drain;
use policy::StoreUrl;
use runtime::Clock;
use sqlx::{Connection, Executor};
use store::{LogFilter, Store, StoreError, UsageFilter};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use crate::samples::requests;
use crate::stand::{Stand, drop_database, make_database, noon, server};

#[tokio::test]
async fn a_server_that_is_away_is_said_at_once() {
    // Bound and never listened on: refused.
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    drop(socket);
    let url = StoreUrl::Postgres(format!("postgres://nobody@{address}/none"));
    let error = Store::open(&url, std::path::Path::new("."), Clock::manual(noon()).0).await.err().unwrap();
    assert!(error.is_unavailable(), "{error}");
    let wrong = StoreUrl::Postgres("mysql://x".into());
    let error = Store::open(&wrong, std::path::Path::new("."), Clock::manual(noon()).0).await.err().unwrap();
    assert!(matches!(error, StoreError::Invalid(_)), "{error}");
}

#[tokio::test]
async fn a_password_is_not_told_in_errors() {
    let url = server().replacen("tidegate:", "tidegate:sesame", 1);
    let opened =
        Store::open(&StoreUrl::Postgres(url), std::path::Path::new("."), Clock::manual(noon()).0).await;
    let error = opened.err().unwrap();
    assert!(error.is_unavailable() && !error.to_string().contains("sesame"), "{error}");
}

/// Forwards a port to the server, and can be cut and mended.
struct Wire {
    address: SocketAddr,
    target: String,
    running: Mutex<Vec<AbortHandle>>,
}

impl Wire {
    #[expect(clippy::disallowed_methods, reason = "a test's own tasks, ended by abort")]
    async fn mend(self: &Arc<Self>, listener: Option<TcpListener>) {
        let listener = match listener {
            Some(listener) => listener,
            None => TcpListener::bind(self.address).await.unwrap(),
        };
        let wire = self.clone();
        let accept = tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let target = wire.target.clone();
                let task = tokio::spawn(async move {
                    let mut far = TcpStream::connect(target).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
                wire.running.lock().unwrap().push(task.abort_handle());
            }
        });
        self.running.lock().unwrap().push(accept.abort_handle());
    }

    fn cut(&self) {
        self.running.lock().unwrap().drain(..).for_each(|task| task.abort());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_comes_back_is_used_again() {
    let (url, name) = make_database().await;
    let (start, end) = url.split_once('@').unwrap();
    let (target, path) = end.split_once('/').unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let wire = Arc::new(Wire {
        address: listener.local_addr().unwrap(),
        target: target.into(),
        running: Mutex::default(),
    });
    wire.mend(Some(listener)).await;
    let url = StoreUrl::Postgres(format!("{start}@{}/{path}", wire.address));
    let store = Store::open(&url, std::path::Path::new("."), Clock::manual(noon()).0).await.unwrap();
    store.drain(&requests(0..10)).await.unwrap();

    wire.cut();
    let batch = requests(5..20);
    let error = store.drain(&batch).await.err().unwrap();
    assert!(!error.poison, "{error}");
    assert!(store.ping().await.err().unwrap().is_unavailable());

    wire.mend(None).await;
    // A pool may still hold one connection that it has not found broken.
    let mut done = store.drain(&batch).await;
    for _ in 0..10 {
        if done.is_ok() {
            break;
        }
        done = store.drain(&batch).await;
    }
    done.unwrap();
    assert_eq!(store.usage(&UsageFilter::default()).await.unwrap()[0].requests, 20);
    store.close().await;
    assert!(store.ping().await.err().unwrap().is_unavailable());
    wire.cut();
    drop_database(&name).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_of_another_process_is_waited_for() {
    let stand = Stand::sqlite().await;
    let file = sqlx::sqlite::SqliteConnectOptions::new().filename(stand.folder().join("control.sqlite"));
    let mut other = sqlx::SqliteConnection::connect_with(&file).await.unwrap();
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let batch = requests(0..10);
    let (drained, ()) = tokio::join!(stand.store.drain(&batch), async {
        // Readers are not kept waiting.
        assert!(stand.store.keys().await.unwrap().is_empty());
        other.execute("COMMIT").await.unwrap();
    });
    drained.unwrap();
    assert_eq!(stand.store.logs(&LogFilter::default()).await.unwrap().len(), 10);
    stand.close().await;
}

#[tokio::test]
async fn files_are_for_their_owner_alone_and_the_log_is_folded_in_at_the_end() {
    let stand = Stand::sqlite().await;
    stand.store.drain(&requests(0..10)).await.unwrap();
    let mode = |name: &str| stand.folder().join(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(""), mode("logs")), (0o700, 0o700));
    for name in
        ["control.sqlite", "control.sqlite-wal", "logs/2026-11-22.sqlite", "logs/2026-11-22.sqlite-wal"]
    {
        assert_eq!(mode(name), 0o600, "{name}");
    }
    stand.store.close().await;
    for name in ["control.sqlite-wal", "logs/2026-11-22.sqlite-wal"] {
        assert!(!stand.folder().join(name).exists(), "{name}");
    }
    stand.close().await;
}

#[tokio::test]
async fn a_database_of_another_program_is_refused() {
    let stand = Stand::sqlite().await;
    stand.store.close().await;
    let file = sqlx::sqlite::SqliteConnectOptions::new().filename(stand.folder().join("control.sqlite"));
    let mut other = sqlx::SqliteConnection::connect_with(&file).await.unwrap();
    // A newer version's migration is left alone: two versions serve side by side during an upgrade.
    other.execute("INSERT INTO migrations VALUES (99, 'of the future', 0)").await.unwrap();
    stand.again().await.unwrap().close().await;
    other.execute("UPDATE migrations SET name = 'other' WHERE number = 1").await.unwrap();
    let error = stand.again().await.err().unwrap();
    assert_eq!(
        error,
        StoreError::Invalid(
            "migration 1 of the database is `other` and not `ledger`: it belongs to another program".into()
        )
    );
    other.close().await.unwrap();
    stand.close().await;
}
